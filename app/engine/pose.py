"""Head pose: the scaled orthographic fit of a generic head to points of a face.

The head is turned by pitch, then yaw, then roll. Roll is positive when it is turned clockwise in the image,
yaw when the nose points to the right of the image, pitch when it points up. Angles are in degrees.
"""

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from app.domain import Pose

Floats = NDArray[np.float64]

# Heads have x to the viewer's right, y down, z away from the viewer, and any unit.

# The detector's five points. x and y are ArcFace's alignment template, the mean frontal face of its
# training set, made symmetric; the nose tip stands 27 mm before the eyes at 63 mm between the pupils
# (Farkas, Anthropometry of the Head and Face, 1994).
HEAD_5 = np.array(
    [[-17.6, -20.3, 0.0], [17.6, -20.3, 0.0], [0.0, -0.2, -15.0], [-14.6, 20.4, -1.7], [14.6, 20.4, -1.7]]
)

# Some of the 106 points that a face moves little when it speaks or smiles. Structure from motion over the
# 6,703 photos of lfw-dev, symmetric; without it, insightface's 68-point mean head gives the same depths
# (yaw 3 % larger). Pitch 0 is the median of those news photographs.
HEAD_106 = {
    35: (-0.500, 0.000, 0.000),
    39: (-0.204, 0.009, -0.066),
    89: (0.204, 0.009, -0.066),
    93: (0.500, 0.000, 0.000),
    72: (0.000, -0.045, -0.174),
    73: (0.000, 0.096, -0.259),
    74: (0.000, 0.237, -0.345),
    86: (0.000, 0.377, -0.430),
    80: (0.000, 0.517, -0.305),
    52: (-0.317, 0.752, 0.041),
    61: (0.317, 0.752, 0.041),
    71: (0.000, 0.684, -0.208),
}


def _inverse(head: Floats) -> Floats:
    inverse: Floats = np.linalg.pinv(np.hstack([head, np.ones((len(head), 1))]))
    return inverse


_FIVE_OVER_106 = 1.24
# Five points see fewer than 1 in 100 faces of lfw-dev turned further, in degrees.
_PROFILE = 50.0

_INVERSE_5 = _inverse(HEAD_5)
_INVERSE_106 = _inverse(np.array(list(HEAD_106.values())))
_CHOSEN = list(HEAD_106)


def pose_of_five(points: NDArray[np.float32]) -> Pose:
    """From the detector's points, shape (5, 2): for cheap use, figures in docs/accuracy.md."""
    return _fit(_INVERSE_5, points)


def pose_of_106(points: NDArray[np.float32]) -> Pose:
    """From the 106 points, shape (106, 2)."""
    return _fit(_INVERSE_106, points[_CHOSEN])


def with_profiles(pose: Pose, of_five: Pose) -> Pose:
    """The pose of the 106 points, but for heads turned so far that those points cling to the front.

    The detector's points follow a profile further. Their yaw is 1.24 times that of the 106 points in the
    mean of lfw-dev, where both are good.
    """
    yaw = of_five.yaw / _FIVE_OVER_106
    if abs(of_five.yaw) <= _PROFILE or abs(yaw) <= abs(pose.yaw) or yaw * pose.yaw < 0:
        return pose
    return replace(pose, yaw=yaw)


def _fit(inverse: Floats, points: NDArray[np.float32]) -> Pose:
    x_row, y_row = (inverse @ points.astype(np.float64)).T[:, :3].tolist()
    # Made perpendicular and of unit length by (M M^T)^(-1/2) M, which for two rows is a closed form.
    xx, xy, yy = _dot(x_row, x_row), _dot(x_row, y_row), _dot(y_row, y_row)
    root = math.sqrt(max(xx * yy - xy * xy, 0))
    scale = root * math.sqrt(xx + yy + 2 * root) or 1.0  # points in a line have no pose
    x, y = (
        [(ahead * a + across * b) / scale for a, b in zip(x_row, y_row, strict=True)]
        for ahead, across in ((yy + root, -xy), (-xy, xx + root))
    )
    nose = (x[1] * y[2] - x[2] * y[1], x[2] * y[0] - x[0] * y[2], x[0] * y[1] - x[1] * y[0])
    return Pose(
        roll=math.degrees(math.atan2(y[0], x[0])),
        yaw=math.degrees(math.asin(max(-1.0, min(1.0, nose[0])))),
        pitch=math.degrees(math.atan2(-nose[1], nose[2])),
    )


def _dot(one: list[float], other: list[float]) -> float:
    return one[0] * other[0] + one[1] * other[1] + one[2] * other[2]
