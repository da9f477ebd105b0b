"""Detection recall by face size on annotated photos."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from app.domain import Face
from app.images.decode import EncodedPicture
from app.measure.datasets import AnnotatedPhoto
from app.measure.engine import LIMITS

# Sizes are those the face would have in a photo of 1920 px on its long side.
REFERENCE_SIDE = 1920
_ANY = 100_000
FROM_40_PX = (40, _ANY)
SIZES = ((20, 40), (40, 60), (60, 80), (80, _ANY), FROM_40_PX)
SIZES_FROM = ((20, _ANY), (40, _ANY), (80, _ANY))
MATCH_IOU = 0.5
# A detection that touches no annotated face, counted or not, is a false positive.
FALSE_IOU = 0.3

Boxes = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Found:
    """What a detector found in one photo of `width` x `height`: boxes (n, 4), x, y, width, height.

    `scores` (n,) rank the boxes; the best first need not come first.
    """

    boxes: Boxes
    scores: NDArray[np.float64]
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Recall:
    """Share of the faces of a size that were found."""

    from_px: int
    to_px: int
    faces: int
    found: int

    @property
    def share(self) -> float:
        return self.found / self.faces if self.faces else 0.0


@dataclass(frozen=True, slots=True)
class DetectionReport:
    recalls: tuple[Recall, ...]
    false_positives: int
    doubles: int


@dataclass(frozen=True, slots=True)
class RecallAtFalsePositives:
    """Recall when all photos together may show `allowed` false positives.

    `above` is the score that a detection must exceed for that, 0 where all of them count.
    """

    allowed: int
    above: float
    recalls: tuple[Recall, ...]


def shares_of(faces: Sequence[Face]) -> Boxes:
    """Boxes as the engine gives them: x, y, width, height, as shares of the photo's sides, (n, 4)."""
    sides = [(face.box.left, face.box.top, face.box.width, face.box.height) for face in faces]
    return np.array(sides, np.float64).reshape(-1, 4)


def found_in(photo: AnnotatedPhoto, shares: Boxes) -> Found:
    """Boxes that are shares of a photo's sides in its pixels; all count alike."""
    width, height = EncodedPicture(photo.path.read_bytes(), LIMITS).size
    return Found(shares * (width, height, width, height), np.ones(len(shares)), width, height)


def at_false_positives(
    photos: Sequence[AnnotatedPhoto], found: Sequence[Found], allowed: Sequence[int]
) -> list[RecallAtFalsePositives]:
    """Recall of faces from a size on, by the number of false positives that is allowed in all."""
    false = [
        seen.scores[_touch_nothing(iou(photo.boxes, seen.boxes))]
        for photo, seen in zip(photos, found, strict=True)
    ]
    worst = -np.sort(-np.concatenate(false))
    points = []
    for count in allowed:
        above = float(worst[count]) if count < len(worst) else 0.0
        kept = [
            replace(seen, boxes=seen.boxes[seen.scores > above], scores=seen.scores[seen.scores > above])
            for seen in found
        ]
        points.append(RecallAtFalsePositives(count, above, compare(photos, kept, SIZES_FROM).recalls))
    return points


def compare(
    photos: Sequence[AnnotatedPhoto],
    found: Sequence[Found],
    ranges: Sequence[tuple[int, int]] = SIZES,
) -> DetectionReport:
    """Recall by size, false positives, and faces that were returned twice."""
    sizes: list[Boxes] = []
    hits: list[NDArray[np.bool_]] = []
    false_positives = doubles = 0
    for photo, seen in zip(photos, found, strict=True):
        overlaps = iou(photo.boxes, seen.boxes)
        claimed = _assign(overlaps)
        reach = REFERENCE_SIDE / max(seen.width, seen.height)
        sizes.append((np.sqrt(photo.boxes[:, 2] * photo.boxes[:, 3]) * reach)[photo.valid])
        hits.append((claimed >= 0)[photo.valid])
        false_positives += int(_touch_nothing(overlaps).sum())
        spare = np.setdiff1d(np.arange(len(seen.boxes)), claimed)
        taken = claimed[claimed >= 0]
        doubles += int((iou(seen.boxes[taken], seen.boxes[spare]).max(axis=0, initial=0) >= MATCH_IOU).sum())
    size, hit = np.concatenate(sizes), np.concatenate(hits)
    recalls = []
    for low, high in ranges:
        within = (size >= low) & (size < high)
        recalls.append(Recall(low, high, int(within.sum()), int(hit[within].sum())))
    return DetectionReport(tuple(recalls), false_positives, doubles)


def iou(some: Boxes, others: Boxes) -> NDArray[np.float64]:
    """Intersection over union of every box with every other, shape (len(some), len(others))."""
    low = np.maximum(some[:, None, :2], others[None, :, :2])
    high = np.minimum(some[:, None, :2] + some[:, None, 2:], others[None, :, :2] + others[None, :, 2:])
    shared = np.maximum(high - low, 0).prod(axis=2)
    total = (some[:, 2] * some[:, 3])[:, None] + (others[:, 2] * others[:, 3])[None, :] - shared
    return np.asarray(shared / np.maximum(total, 1e-9), dtype=np.float64)


def _touch_nothing(overlaps: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which detections touch no annotated face."""
    return np.asarray(overlaps.max(axis=0, initial=0) < FALSE_IOU)


def _assign(overlaps: NDArray[np.float64]) -> NDArray[np.intp]:
    """For each annotated face the detection that claims it, or -1; the best overlaps are dealt first."""
    claimed = np.full(overlaps.shape[0], -1)
    left = overlaps.copy()
    while left.size and left.max() >= MATCH_IOU:
        face, detection = np.unravel_index(int(left.argmax()), left.shape)
        claimed[face] = detection
        left[face, :] = 0
        left[:, detection] = 0
    return claimed
