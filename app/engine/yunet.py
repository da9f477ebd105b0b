"""One look of YuNet (Wu, Peng and Yu, Machine Intelligence Research 2023) at a picture.

As OpenCV's FaceDetectorYN gives it; a test holds the two equal.
"""

from pathlib import Path
from typing import ClassVar

import numpy as np

from app.domain import Pixels
from app.engine.look import POINTS, Found, Scores, best_first
from app.engine.model import Model
from app.engine.runtime import ONNX_RUNTIME, Runtime
from app.engine.scaling import Scaling, Size
from app.engine.sizes import of_any_size

# It takes OpenCV's own order of channels, unscaled.
_SCALING = Scaling(0.0, 1.0, rgb=False)
_STRIDES = (8, 16, 32)


class Yunet:
    """OpenCV Zoo's network of March 2023."""

    # least: on 189 photos of WIDER FACE 0.7 finds 85.0 % of the faces of 40 px and more, as SCRFD does at 0.5
    # (85.1 %); 49 detections touch no annotated face, at 0.5 353 do not. trigger: 0.2 starts the finer pass
    # on 96 of them, 0.3 on 88 for 0.1 % less. doubted, surer: the least sure of 200 upright faces of lfw-dev
    # has 0.911, and turned no more than 0.906; upside down 2 % have 0.895 or more, turned back all 0.900.
    # least_second: of 353 faceless parts of WIDER FACE photos no turned one reaches it. small: not measured,
    # so nothing. slope and offset: the 2,190 detections of 0.5 and more on the 189 photos; 81 % of those at
    # 0.7 to 0.75 are faces, 97 % at 0.75 to 0.8, 99.5 % at 0.85 to 0.9.
    scores: ClassVar = Scores(
        least=0.7,
        trigger=0.3,
        least_second=0.75,
        doubted=0.9,
        surer=0.02,
        small=1.0,
        slope=13.7,
        offset=-7.81,
        steady=False,
    )

    def __init__(self, path: Path, runtime: Runtime = ONNX_RUNTIME) -> None:
        self._model = Model(runtime.open(of_any_size(path), _SCALING))

    def canvas(self, size: Size) -> Size:
        """The size of the canvas that a picture of some size had best lie on; no smaller."""
        return self._model.canvas(size)

    def look(self, picture: Pixels, min_score: float) -> Found:
        """The faces of a picture, shape (height, width, 3), BGR, with at least this score."""
        width = picture.shape[1]
        outputs = self._model.run(picture)
        parts = []
        for level, stride in enumerate(_STRIDES):
            # The chance that a face is there, and the chance that what is there is a face.
            chances = np.clip(outputs[level], 0, 1) * np.clip(outputs[level + 3], 0, 1)
            scores = np.sqrt(chances.reshape(-1))
            passing = np.flatnonzero(scores >= min_score)
            if len(passing):
                columns = width // stride
                cells = np.stack([passing % columns, passing // columns], axis=1).astype(np.float32)
                placed = outputs[level + 6].reshape(-1, 4)[passing]
                middles, halves = cells + placed[:, :2], np.exp(placed[:, 2:]) / 2
                boxes = np.asarray(np.hstack([middles - halves, middles + halves]) * stride, np.float32)
                points = outputs[level + 9].reshape(-1, POINTS, 2)[passing] + cells[:, None]
                parts.append(Found(boxes, scores[passing], points * stride))
        return best_first(parts)
