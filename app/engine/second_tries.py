"""Second tries where no face was found, or no sure one: brighter, turned, with room around it.

Each kind is tried at most once, on a small copy, and the first that finds a face ends it. docs/adr/0011 and
docs/accuracy.md have the figures.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from app.domain import Pixels
from app.engine.detector import FINE_SIDE, Detection, Detector
from app.engine.one_face import plain_largest, tiny_pass
from app.engine.shrink import shrunk, within

# Long side of the copy that is judged and brightened; the others are made from it.
SMALL_SIDE = 480
# A picture of so few faces whose surest is in doubt is looked at turned, too.
DOUBTED_FACES = 3
# A picture is dark or backlit when this share of it has a luma below this.
DARK_SHARE, DARK_LUMA = 0.2, 20
# Brightening: blur in pixels; the percentile of luma that becomes white, and its least value; gamma.
BLUR, WHITE_PERCENTILE, LEAST_WHITE, GAMMA = 1.5, 99, 4, 0.4
# Long side of each turned copy, and the grey between them. A face of LFW that spans a half of the frame gets
# 0.89 in such a copy and 0.78 in one of 203 px, where upside-down ones get up to 0.75.
TURNED_SIDE, GAP = 160, 16
# Long side of a padded copy, and the grey around it.
PADDED_SIDE, PADDING = 320, 48
_GREY = (127, 127, 127)
_TURNS = (cv2.ROTATE_90_CLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_COUNTERCLOCKWISE)


class Kind(StrEnum):
    """What a second try does to the picture."""

    BRIGHTER = "brighter"
    TURNED = "turned"
    PADDED = "padded"


class Found(NamedTuple):
    """Faces in pixels of the image that was given, and what to see them in.

    `seen` has the size of that image: it is the image itself, or a brighter one. `by` is the second try
    that found them, if one did.
    """

    detections: list[Detection]
    seen: Pixels
    by: Kind | None = None


class _View(NamedTuple):
    """A copy of the image within a canvas: where it lies from left to right, and the way back.

    `back`, shape (2, 3), takes points of the canvas to points of the image.
    """

    left: float
    right: float
    back: NDArray[np.float64]


class SecondTries:
    """A detector that looks again, and otherwise, at a picture in which it finds no sure face."""

    def __init__(self, detector: Detector) -> None:
        self.first = detector
        self._scores = detector.scores

    def detect(self, image: Pixels, *, alone: bool = False) -> Found:
        """The faces of an image, shape (height, width, 3), BGR; best score first.

        With `alone` only the largest matters, and others are left out where it is plain which that is.
        """
        tiny = tiny_pass(self.first, image) if alone else None
        if tiny is not None and (largest := plain_largest(self.first, image, tiny)) is not None:
            return Found([largest], image)
        fine = within(image, FINE_SIDE)
        detections = self.first.detect(image, fine=fine, tiny=tiny, alone=alone)
        if detections and (detections[0].score >= self._scores.doubted or len(detections) > DOUBTED_FACES):
            return Found(detections, image)
        height, width = image.shape[:2]
        small = within(fine, SMALL_SIDE)
        if detections:
            return self._turned_if_surer(Found(detections, image), small)
        dark = is_dark(small)
        if dark:
            small = brightened(small)
        for kind, canvas, views in _tries(small, (width, height), dark):
            detections = self._best_view(self.first.detect(canvas), views)
            if detections:
                seen = cv2.resize(brightened(fine), (width, height)) if dark else image
                return Found(detections, np.asarray(seen, np.uint8), kind)
        return Found([], image)

    def _turned_if_surer(self, first: Found, small: Pixels) -> Found:
        """What the turned picture shows, if surer: upside-down faces are often taken for upright ones.

        Faces of the first try that lie elsewhere stay: in a picture of people lying, each may be turned
        otherwise.
        """
        height, width = first.seen.shape[:2]
        canvas, views = _turned(small, (width, height))
        turned = self._best_view(self.first.detect(canvas), views)
        if not turned or turned[0].score < first.detections[0].score + self._scores.surer:
            return first
        others = [face for face in first.detections if not any(_holds(found, face) for found in turned)]
        return Found(turned + others, first.seen, Kind.TURNED)

    def _best_view(self, detections: list[Detection], views: list[_View]) -> list[Detection]:
        """The faces of the view that shows the surest one, in pixels of the image."""
        sure = [detection for detection in detections if detection.score >= self._scores.least_second]
        best: list[Detection] = []
        for view in views:
            within = [detection for detection in sure if _lies_in(detection, view)]
            # The detector's best come first.
            if within and (not best or within[0].score > best[0].score):
                best, back = within, view.back
        return [_taken_back(detection, back) for detection in best]


def is_dark(image: Pixels) -> bool:
    """Whether a picture, or what stands before its bright parts, is dark."""
    luma = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    return float((luma < DARK_LUMA).mean()) >= DARK_SHARE


def brightened(image: Pixels) -> Pixels:
    """A dark or backlit picture with its shadows lifted; blurred, for what is lifted is mostly noise."""
    light = cv2.GaussianBlur(image.astype(np.float32), (0, 0), BLUR)
    white = np.percentile(cv2.cvtColor(light, cv2.COLOR_BGR2GRAY)[::4, ::4], WHITE_PERCENTILE)
    light = np.minimum(light / max(float(white), LEAST_WHITE), 1)
    return np.asarray(255 * cv2.pow(light, GAMMA), dtype=np.uint8)


def _tries(small: Pixels, size: tuple[int, int], dark: bool) -> Iterator[tuple[Kind, Pixels, list[_View]]]:
    """What to look at, in turn; `size` is the image's width and height."""
    if dark:
        yield Kind.BRIGHTER, small, [_view(small, size, 0, 0)]
    yield Kind.TURNED, *_turned(small, size)
    yield Kind.PADDED, *_padded(small, size)


def _turned(small: Pixels, size: tuple[int, int]) -> tuple[Pixels, list[_View]]:
    """The picture turned by 90, 180 and 270 degrees, side by side."""
    tile = shrunk(small, TURNED_SIDE)
    copies = [np.asarray(cv2.rotate(tile, turn), np.uint8) for turn in _TURNS]
    wide = sum(copy.shape[1] for copy in copies) + 2 * GAP
    canvas = np.full((max(tile.shape[:2]), wide, 3), _GREY, np.uint8)
    views, left = [], 0
    for turn, copy in zip(_TURNS, copies, strict=True):
        canvas[: copy.shape[0], left : left + copy.shape[1]] = copy
        views.append(_view(tile, size, left, 0, turn))
        left += copy.shape[1] + GAP
    return canvas, views


def _padded(small: Pixels, size: tuple[int, int]) -> tuple[Pixels, list[_View]]:
    """The picture with grey around it: a face that leaves the frame lies within the canvas."""
    tile = shrunk(small, PADDED_SIDE)
    canvas = cv2.copyMakeBorder(tile, *(PADDING,) * 4, cv2.BORDER_CONSTANT, value=_GREY)
    return np.asarray(canvas, np.uint8), [_view(tile, size, PADDING, PADDING)]


def _view(tile: Pixels, size: tuple[int, int], left: int, top: int, turn: int | None = None) -> _View:
    """A copy with its corner at (left, top) that was made by turning `tile`, a small image of `size`."""
    height, width = tile.shape[:2]
    wide = height if turn in (cv2.ROTATE_90_CLOCKWISE, cv2.ROTATE_90_COUNTERCLOCKWISE) else width
    # From the corner of the copy to the corner of the tile: turned back, then moved.
    linear, shift = {
        None: ([[1, 0], [0, 1]], [0, 0]),
        cv2.ROTATE_90_CLOCKWISE: ([[0, 1], [-1, 0]], [0, height]),
        cv2.ROTATE_180: ([[-1, 0], [0, -1]], [width, height]),
        cv2.ROTATE_90_COUNTERCLOCKWISE: ([[0, -1], [1, 0]], [width, 0]),
    }[turn]
    scale = np.array([size[0] / width, size[1] / height])
    matrix = np.array(linear) * scale[:, None]
    # Points count from the middle of the first pixel.
    origin = scale * shift - matrix @ (np.array([left, top]) - 0.5) - 0.5
    return _View(left, left + wide, np.hstack([matrix, origin[:, None]]))


def _lies_in(detection: Detection, view: _View) -> bool:
    middle = (detection.corners[0] + detection.corners[2]) / 2
    return view.left - GAP / 2 <= middle < view.right + GAP / 2


def _holds(box: Detection, face: Detection) -> bool:
    """Whether the middle of a face lies within the box of another."""
    left, top, right, bottom = face.corners
    across, down = (left + right) / 2, (top + bottom) / 2
    return box.corners[0] <= across <= box.corners[2] and box.corners[1] <= down <= box.corners[3]


def _taken_back(detection: Detection, back: NDArray[np.float64]) -> Detection:
    points = detection.points @ back[:, :2].T + back[:, 2]
    corners = np.array(detection.corners).reshape(2, 2) @ back[:, :2].T + back[:, 2]
    left, top = corners.min(axis=0).tolist()
    right, bottom = corners.max(axis=0).tolist()
    return Detection((left, top, right, bottom), detection.score, points.astype(np.float32))
