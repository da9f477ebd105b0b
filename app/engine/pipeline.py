"""An upright image in, faces out: detect, measure, embed. Runs in a thread of the inference pool."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path

from app.domain import Box, Embed, Face, Pixels, QualityLevel
from app.engine.attributes import landmarks_of, pose_of, quality_of
from app.engine.detector import Detection, Detector
from app.engine.embedder import Embedder
from app.engine.packs import Pack
from app.engine.quality import reasons_against
from app.metrics import Metrics


class Pipeline:
    """The models of one pack. Safe to call from several threads."""

    def __init__(self, pack: Pack, folder: Path, min_confidence: float, metrics: Metrics) -> None:
        self.pack = pack
        self._detector = Detector(folder / pack.detector.name, min_confidence)
        self._embedder = Embedder(folder / pack.recogniser.name, pack.vector_size)
        self._metrics = metrics

    def analyse(
        self,
        image: Pixels,
        embed: Embed,
        max_faces: int,
        quality: QualityLevel = QualityLevel.NONE,
    ) -> tuple[Face, ...]:
        """Find the faces of an image, largest box first.

        Args:
            image: upright, shape (height, width, 3), BGR.
            embed: which of the faces get an embedding; LARGEST is the largest that passes `quality`.
            max_faces: how many of the largest faces are returned.
            quality: which faces are good enough for LARGEST.
        """
        with self._stage("detect"):
            detections = self._detector.detect(image)
        self._metrics.faces_detected.inc(len(detections))
        if not detections:
            self._metrics.images_without_face.inc()
        detections.sort(key=lambda detection: detection.area, reverse=True)
        with self._stage("embed"):
            faces = [self._face(image, detection) for detection in detections[:max_faces]]
            if embed is Embed.NONE:
                chosen = []
            elif embed is Embed.ALL:
                chosen = list(range(len(faces)))
            else:
                passing = (rank for rank, face in enumerate(faces) if not reasons_against(face, quality))
                chosen = list(islice(passing, 1))
            for rank in chosen:
                vector = self._embedder.embed(image, detections[rank].points)
                faces[rank] = replace(faces[rank], embedding=vector)
            return tuple(faces)

    @staticmethod
    def _face(image: Pixels, detection: Detection) -> Face:
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
        )

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self._metrics.stage_seconds.labels(name).observe(time.perf_counter() - began)
