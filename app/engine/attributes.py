"""What the five points and the pixels of a face tell: landmarks, pose, quality."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from app.domain import Box, Landmark, Pixels, Pose, Quality

FIVE_POINTS = ("eyeLeft", "eyeRight", "nose", "mouthLeft", "mouthRight")

# A generic head: x to the viewer's right, y down, z away from the viewer, in units of a 112 px aligned
# face. x and y are ArcFace's alignment template, the mean frontal face of its training set, made
# symmetric; the nose tip stands 27 mm before the eyes at 63 mm between the pupils (Farkas,
# Anthropometry of the Head and Face, 1994).
_HEAD = np.array(
    [[-17.6, -20.3, 0.0], [17.6, -20.3, 0.0], [0.0, -0.2, -15.0], [-14.6, 20.4, -1.7], [14.6, 20.4, -1.7]]
)
_HEAD_INVERSE = np.linalg.pinv(np.hstack([_HEAD, np.ones((5, 1))]))

# Variance of the Laplacian of a 112 px face at which Sharpness is 50.
_HALF_SHARP = 150.0


def landmarks_of(points: NDArray[np.float32], width: int, height: int) -> tuple[Landmark, ...]:
    """Rekognition's landmarks from points in pixels, shape (5, 2)."""
    return tuple(
        Landmark(name, float(x) / width, float(y) / height)
        for name, (x, y) in zip(FIVE_POINTS, points, strict=True)
    )


def pose_of(points: NDArray[np.float32]) -> Pose:
    """Head pose from five points: the scaled orthographic fit of a generic head.

    The head is turned by pitch, then yaw, then roll. Roll is positive when it is turned clockwise in the
    image, yaw when the nose points to the right of the image, pitch when it points up. Five points tell
    roll well, yaw roughly, pitch poorly.
    """
    rows = (_HEAD_INVERSE @ points.astype(np.float64)).T[:, :3]
    left, _, right = np.linalg.svd(rows, full_matrices=False)
    x_row, y_row = left @ right
    z_row = np.cross(x_row, y_row)
    return Pose(
        roll=math.degrees(math.atan2(y_row[0], x_row[0])),
        yaw=math.degrees(math.asin(max(-1.0, min(1.0, z_row[0])))),
        pitch=math.degrees(math.atan2(-z_row[1], z_row[2])),
    )


def quality_of(image: Pixels, box: Box) -> Quality:
    """Brightness (mean luma) and sharpness (variance of the Laplacian at 112 px), each 0..100."""
    height, width = image.shape[:2]
    top, bottom = max(0, int(box.top * height)), min(height, math.ceil((box.top + box.height) * height))
    left, right = max(0, int(box.left * width)), min(width, math.ceil((box.left + box.width) * width))
    crop = image[top:bottom, left:right]
    if crop.size == 0:
        return Quality(brightness=0.0, sharpness=0.0)
    luma = cv2.cvtColor(cv2.resize(crop, (112, 112), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY)
    variance = float(cv2.Laplacian(luma, cv2.CV_32F).var())
    return Quality(brightness=float(luma.mean()) / 2.55, sharpness=100 * variance / (variance + _HALF_SHARP))
