"""Cutting a face out of an image for a model."""

import cv2
import numpy as np
from numpy.typing import NDArray

from app.domain import Floats, Pixels
from app.engine.detector import Detection
from app.engine.model import Model

Matrix = NDArray[np.float64]

# Where ArcFace's training put the five points, in a square of 112 px.
ARCFACE_POINTS = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
_ARCFACE_PLACES = [complex(*point) for point in ARCFACE_POINTS.tolist()]
_ARCFACE_MIDDLE = sum(_ARCFACE_PLACES) / len(_ARCFACE_PLACES)
_ARCFACE_SIDE = 112
# OpenCV warps no picture with a longer side.
_WARP_LIMIT = 32_767
# Side of the square that insightface's 106-point and age models see, over the box's longer side.
_SQUARE_FACTOR = 1.5


def aligned(image: Pixels, points: Floats, side: int) -> Pixels:
    """A face in a square of `side` pixels, turned, moved and scaled so that its five points lie nearest to
    where ArcFace's lie: the least squares of Umeyama (PAMI 1991), which for the plane are a line's.

    Args:
        points: shape (5, 2), pixels of the image.
    """
    image, points = _warpable(image, points)
    # NumPy takes five times as long for so few numbers.
    here = [complex(*point) for point in points.tolist()]
    middle = sum(here) / len(here)
    moved = [point - middle for point in here]
    spread = sum(abs(point) ** 2 for point in moved) or 1.0
    turn = sum(point.conjugate() * to for point, to in zip(moved, _ARCFACE_PLACES, strict=True)) / spread
    scale = side / _ARCFACE_SIDE
    return _warped(image, _matrix(scale * turn, scale * (_ARCFACE_MIDDLE - turn * middle)), side)


def upright(image: Pixels, detection: Detection, side: int) -> tuple[Pixels, Matrix]:
    """A face with level eyes in a square of `side` pixels.

    Returns:
        The crop, and the matrix, shape (2, 3), that takes points of the image there.
    """
    corners = np.array(detection.corners, np.float32).reshape(2, 2)
    part, moved = _warpable(image, np.concatenate([corners, detection.points]))
    (left, top), (right, bottom), eye_left, eye_right = moved[:4].astype(np.float64)
    eyes = complex(*(eye_right - eye_left))
    scale = side / (_SQUARE_FACTOR * max(right - left, bottom - top))
    turn = scale * (eyes.conjugate() / abs(eyes) if eyes else 1)
    matrix = _matrix(turn, complex(side / 2, side / 2) - turn * complex(left + right, top + bottom) / 2)
    crop = _warped(part, matrix, side)
    matrix[:, 2] += matrix[:, :2] @ (moved[0] - corners[0])
    return crop, matrix


def run_upright(model: Model, image: Pixels, detection: Detection) -> tuple[Floats, Matrix]:
    """What one of insightface's models says of an upright face, and the matrix of `upright`."""
    crop, matrix = upright(image, detection, model.side)
    return model.run(crop)[0].reshape(-1), matrix


def _matrix(turn: complex, shift: complex) -> Matrix:
    """Of the map z -> turn * z + shift of the plane."""
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def _warped(image: Pixels, matrix: Matrix, side: int) -> Pixels:
    return np.asarray(cv2.warpAffine(image, matrix, (side, side)), np.uint8)


def _warpable(image: Pixels, points: Floats) -> tuple[Pixels, Floats]:
    """The image with points of a face, or of a huge image the part around them with the points in it."""
    if max(image.shape) < _WARP_LIMIT:
        return image, points
    low, high = points.min(axis=0), points.max(axis=0)
    reach = min(4 * float((high - low).max()), _WARP_LIMIT / 4)
    left, top = np.maximum(low - reach, 0).astype(int)
    right, bottom = (high + reach).astype(int)
    return image[top:bottom, left:right], points - np.array([left, top], np.float32)
