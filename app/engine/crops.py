"""Cutting a face out of an image for a model."""

import math

import cv2
import numpy as np
from insightface.model_zoo.attribute import Attribute
from insightface.model_zoo.landmark import Landmark as LandmarkModel
from insightface.utils import face_align
from numpy.typing import NDArray

from app.domain import Pixels
from app.engine.detector import Detection

# OpenCV warps no picture with a longer side.
_WARP_LIMIT = 32_767
# Side of the square that insightface's 106-point and age models see, over the box's longer side.
_SQUARE_FACTOR = 1.5


def upright(image: Pixels, detection: Detection, side: int) -> tuple[Pixels, NDArray[np.float64]]:
    """A face with level eyes in a square of `side` pixels.

    Returns:
        The crop, and the matrix, shape (2, 3), that takes points of the image there.
    """
    corners = np.array(detection.corners, np.float32).reshape(2, 2)
    part, moved = warpable(image, np.concatenate([corners, detection.points]))
    (left, top), (right, bottom), eye_left, eye_right = moved[:4]
    slope = eye_right - eye_left
    crop, matrix = face_align.transform(
        part,
        ((left + right) / 2, (top + bottom) / 2),
        side,
        side / (_SQUARE_FACTOR * max(right - left, bottom - top)),
        -math.degrees(math.atan2(slope[1], slope[0])),
    )
    shift = moved[0] - corners[0]
    matrix[:, 2] += matrix[:, :2] @ shift
    return crop, matrix


def run_upright(
    model: LandmarkModel | Attribute, image: Pixels, detection: Detection
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """What one of insightface's models says of an upright face, and the matrix of `upright`."""
    side = model.input_size[0]
    crop, matrix = upright(image, detection, side)
    mean = (model.input_mean,) * 3
    blob = cv2.dnn.blobFromImage(crop, 1 / model.input_std, (side, side), mean, swapRB=True)
    (found,) = model.session.run(model.output_names, {model.input_name: blob})
    return np.asarray(found, dtype=np.float32).reshape(-1), matrix


def warpable(image: Pixels, points: NDArray[np.float32]) -> tuple[Pixels, NDArray[np.float32]]:
    """The image with points of a face, or of a huge image the part around them with the points in it."""
    if max(image.shape) < _WARP_LIMIT:
        return image, points
    low, high = points.min(axis=0), points.max(axis=0)
    reach = min(4 * float((high - low).max()), _WARP_LIMIT / 4)
    left, top = np.maximum(low - reach, 0).astype(int)
    right, bottom = (high + reach).astype(int)
    return image[top:bottom, left:right], points - np.array([left, top], np.float32)
