"""A picture in, faces out: decode, detect, measure, embed. Runs in a thread of the inference pool."""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from app.domain import Box, Detail, Details, Embed, Face, Look, Picture, Pixels, QualityLevel
from app.engine import landmarks
from app.engine.attributes import eyes_open, mouth_open, quality_of
from app.engine.detector import FINE_SIDE, Detection, Detector
from app.engine.embedder import Embedder
from app.engine.genderage import GenderAge
from app.engine.landmarks import Landmarker
from app.engine.networks import open_detector, open_embedder, scores_of
from app.engine.packs import GENDER_AGE, POINTS_106, Pack
from app.engine.pose import pose_of_106, pose_of_five, with_profiles
from app.engine.quality import flaws, reasons_against
from app.engine.runtime import ONNX_RUNTIME, Runtime
from app.engine.second_tries import SecondTries
from app.engine.views import View, Views
from app.metrics import Metrics


class _Networks(NamedTuple):
    detector: SecondTries
    embedder: Embedder
    landmarker: Landmarker | None
    gender_age: GenderAge | None


class Pipeline:
    """The models of one pack, opened by the first picture unless `open` was called before. Safe to call from
    several threads.
    """

    def __init__(
        self,
        pack: Pack,
        folder: Path,
        min_confidence: float | None,
        metrics: Metrics,
        runtime: Runtime = ONNX_RUNTIME,
        min_face_size: float = 0.0,
    ) -> None:
        self.pack = pack
        self.runtime = runtime
        self.min_score = scores_of(pack).least if min_confidence is None else min_confidence
        self._min_face_size = min_face_size
        self._folder = folder
        self._metrics = metrics
        self._opening = Lock()
        self._opened: _Networks | None = None

    def open(self) -> None:
        """Open the networks: a second, and a third to a half of a process's memory."""
        self._networks()

    def _networks(self) -> _Networks:
        with self._opening:
            self._opened = self._opened or self._open()
            return self._opened

    def _open(self) -> _Networks:
        pack, folder, runtime = self.pack, self._folder, self.runtime
        return _Networks(
            SecondTries(Detector(open_detector(pack, folder, runtime), self.min_score, self._min_face_size)),
            open_embedder(pack, folder, runtime),
            Landmarker(folder / POINTS_106.name, runtime) if POINTS_106 in pack.others else None,
            GenderAge(folder / GENDER_AGE.name, runtime) if GENDER_AGE in pack.others else None,
        )

    @property
    def detector(self) -> SecondTries:
        """What finds faces."""
        return self._networks().detector

    def analyse(self, picture: Picture, look: Look) -> tuple[Face, ...]:
        """Find the faces of a picture; largest box first."""
        with self._metrics.stage("decode"):
            image = picture.pixels(FINE_SIDE)
        with self._metrics.stage("detect"):
            # Where the largest face is refused, another one counts.
            alone = look.alone and look.quality is QualityLevel.NONE
            detections, seen, by = self.detector.detect(image, alone=alone)
        self._metrics.images_analysed.inc()
        self._metrics.faces_detected.inc(len(detections))
        if not detections:
            self._metrics.images_without_face.inc()
        if by is not None:
            self._metrics.second_tries.labels(by).inc()
        detections.sort(key=lambda detection: detection.area, reverse=True)
        detections = detections[: look.max_faces]
        views = Views(picture, image, seen)
        enlarged = picture.size[0] / image.shape[1]
        sides = [enlarged * detection.shorter_side for detection in detections]
        if look.embed is Embed.LARGEST:
            found = self._with_largest(views, detections, sides, look)
        else:
            self._refine(views, detections)
            shown = [views.of(detection) for detection in detections]
            found = self._judged(shown, sides, look)
            if look.embed is Embed.ALL:
                self._embed_best(shown, found, look)
        for face in found:
            for reason in face.reasons:
                self._metrics.faces_refused.labels(reason).inc()
        return tuple(found)

    def _with_largest(
        self, views: Views, detections: Sequence[Detection], sides: Sequence[float], look: Look
    ) -> list[Face]:
        """All faces, the first that passes with its embedding."""
        found: list[Face] = []
        wanted = True
        for detection, side in zip(detections, sides, strict=True):
            if wanted:
                self._refine(views, [detection])
            shown = [views.of(detection)]
            (face,) = self._judged(shown, [side], look)
            if wanted and not face.reasons:
                (face,) = self._embedded(shown, [face], look)
                wanted = face.embedding is None
            found.append(face)
        return found

    def _refine(self, views: Views, wanted: Sequence[Detection]) -> None:
        if views.are_too_coarse_for(wanted):
            with self._metrics.stage("decode"):
                views.refine(wanted)

    def _judged(self, shown: Sequence[View], sides: Sequence[float], look: Look) -> list[Face]:
        """Faces with the details asked for, as `seen` shows them, and the reasons against them.

        Args:
            sides: the shorter one of each in the whole picture, in pixels.
        """
        with self._metrics.stage("measure"):
            return [self._judge(view, side, look) for view, side in zip(shown, sides, strict=True)]

    def _judge(self, view: View, side_px: float, look: Look) -> Face:
        confidence = self.detector.first.scores.confidence(view.detection.score)
        face = _face(view.image, view.detection, confidence, side_px)
        if look.measures_quality:
            face = replace(face, quality=quality_of(view.image, face.box))
        reasons = reasons_against(face, look.quality)
        # A pose that decides must be a good one.
        if look.detail > Detail.BOX or (not reasons and look.quality is not QualityLevel.NONE):
            face = replace(face, details=self._details(view.seen, view.detection, look.detail))
            reasons = reasons_against(face, look.quality)
        return replace(face, reasons=reasons) if reasons else face

    def _details(self, image: Pixels, detection: Detection, detail: Detail) -> Details | None:
        """None without a model of 106 points: there is more to say of no face than the detector said."""
        networks = self._networks()
        if networks.landmarker is None:
            return None
        height, width = image.shape[:2]
        points = networks.landmarker.points(image, detection)
        details = Details(
            landmarks=landmarks.thirty(points, width, height),
            pose=with_profiles(pose_of_106(points), pose_of_five(detection.points)),
            eyes_open=eyes_open(points),
            mouth_open=mouth_open(points),
        )
        if detail is Detail.AGE_AND_GENDER and networks.gender_age is not None:
            gender, age = networks.gender_age.look(image, detection)
            details = replace(details, gender=gender, age=age)
        return details

    def _embed_best(self, shown: Sequence[View], found: list[Face], look: Look) -> None:
        """Embed the faces that pass, or of more than `look.keep` those with fewest flaws, then the largest.

        An embedding may show more flaws, never fewer: who is best with one is better than all who follow.
        """
        passing = [index for index, face in enumerate(found) if not face.reasons]
        if look.keep is None:
            self._embed(passing, shown, found, look)
            return
        coming = [(flaws(found[index]), index) for index in passing]
        heapq.heapify(coming)
        kept = 0
        while coming and kept != look.keep:
            _, index = heapq.heappop(coming)
            if found[index].embedding is not None:
                kept += 1
                continue
            self._embed([index], shown, found, look)
            if not found[index].reasons:
                heapq.heappush(coming, (flaws(found[index]), index))
        for _, index in coming:
            found[index] = replace(found[index], embedding=None)

    def _embed(self, which: Sequence[int], shown: Sequence[View], found: list[Face], look: Look) -> None:
        views, faces = [shown[index] for index in which], [found[index] for index in which]
        for index, face in zip(which, self._embedded(views, faces, look), strict=True):
            found[index] = face

    def _embedded(self, shown: Sequence[View], faces: Sequence[Face], look: Look) -> Iterator[Face]:
        """Faces with their embeddings, but for those of which these show that they are too poor."""
        if not faces:
            return
        seen = [(view.seen, view.detection.points) for view in shown]
        with self._metrics.stage("embed"):
            embeddings = self._networks().embedder.embed_all(seen, mirror=look.mirror)
        usual = self.pack.usual_vector_length
        for face, (vector, length) in zip(faces, embeddings, strict=True):
            strength = None if usual is None else length / usual
            embedded = replace(face, strength=strength, embedding=vector)
            reasons = reasons_against(embedded, look.quality)
            yield replace(embedded, reasons=reasons, embedding=None) if reasons else embedded


def _face(image: Pixels, detection: Detection, confidence: float, side_px: float) -> Face:
    height, width = image.shape[:2]
    left, top, right, bottom = detection.corners
    box = Box(left / width, top / height, (right - left) / width, (bottom - top) / height)
    return Face(
        box=box,
        confidence=confidence,
        landmarks=landmarks.five(detection.points, width, height),
        pose=pose_of_five(detection.points),
        side_px=side_px,
    )
