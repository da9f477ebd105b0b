"""What networks expect of pixels, and pictures in that form."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from app.domain import Floats, Pixels

Size = tuple[int, int]
"""Height and width, in pixels."""
Blob = Floats | Pixels
"""What a session takes: pictures scaled by us, or as they are where the session scales them."""


class Scaling(NamedTuple):
    """What a network expects of its input: (pixel - mean) / deviation, in RGB or in BGR."""

    mean: float
    deviation: float
    rgb: bool = True

    def blob(self, pictures: Sequence[Pixels]) -> Floats:
        """Pictures of one size, each of shape (height, width, 3), BGR, as (pictures, 3, height, width)."""
        height, width = pictures[0].shape[:2]
        planes = np.empty((3, height, width), np.uint8)
        blob = np.empty((len(pictures), 3, height, width), np.float32)
        order = -1 if self.rgb else 1
        for picture, part in zip(pictures, blob, strict=True):
            # Twelve times as fast as OpenCV's blobFromImage on large pictures, and no slower on faces.
            cv2.split(picture, list(planes[::order]))
            cv2.LUT(planes.reshape(-1, width), _scaled(self), dst=part.reshape(-1, width))
        return blob


# Models whose graphs scale what they get: insightface's of 106 points and of age and gender, and SFace.
RAW = Scaling(0.0, 1.0)


@lru_cache
def _scaled(scaling: Scaling) -> Floats:
    """What becomes of each of the 256 values of a pixel."""
    return np.asarray((np.arange(256) - scaling.mean) / scaling.deviation, np.float32)
