"""The largest face of a picture where it is plain which that is: seen in a small copy, then looked at closer.

The tiny pass finds who spans a fifth of the frame; one more look at a size at which landmarks are as
good as they get gives the face itself. Together they cost a quarter of all passes over a picture of 640 px.
docs/adr/0021 has the figures.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from app.domain import Box, Pixels
from app.engine.detector import TINY_SIDE, Detection, Detector, Pass, Region
from app.engine.look import SAME_IOU
from app.engine.shrink import shrunk

# Long side of a picture from which on this pays.
LEAST_SIDE = 512
# Longer side of a face in the tiny pass, and how much larger than any other candidate its area is: sides are
# wrong by a tenth there.
PLAIN_FACE, PLAINLY_LARGER = 24, 1.5
# Longer side of the face in the closer look, in pixels, and of what is around it, in sides of the face.
CLOSE_FACE, SURROUNDINGS = 128, 1.8


def tiny_pass(detector: Detector, image: Pixels) -> Pass | None:
    """What the tiny pass sees of an upright image, shape (height, width, 3), BGR, in its pixels.

    None where one look at all of it costs as little as two at less, and for networks whose points move with a
    face's scale.
    """
    height, width = image.shape[:2]
    if not detector.scores.steady or max(width, height) < LEAST_SIDE:
        return None
    least = min(detector.scores.trigger, detector.min_score)
    return detector.run(shrunk(image, TINY_SIDE), (width, height), least)


def plain_largest(detector: Detector, image: Pixels, seen: Pass) -> Detection | None:
    """The largest face of an image of which the tiny pass saw this, in its pixels.

    None where another face may be as large, and where it is small or not sure.
    """
    height, width = image.shape[:2]
    size, longest = (width, height), max(width, height)
    if not len(seen.scores):
        return None
    areas = (seen.boxes[:, 2:] - seen.boxes[:, :2]).prod(axis=1)
    first = int(areas.argmax())
    second = np.delete(areas, first).max(initial=0)
    if (
        seen.scores[first] < detector.min_score
        or seen.sides[first] < PLAIN_FACE
        or areas[first] < PLAINLY_LARGER * second
    ):
        return None
    box = seen.boxes[first]
    side = float((box[2:] - box[:2]).max())
    close = shrunk(image, min(longest, round(longest * CLOSE_FACE / side)))
    scale = max(close.shape[:2]) / longest
    reach = SURROUNDINGS * side / 2
    middle = (box[:2] + box[2:]) / 2
    left, top = np.maximum((middle - reach) * scale, 0).astype(int)
    right, bottom = np.minimum((middle + reach) * scale, close.shape[1::-1]).astype(int)
    found = detector.run_region(close, Region(left, top, right, bottom), size)
    same = [face for face in found.detections() if _box(face.corners).iou(_box(box.tolist())) > SAME_IOU]
    best = max(same, key=lambda face: face.score, default=None)
    if best is None:
        return None
    # As in all passes together: a face is as sure as its surest view.
    best = replace(best, score=max(best.score, float(seen.scores[first])))
    return best if best.score >= detector.scores.doubted else None


def _box(corners: Sequence[float]) -> Box:
    left, top, right, bottom = corners
    return Box(left, top, right - left, bottom - top)
