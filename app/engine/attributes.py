"""What the points and the pixels of a face tell: quality, open eyes, open mouth."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from app.domain import Box, Pixels, Quality, Sign

# Variance of the Laplacian of a 112 px face at which Sharpness is 50.
_HALF_SHARP = 150.0

# Lid to lid over corner to corner: outer, inner, and three pairs of an upper and a lower point.
_EYES = ((35, 39, ((40, 33), (41, 36), (42, 37))), (93, 89, ((94, 87), (95, 90), (96, 91))))
# Corners of the mouth, and the inner edges of the lips.
_MOUTH = (52, 61, ((62, 60),))
# Where opening is as likely as not, and how fast that changes: logistic fits to the hand-labelled faces of
# app/measure/lfw_eyes_mouths.txt; docs/accuracy.md says how often they are right.
_EYE_MIDDLE, _EYE_SCALE = 0.095, 0.014
_MOUTH_MIDDLE, _MOUTH_SCALE = 0.09, 0.015


def quality_of(image: Pixels, box: Box) -> Quality:
    """Brightness (mean luma) and sharpness (variance of the Laplacian at 112 px), each 0..100."""
    height, width = image.shape[:2]
    top, bottom = max(0, int(box.top * height)), min(height, math.ceil((box.top + box.height) * height))
    left, right = max(0, int(box.left * width)), min(width, math.ceil((box.left + box.width) * width))
    crop = image[top:bottom, left:right]
    if crop.size == 0:
        return Quality(brightness=0.0, sharpness=0.0)
    luma = cv2.cvtColor(cv2.resize(crop, (112, 112), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY)
    _, spread = cv2.meanStdDev(cv2.Laplacian(luma, cv2.CV_32F))
    variance = float(spread[0, 0]) ** 2
    return Quality(brightness=cv2.mean(luma)[0] / 2.55, sharpness=100 * variance / (variance + _HALF_SHARP))


def eyes_open(points: NDArray[np.float32]) -> Sign:
    """Whether the eyes are open, from the 106 points, shape (106, 2)."""
    return _sign(sum(_opening(points, *eye) for eye in _EYES) / 2, _EYE_MIDDLE, _EYE_SCALE)


def mouth_open(points: NDArray[np.float32]) -> Sign:
    """Whether the lips are apart, from the 106 points, shape (106, 2)."""
    return _sign(_opening(points, *_MOUTH), _MOUTH_MIDDLE, _MOUTH_SCALE)


def _opening(points: NDArray[np.float32], one: int, other: int, pairs: tuple[tuple[int, int], ...]) -> float:
    """Mean height over width."""
    width = float(np.linalg.norm(points[one] - points[other]))
    height = sum(float(np.linalg.norm(points[upper] - points[lower])) for upper, lower in pairs) / len(pairs)
    return height / max(width, 1e-6)


def _sign(opening: float, middle: float, scale: float) -> Sign:
    probability = 1 / (1 + math.exp(-max(-50.0, min(50.0, (opening - middle) / scale))))
    return Sign(probability >= 0.5, 100 * max(probability, 1 - probability))
