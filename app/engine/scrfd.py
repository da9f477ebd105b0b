"""One look of SCRFD (Guo et al., ICLR 2022) at a picture.

As insightface's class gives it, but only what passes is decoded; a test holds the two equal.
"""

from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np

from app.domain import Floats, Pixels
from app.engine.look import POINTS, Found, Scores, best_first
from app.engine.model import Model
from app.engine.runtime import ONNX_RUNTIME, Runtime
from app.engine.scaling import Scaling, Size

_SCALING = Scaling(127.5, 128.0)
_STRIDES = (8, 16, 32)
_ANCHORS = 2
# Of coarse passes: photos of three by two or four by three, and upright ones.
_CANVASES = ((480, 640), (640, 480))


class Scrfd:
    """The network with five points, in any of its sizes."""

    # trigger: at 0.15, 98 % of faces of 14 px are candidates; 0.2 loses 0.1 % of recall and runs 12 % less
    # often. least_second: of 353 faceless parts of WIDER FACE photos none is then taken for a face, and one
    # is when they are darkened; at 0.5 every second try adds some of 521: turned 1, padded 3. doubted: of
    # 200 photos of lfw-dev as they are 1 is then looked at again and none changes; upside down, where the
    # first look takes nearly all for upright faces, 197 do, and 98 % match the upright photo. small: at 10
    # false positives in all, 84.8 % of the annotated faces from 40 px are found with it, 80.7 % without.
    # slope and offset: 13,709 detections on 189 photos of WIDER FACE: 91 % are faces at 0.5, 99.3 % at 0.7,
    # 99.9 % at 0.85.
    scores: ClassVar = Scores(
        least=0.5,
        trigger=0.2,
        least_second=0.6,
        doubted=0.8,
        surer=0.05,
        small=0.85,
        slope=12.97,
        offset=-4.2,
        steady=True,
    )

    def __init__(self, path: Path, runtime: Runtime = ONNX_RUNTIME) -> None:
        self._model = Model(runtime.open_detector(path, _SCALING, _CANVASES))

    def canvas(self, size: Size) -> Size:
        """The size of the canvas that a picture of some size had best lie on; no smaller."""
        return self._model.canvas(size)

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
                points = outputs[level + 6].reshape(-1, POINTS, 2)[passing] * stride
                boxes = np.hstack([centres - sides[:, :2], centres + sides[:, 2:]])
                parts.append(Found(boxes, scores[passing], points + centres[:, None]))
        return best_first(parts)


@lru_cache(maxsize=256)
def _centres(rows: int, columns: int) -> Floats:
    """Where the anchors of a level sit, in its strides, shape (rows * columns * anchors, 2)."""
    grid = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1)
    return np.repeat(grid.reshape(-1, 2), _ANCHORS, axis=0).astype(np.float32)
