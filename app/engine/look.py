"""What one look of a detection network at a picture gives, whichever network it is."""

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

import cv2
import numpy as np

from app.domain import Floats, Pixels
from app.engine.scaling import Size

STRIDE = 32
"""Both sides of a picture must be a multiple of it, in pixels."""
POINTS = 5
SAME_IOU = 0.4
"""Boxes that overlap by more are one face."""


@dataclass(frozen=True, slots=True)
class Scores:
    """What the scores of a network mean, each 0..1.

    `least` is a face's, where no setting says otherwise. `trigger` makes a small candidate worth a finer
    look. A second try counts from `least_second` on. A first try whose surest face is below `doubted` is
    doubted: a turned one counts instead that is surer by `surer`. `small` is what the score of a face is
    worth, as a factor, that no look shows well. `slope` and `offset` are of the logistic curve of the share
    of detections that touch an annotated face. `steady`: landmarks are the same at any scale of a face.
    """

    least: float
    trigger: float
    least_second: float
    doubted: float
    surer: float
    small: float
    slope: float
    offset: float
    steady: bool

    def confidence(self, score: float) -> float:
        """How sure it is that a detection is a face: Rekognition's Confidence, 0..100."""
        return 100 / (1 + math.exp(-(self.slope * score + self.offset)))


class Found(NamedTuple):
    """Faces in pixels of the picture, best score first: boxes (n, 4), scores (n,) 0..1, points (n, 5, 2)."""

    boxes: Floats
    scores: Floats
    points: Floats


class Network(Protocol):
    """A detection network. Safe to call from several threads."""

    scores: ClassVar[Scores]

    def canvas(self, size: Size) -> Size:
        """The size of the canvas that a picture of some size had best lie on; no smaller."""
        ...

    def look(self, picture: Pixels, min_score: float) -> Found:
        """The faces of a picture, shape (height, width, 3), BGR, with at least this score."""
        ...


def best_first(parts: list[Found]) -> Found:
    """The faces of a network's levels together, each once."""
    if not parts:
        return Found(
            np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty((0, POINTS, 2), np.float32)
        )
    found = Found(*(np.concatenate(fields) for fields in zip(*parts, strict=True)))
    # Sides count their last pixel too, as insightface counts them.
    starts, sides = found.boxes[:, :2], found.boxes[:, 2:] - found.boxes[:, :2] + 1
    rectangles = np.hstack([starts, sides]).tolist()
    kept = list(cv2.dnn.NMSBoxes(rectangles, found.scores.tolist(), 0.0, SAME_IOU))
    return Found(*(field[kept] for field in found))
