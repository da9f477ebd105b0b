"""Multi-scale face detection: a network, run where it finds something.

A coarse pass over the photo, a tiny pass for faces that fill the frame, and a finer pass over the
region that holds small candidates. The figures beside the constants were measured with SCRFD on 189 WIDER
FACE photos of 1024 px and on crops of LFW; docs/adr/0005 has the table, docs/adr/0019 says how YuNet does
with them. A side is a box's longer side.
"""

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from app.domain import Floats, Pixels
from app.engine.look import SAME_IOU, STRIDE, Network
from app.engine.shrink import shrunk, within

# Long side of the coarse pass. It finds 98 % of LFW faces of 20 px and more; it finds all faces that
# span up to 60 % of the frame, and none that span over 80 %.
COARSE_SIDE = 640
# A smaller photo is not enlarged beyond this: LFW (250 px) gives the same faces at 256 and 640.
COARSE_MIN_SIDE = 256
# Long side of the pass for frame-filling faces: 100 % of crops at 0.7 to 1.2 of the face's box, at 10 to
# 14 % of the coarse pass's time. A bystander found at 640 proves nothing about a selfie, so it always runs
# but beside the smallest coarse pass: that sees the same crops, at 0.5 to 0.6 of the box better, and needs it
# only where its surest face, of one in five photos of LFW, is in doubt.
TINY_SIDE = 128
# Smaller faces of the tiny pass are left to the coarse pass, which sees them 5 times larger.
TINY_MIN_FACE = 48
# Long side of the whole photo in the finer pass, never above the photo's own: a face of 40 px in a
# 1920 px photo is 27 px here, 13 px in the coarse pass. SCRFD finds 98 % of LFW faces from 20 px and 17
# to 61 % at 12 to 14 px; at 1600 large faces get lost and the time is half as much again.
FINE_SIDE = 1280
# The finer pass is left out unless it enlarges by this factor.
FINE_MIN_GAIN = 1.25
# What starts the finer pass: a coarse candidate with the network's trigger score, and a side up to this in
# coarse pixels. No LFW photo of 200 starts it; a limit of 48 px starts 3 of 200 and adds under 0.3 %.
TRIGGER_MAX_FACE = 32
# The region is the candidates' bounding rectangle, widened per candidate by its side and this many fine
# pixels, so that faces that the coarse pass did not see beside those it saw lie within.
REGION_MARGIN = 32
# The least size of a face is that in a photo with this longer side, as Rekognition states its own.
SIZED_SIDE = 1920
# The coarse pass may see a small face smaller than it is, by up to this factor.
COARSE_SIZE_ERROR = 0.85
# A face so near to the region's edge, in its sides, may be cut by it.
CUT_SHARE = 0.05
# Two detections are one face when their boxes overlap as much as within a look, or when one lies in the other
# (shared area over the smaller) and their landmarks are this near (mean distance over the larger side).
SAME_NESTED = 0.7
SAME_LANDMARKS = 0.25
# Landmarks on LFW are wrong by 9 % of the face at 14 px, 3.3 % at 28, 2 % at 56, 1.5 % at 80: of two views
# of one face the one seen in more pixels is kept; its worth is damped below this side. Of 575 pairs of LFW's
# people, enlarged to 500 px, 8 are missed at Similarity 80, as with 128 and more here, and 10 with 48.
FULL_QUALITY_FACE = 96
# Who wants the largest face alone needs no finer pass where the coarse one shows it in this many pixels.
ENOUGH_FACE = 48
# A face that no view shows in this many pixels is worth less than its score: the finer pass sees hands and
# flowers larger, too.
SURE_FACE = 24


@dataclass(frozen=True, slots=True)
class Detection:
    """A face in pixels of the image: corners (left, top, right, bottom), score 0..1, points (5, 2)."""

    corners: tuple[float, float, float, float]
    score: float
    points: Floats

    @property
    def shorter_side(self) -> float:
        left, top, right, bottom = self.corners
        return min(right - left, bottom - top)

    @property
    def longer_side(self) -> float:
        left, top, right, bottom = self.corners
        return max(right - left, bottom - top)

    @property
    def area(self) -> float:
        left, top, right, bottom = self.corners
        return (right - left) * (bottom - top)


class Pass(NamedTuple):
    """What one pass found: boxes (n, 4), scores (n,), points (n, 5, 2) and sides (n,).

    All in pixels of the photo, but the sides: they are in pixels that the network saw.
    """

    boxes: Floats
    scores: Floats
    points: Floats
    sides: Floats

    def take(self, keep: NDArray[np.bool_] | NDArray[np.intp]) -> "Pass":
        return Pass(*(field[keep] for field in self))

    def from_size(self, least: float) -> "Pass":
        """Those whose area is no less than that of a square of this side, in pixels of the photo."""
        return self.take((self.boxes[:, 2:] - self.boxes[:, :2]).prod(axis=1) >= least**2)

    def detections(self) -> list[Detection]:
        return [
            Detection((float(box[0]), float(box[1]), float(box[2]), float(box[3])), float(score), points)
            for box, score, points in zip(self.boxes, self.scores, self.points, strict=True)
        ]


class Region(NamedTuple):
    """A part of a picture, in its pixels."""

    left: int
    top: int
    right: int
    bottom: int


class Detector:
    """Finds faces from 40 px in a 1920 px photo up to faces larger than the frame.

    Args:
        network: what finds faces with five points in a picture.
        min_score: the least score of a face, 0..1.
        min_size: the least size of a face, the square root of its area, in pixels of a photo with a longer
            side of 1920.
    """

    def __init__(self, network: Network, min_score: float, min_size: float = 0.0) -> None:
        self.scores = network.scores
        self._network = network
        self.min_score = min_score
        self._min_share = min_size / SIZED_SIDE

    def detect(
        self, image: Pixels, *, fine: Pixels | None = None, tiny: Pass | None = None, alone: bool = False
    ) -> list[Detection]:
        """The faces of an upright image, shape (height, width, 3), BGR; best score first.

        Args:
            fine: the image within FINE_SIDE, where it is made already.
            tiny: what the tiny pass finds, where that is known already.
            alone: only the largest face matters, so smaller ones may be left out.
        """
        height, width = image.shape[:2]
        longest = max(height, width)
        if fine is None:
            fine = within(image, FINE_SIDE)  # one read of a large photo serves every pass
        coarse = shrunk(fine, min(COARSE_SIDE, max(COARSE_MIN_SIDE, longest)))

        candidates = self.run(coarse, (width, height), min(self.scores.trigger, self.min_score))
        passes = [candidates.take(candidates.scores >= self.min_score)]
        sure = candidates.scores.max(initial=0) >= self.scores.doubted
        if max(coarse.shape) > COARSE_MIN_SIDE or not sure:
            if tiny is None:
                tiny = self.run(shrunk(coarse, TINY_SIDE), (width, height), self.min_score)
            passes.append(tiny.take((tiny.sides >= TINY_MIN_FACE) & (tiny.scores >= self.min_score)))
        enough = alone and passes[0].sides.max(initial=0) >= ENOUGH_FACE
        if max(fine.shape) >= FINE_MIN_GAIN * max(coarse.shape) and not enough:
            likely = candidates.take(candidates.scores >= self.scores.trigger)
            likely = likely.from_size(COARSE_SIZE_ERROR * self._min_share * longest)
            region = _region_of_small(likely, fine, (width, height))
            if region is not None:
                passes.append(self.run_region(fine, region, (width, height)))
        merged = _merge(passes, self.scores.small).from_size(self._min_share * longest)
        return merged.take(merged.scores >= self.min_score).detections()

    def run(self, canvas: Pixels, size: tuple[int, int], min_score: float) -> Pass:
        """Detect on a resized picture; the result is for a picture of `size` (width, height)."""
        height, width = canvas.shape[:2]
        whole = (height + -height % STRIDE, width + -width % STRIDE)
        down, across = self._network.canvas(whole)
        padded = cv2.copyMakeBorder(canvas, 0, down - height, 0, across - width, cv2.BORDER_CONSTANT)
        found = self._network.look(np.asarray(padded, np.uint8), min_score)
        factor = np.array([size[0] / width, size[1] / height], np.float32)
        boxes = found.boxes.reshape(-1, 2, 2)
        sides = (boxes[:, 1] - boxes[:, 0]).max(axis=1, initial=0)
        return Pass((boxes * factor).reshape(-1, 4), found.scores, found.points * factor, sides)

    def run_region(self, fine: Pixels, region: Region, size: tuple[int, int]) -> Pass:
        """Detect on a part of a resized picture; the result is for a picture of `size` (width, height)."""
        height, width = fine.shape[:2]
        left, top, right, bottom = region
        found = self.run(fine[top:bottom, left:right], (right - left, bottom - top), self.min_score)
        # A face cut by the region's edge, unless that is the photo's, is left to the coarse pass.
        lefts, tops, rights, bottoms = found.boxes.T
        near = CUT_SHARE * found.sides
        whole = ((lefts > near) | (left == 0)) & ((tops > near) | (top == 0))
        whole &= ((rights < right - left - near) | (right == width)) & (
            (bottoms < bottom - top - near) | (bottom == height)
        )
        found = found.take(whole)
        factor = np.array([size[0] / width, size[1] / height], np.float32)
        origin = np.array([left, top], np.float32)
        return found._replace(
            boxes=((found.boxes.reshape(-1, 2, 2) + origin) * factor).reshape(-1, 4),
            points=(found.points + origin) * factor,
        )


def _region_of_small(candidates: Pass, fine: Pixels, size: tuple[int, int]) -> Region | None:
    """The part of the fine picture to look at again, in its pixels; None when nothing small is there."""
    height, width = fine.shape[:2]
    small = candidates.take(candidates.sides <= TRIGGER_MAX_FACE)
    if not len(small.scores):
        return None
    boxes = small.boxes * np.array([width / size[0], height / size[1]] * 2, np.float32)
    margin = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True) + REGION_MARGIN
    left, top = np.maximum((boxes[:, :2] - margin).min(axis=0), 0).astype(int)
    right, bottom = np.minimum((boxes[:, 2:] + margin).max(axis=0), (width, height)).astype(int)
    return Region(left, top, right, bottom) if right > left and bottom > top else None


def _merge(passes: list[Pass], small: float) -> Pass:
    """All faces once, each in the view that saw it best, with the score of its surest view.

    A view of two faces, which overlap, is the better seen one's. Scores of faces that no view shows well are
    multiplied by `small`.
    """
    every = Pass(*(np.concatenate(fields) for fields in zip(*passes, strict=True)))
    worth = every.scores * np.minimum(1, every.sides / FULL_QUALITY_FACE)
    every = every.take(np.argsort(-worth, kind="stable"))
    same = _same_faces(every)
    kept = np.zeros(len(every.scores), np.bool_)
    for index, others in enumerate(same):
        kept[index] = not (others & kept).any()
    views = same & kept[:, None]
    views &= views.cumsum(axis=0) == 1
    scores = np.where(views, every.scores, 0).max(axis=1, initial=0)
    scores[every.sides < SURE_FACE] *= small
    merged = every._replace(scores=scores).take(kept)
    return merged.take(np.argsort(-merged.scores, kind="stable"))


def _same_faces(every: Pass) -> NDArray[np.bool_]:
    """Which of n detections are of one face, shape (n, n)."""
    starts, ends = every.boxes[:, None, :2], every.boxes[:, None, 2:]
    shared = np.minimum(ends, every.boxes[:, 2:]) - np.maximum(starts, every.boxes[:, :2])
    area = np.maximum(shared, 0).prod(axis=2)
    sizes = every.boxes[:, 2:] - every.boxes[:, :2]
    areas = sizes.prod(axis=1)
    same: NDArray[np.bool_] = area > SAME_IOU * np.maximum(areas[:, None] + areas - area, 1e-6)
    nested = area > SAME_NESTED * np.maximum(np.minimum(areas[:, None], areas), 1e-6)
    one, other = np.nonzero(nested & ~same)
    distances = np.linalg.norm(every.points[one] - every.points[other], axis=2).mean(axis=1)
    sides = sizes.max(axis=1)
    same[one, other] = distances < SAME_LANDMARKS * np.maximum(sides[one], sides[other])
    return same
