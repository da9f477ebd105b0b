"""Detection recall by face size on annotated photos."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.measure.datasets import AnnotatedPhoto

# Sizes are those the face would have in a photo of 1920 px on its long side.
REFERENCE_SIDE = 1920
SIZES = ((20, 40), (40, 60), (60, 80), (80, 100_000), (40, 100_000))
MATCH_IOU = 0.5
# A detection that touches no annotated face, counted or not, is a false positive.
FALSE_IOU = 0.3

Boxes = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Found:
    """What a detector found in one photo of `width` x `height`: boxes (n, 4), x, y, width, height."""

    boxes: Boxes
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


def compare(photos: Sequence[AnnotatedPhoto], found: Sequence[Found]) -> DetectionReport:
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
        false_positives += int((overlaps.max(axis=0, initial=0) < FALSE_IOU).sum())
        spare = np.setdiff1d(np.arange(len(seen.boxes)), claimed)
        taken = claimed[claimed >= 0]
        doubles += int((iou(seen.boxes[taken], seen.boxes[spare]).max(axis=0, initial=0) >= MATCH_IOU).sum())
    size, hit = np.concatenate(sizes), np.concatenate(hits)
    recalls = []
    for low, high in SIZES:
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
