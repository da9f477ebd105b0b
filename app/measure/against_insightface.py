"""The engine's detector beside insightface's, same network and photos: recall at equal numbers of false
positives, and time."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.domain import Pixels
from app.engine.detector import Detection, Detector
from app.engine.scrfd import Scrfd
from app.engine.second_tries import SecondTries
from app.images.decode import decode
from app.measure.datasets import AnnotatedPhoto
from app.measure.detection import Found, RecallAtFalsePositives, at_false_positives
from app.measure.engine import LIMITS
from app.measure.reference_detector import DEFAULT_SIZES, ONE_SIZE, ReferenceDetector

FALSE_POSITIVES = (1, 10, 100)
# Low enough that every detector has more false positives than are asked about.
LOW_SCORE = 0.1
ROUNDS = 3

Corners = NDArray[np.float64]
Look = Callable[[Pixels], tuple[Corners, NDArray[np.float64]]]


@dataclass(frozen=True, slots=True)
class Contender:
    """A detector's recalls, and its milliseconds a photo on one thread at the score that is in use."""

    name: str
    points: tuple[RecallAtFalsePositives, ...]
    ms: float


def contenders(
    model: Path, min_score: float, photos: Sequence[AnnotatedPhoto], rounds: int = ROUNDS
) -> list[Contender]:
    """Every detector on every photo, in turn with each other.

    Args:
        model: an SCRFD network with five points.
        min_score: the score that the service shows faces from, at which the time is taken.
        photos: with all their faces annotated.
        rounds: how often each photo is timed; a photo's time is the median.
    """
    low, shown = _looks(model, LOW_SCORE), _looks(model, min_score)
    found: dict[str, list[Found]] = {name: [] for name in low}
    spent: dict[str, list[float]] = {name: [] for name in low}
    for photo in photos:
        picture = decode(photo.path.read_bytes(), LIMITS)
        times: dict[str, list[float]] = {name: [] for name in low}
        for name, look in low.items():
            found[name].append(_found(look(picture), picture))
        for _ in range(rounds):
            for name, look in shown.items():
                began = time.perf_counter()
                look(picture)
                times[name].append(time.perf_counter() - began)
        for name, taken in times.items():
            spent[name].append(statistics.median(taken))
    return [
        Contender(
            name,
            tuple(at_false_positives(photos, found[name], FALSE_POSITIVES)),
            1000 * statistics.fmean(spent[name]),
        )
        for name in low
    ]


def _looks(model: Path, min_score: float) -> dict[str, Look]:
    ours = Detector(Scrfd(model), min_score)
    # With a low score fewer pictures are in doubt: second looks then find less than they do in the service.
    return {
        "the engine": _of(ours.detect),
        "the engine with second looks": _of(lambda picture: SecondTries(ours).detect(picture).detections),
        "insightface at 640": ReferenceDetector(model, ONE_SIZE, min_score).detect,
        "insightface's default, 128 and 640": ReferenceDetector(model, DEFAULT_SIZES, min_score).detect,
    }


def _of(detect: Callable[[Pixels], Sequence[Detection]]) -> Look:
    def look(picture: Pixels) -> tuple[Corners, NDArray[np.float64]]:
        faces = detect(picture)
        corners = np.array([face.corners for face in faces]).reshape(-1, 4)
        return corners, np.array([face.score for face in faces], np.float64)

    return look


def _found(seen: tuple[Corners, NDArray[np.float64]], picture: Pixels) -> Found:
    corners, scores = seen
    height, width = picture.shape[:2]
    return Found(np.hstack([corners[:, :2], corners[:, 2:] - corners[:, :2]]), scores, width, height)
