"""An upright image in, faces out: detect, measure, embed. Runs in a thread of the inference pool."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.domain import Box, Embed, Face, Pixels
from app.engine.attributes import landmarks_of, pose_of, quality_of
from app.engine.detector import Detection, Detector
from app.engine.embedder import Embedder
from app.engine.packs import Pack
from app.metrics import Metrics


class Pipeline:
    """The models of one pack. Safe to call from several threads."""

    def __init__(self, pack: Pack, folder: Path, min_confidence: float, metrics: Metrics) -> None:
        self.pack = pack
        self._detector = Detector(folder / pack.detector.name, min_confidence)
        self._embedder = Embedder(folder / pack.recogniser.name, pack.vector_size)
        self._metrics = metrics

    def analyse(self, image: Pixels, embed: Embed, max_faces: int) -> tuple[Face, ...]:
        """Find the faces of an image, largest box first.

        Args:
            image: upright, shape (height, width, 3), BGR.
            embed: which of the faces get an embedding.
            max_faces: how many of the largest faces are returned.
        """
        with self._stage("detect"):
            detections = self._detector.detect(image)
        self._metrics.faces_detected.inc(len(detections))
        if not detections:
            self._metrics.images_without_face.inc()
        detections.sort(key=lambda detection: detection.area, reverse=True)
        with self._stage("embed"):
            return tuple(
                self._face(image, detection, embed is Embed.ALL or (embed is Embed.LARGEST and rank == 0))
                for rank, detection in enumerate(detections[:max_faces])
            )

    def _face(self, image: Pixels, detection: Detection, embed: bool) -> Face:
        height, width = image.shape[:2]
        left, top, right, bottom = detection.corners
        box = Box(left / width, top / height, (right - left) / width, (bottom - top) / height)
        return Face(
            box=box,
            confidence=100 * detection.score,
            landmarks=landmarks_of(detection.points, width, height),
            pose=pose_of(detection.points),
            quality=quality_of(image, box),
            side_px=min(right - left, bottom - top),
            embedding=self._embedder.embed(image, detection.points) if embed else None,
        )

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self._metrics.stage_seconds.labels(name).observe(time.perf_counter() - began)
