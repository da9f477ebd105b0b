"""insightface's own detector on one thread, the reference for recall and time."""

from pathlib import Path

import numpy as np
import onnxruntime
from insightface.model_zoo.scrfd import SCRFD
from numpy.typing import NDArray

from app.domain import Pixels

# What `FaceAnalysis.prepare` sets when it is given no size, and its usual single one.
DEFAULT_SIZES = ((128, 128), (640, 640))
ONE_SIZE = ((640, 640),)


class ReferenceDetector:
    """SCRFD as `FaceAnalysis` runs it: squares of these sizes, one list of the boxes of all.

    Args:
        path: the same network as the engine's.
        sizes: width and height of each square, pixels.
        min_score: the least score of a face, 0..1; insightface's own is 0.5.
    """

    def __init__(self, path: Path, sizes: tuple[tuple[int, int], ...], min_score: float) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._model = SCRFD(model_file=str(path), session=session)
        self._model.prepare(0, input_size=list(sizes), det_thresh=min_score)

    def detect(self, image: Pixels) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Corners (n, 4) in pixels and scores (n,) of the faces of a picture, (height, width, 3), BGR."""
        found, _ = self._model.detect(image)
        return found[:, :4].astype(np.float64), found[:, 4].astype(np.float64)
