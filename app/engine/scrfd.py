"""One look of SCRFD (Guo et al., ICLR 2022) at a picture.

As insightface's class gives it, but only what passes is decoded; a test holds the two equal.
"""

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.domain import Pixels
from app.engine.model import DETECTOR, Floats, Model

STRIDE = 32
"""Both sides of a picture must be a multiple of it, in pixels."""
_STRIDES = (8, 16, 32)
_ANCHORS = 2
_POINTS = 5


class Found(NamedTuple):
    """Faces in pixels of the picture, best score first: boxes (n, 4), scores (n,) 0..1, points (n, 5, 2)."""

    boxes: Floats
    scores: Floats
    points: Floats


class Scrfd:
    """The network with five points, in any of its sizes."""

    def __init__(self, path: Path, same_iou: float) -> None:
        self._model = Model(path, DETECTOR)
        self._same_iou = same_iou

    def look(self, picture: Pixels, min_score: float) -> Found:
        """The faces of a picture, shape (height, width, 3), BGR, with at least this score."""
        height, width = picture.shape[:2]
        outputs = self._model.run(picture)
        parts = []
        for level, stride in enumerate(_STRIDES):
            scores = outputs[level].reshape(-1)
            passing = np.flatnonzero(scores >= min_score)
            if len(passing):
                centres = _centres(height // stride, width // stride)[passing] * stride
                sides = outputs[level + 3].reshape(-1, 4)[passing] * stride
                points = outputs[level + 6].reshape(-1, _POINTS, 2)[passing] * stride
                boxes = np.hstack([centres - sides[:, :2], centres + sides[:, 2:]])
                parts.append(Found(boxes, scores[passing], points + centres[:, None]))
        if not parts:
            return Found(
                np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty((0, _POINTS, 2), np.float32)
            )
        found = Found(*(np.concatenate(fields) for fields in zip(*parts, strict=True)))
        order = np.argsort(-found.scores, kind="stable")
        found = Found(*(field[order] for field in found))
        kept = _not_the_same(found.boxes, self._same_iou)
        return Found(*(field[kept] for field in found))


@lru_cache(maxsize=256)
def _centres(rows: int, columns: int) -> Floats:
    """Where the anchors of a level sit, in its strides, shape (rows * columns * anchors, 2)."""
    grid = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1)
    return np.repeat(grid.reshape(-1, 2), _ANCHORS, axis=0).astype(np.float32)


def _not_the_same(boxes: Floats, same_iou: float) -> NDArray[np.intp]:
    """Which boxes, best first, overlap none before them by more; sides count their last pixel too."""
    left, top, right, bottom = boxes.T
    areas = (right - left + 1) * (bottom - top + 1)
    order = np.arange(len(boxes))
    kept = []
    while order.size:
        first, others = order[0], order[1:]
        kept.append(first)
        width = np.minimum(right[first], right[others]) - np.maximum(left[first], left[others]) + 1
        height = np.minimum(bottom[first], bottom[others]) - np.maximum(top[first], top[others]) + 1
        shared = np.maximum(width, 0) * np.maximum(height, 0)
        order = others[shared / (areas[first] + areas[others] - shared) <= same_iou]
    return np.array(kept, dtype=np.intp)
