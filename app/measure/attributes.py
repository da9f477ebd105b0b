"""Pose against turned and mirrored photos, and open eyes and mouths against labels by hand."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from app.domain import Detail, Details, Embed, Look, Pixels, Pose, WholePicture
from app.images.decode import decode
from app.measure.datasets import LabelledPhoto
from app.measure.engine import LIMITS, MAX_FACES, LocalEngine, central

LABELS = Path(__file__).with_name("lfw_eyes_mouths.txt")
TURNS = (-60, -45, -30, -20, -10, 10, 20, 30, 45, 60)
_EVERY = 30
_BORDER = 60
_MIRRORED = Pose(-1, -1, 1)


@dataclass(frozen=True, slots=True)
class Errors:
    """Mean absolute errors in degrees over `faces` faces."""

    faces: int
    roll: float
    yaw: float
    pitch: float


@dataclass(frozen=True, slots=True)
class PoseReport:
    """By how much poses move when photos are turned and mirrored; keys are degrees.

    In a turned photo the roll should grow by the turn and nothing else change; in a mirrored one roll and
    yaw should change sign. `detector` is the pose from five points, `landmarks` that from 106.
    """

    photos: int
    landmarks_turned: dict[int, Errors]
    landmarks_mirrored: Errors
    detector_turned: dict[int, Errors]
    detector_mirrored: Errors


@dataclass(frozen=True, slots=True)
class SignReport:
    """How many labelled faces were judged rightly."""

    labelled: int
    right: int


Poses = tuple[Pose, Pose]


def poses(engine: LocalEngine, photos: Sequence[LabelledPhoto]) -> PoseReport:
    """Turn and mirror every 30th photo."""
    chosen = list(photos)[::_EVERY]
    seen = engine.map(lambda photo: _views(engine, photo), chosen)
    detector, points = (
        (
            {turn: _errors(seen, kind, turn, Pose(1, 1, 1), turn) for turn in TURNS},
            _errors(seen, kind, "mirrored", _MIRRORED, 0),
        )
        for kind in (0, 1)
    )
    return PoseReport(len(chosen), *points, *detector)


def _views(engine: LocalEngine, photo: LabelledPhoto) -> dict[int | str, Poses | None]:
    plain = decode(photo.path.read_bytes(), LIMITS)
    image = cv2.copyMakeBorder(plain, *(_BORDER,) * 4, cv2.BORDER_REFLECT)
    height, width = image.shape[:2]
    views: dict[int | str, Poses | None] = {}
    for turn in (0, *TURNS):
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), -turn, 1)
        turned = cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)
        views[turn] = _poses(engine, np.asarray(turned, np.uint8))
    views["mirrored"] = _poses(engine, np.ascontiguousarray(image[:, ::-1], np.uint8))
    return views


def _poses(engine: LocalEngine, image: Pixels) -> Poses | None:
    face = central(
        engine.pipeline.analyse(WholePicture(image), Look(Embed.NONE, MAX_FACES, detail=Detail.POINTS))
    )
    return None if face is None or face.details is None else (face.pose, face.details.pose)


def _errors(
    seen: Sequence[dict[int | str, Poses | None]], kind: int, view: int | str, signs: Pose, turn: float
) -> Errors:
    rows = []
    for views in seen:
        plain, other = views[0], views[view]
        if plain is not None and other is not None:
            was, now = plain[kind], other[kind]
            rows.append(
                (
                    now.roll - signs.roll * was.roll - turn,
                    now.yaw - signs.yaw * was.yaw,
                    now.pitch - signs.pitch * was.pitch,
                )
            )
    roll, yaw, pitch = np.abs((np.array(rows) + 180) % 360 - 180).mean(axis=0)
    return Errors(len(rows), float(roll), float(yaw), float(pitch))


def signs(engine: LocalEngine, photos: Sequence[LabelledPhoto]) -> dict[str, SignReport]:
    """Open eyes and mouths of the faces that LABELS names, by what was labelled."""
    by_name = {photo.name: photo for photo in photos}
    labels = [line.split() for line in LABELS.read_text().splitlines() if not line.startswith("#")]
    chosen = [fields for fields in labels if fields[0] in by_name]
    found = engine.map(lambda fields: _details(engine, by_name[fields[0]]), chosen)
    right: dict[str, list[bool]] = {}
    for (_, *said), details in zip(chosen, found, strict=True):
        for label in said:
            what, value = label.split("=")
            if details is not None and value != "-":
                sign = details.eyes_open if what == "eyes" else details.mouth_open
                right.setdefault(label, []).append(sign.value == (value == "open"))
    return {label: SignReport(len(judged), sum(judged)) for label, judged in sorted(right.items())}


def _details(engine: LocalEngine, photo: LabelledPhoto) -> Details | None:
    image = decode(photo.path.read_bytes(), LIMITS)
    face = central(
        engine.pipeline.analyse(WholePicture(image), Look(Embed.NONE, MAX_FACES, detail=Detail.POINTS))
    )
    return None if face is None else face.details
