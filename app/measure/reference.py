"""insightface's own loop, the reference of the bench: one process a core, one thread each.

Decode with OpenCV, SCRFD at 640 x 640, ArcFace for every face. Nothing of the service is in it.
"""

import multiprocessing
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any

import numpy as np

from app.measure.detection import Boxes

INPUT_SIZE = (640, 640)


@dataclass(frozen=True, slots=True)
class ReferenceRun:
    """Wall seconds of a run over all photos, and the boxes found in each: (n, 4), x, y, width, height, as
    shares of the photo's sides.
    """

    seconds: float
    boxes: list[Boxes]

    @property
    def faces(self) -> int:
        return sum(map(len, self.boxes))


class ReferenceLoop:
    """Processes that hold their models ready; each run divides the photos among them."""

    def __init__(self, detector: Path, recogniser: Path, processes: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._next = context.Value("q")
        self._workers = []
        for _ in range(processes):
            near, far = context.Pipe()
            args = (far, self._next, str(detector), str(recogniser))
            process = context.Process(target=_work, args=args, daemon=True)
            process.start()
            self._workers.append((process, near))
        for _, near in self._workers:
            near.recv()

    def run(self, photos: Sequence[Path]) -> ReferenceRun:
        """Process every photo once; who is done with one takes the next."""
        self._next.value = 0
        began = time.perf_counter()
        for _, near in self._workers:
            near.send([str(path) for path in photos])
        found = [near.recv() for _, near in self._workers]
        seconds = time.perf_counter() - began
        boxes = {index: each for part in found for index, each in part.items()}
        return ReferenceRun(seconds, [boxes[index] for index in range(len(photos))])

    def close(self) -> None:
        for process, near in self._workers:
            near.send(None)
            process.join()


def _work(pipe: Connection, following: "Synchronized[int]", detector_file: str, recogniser_file: str) -> None:
    import cv2
    import onnxruntime
    from insightface.app.common import Face
    from insightface.model_zoo.arcface_onnx import ArcFaceONNX
    from insightface.model_zoo.scrfd import SCRFD

    warnings.simplefilter("ignore")
    cv2.setNumThreads(1)

    def session(file: str) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])

    detector = SCRFD(model_file=detector_file, session=session(detector_file))
    detector.prepare(0, input_size=INPUT_SIZE)
    recogniser = ArcFaceONNX(model_file=recogniser_file, session=session(recogniser_file))
    pipe.send("ready")
    while (photos := pipe.recv()) is not None:
        found = {}
        while (index := _taken(following)) < len(photos):
            image = cv2.imread(photos[index])
            assert image is not None
            boxes, points = detector.detect(image)
            for box, five in zip(boxes, points, strict=True):
                recogniser.get(image, Face(bbox=box[:4], kps=five, det_score=box[4]))
            corners = boxes[:, :4].astype(np.float64) / np.tile(image.shape[1::-1], 2)
            found[index] = np.hstack([corners[:, :2], corners[:, 2:] - corners[:, :2]])
        pipe.send(found)


def _taken(following: "Synchronized[int]") -> int:
    with following.get_lock():
        index = following.value
        following.value += 1
        return index
