"""Smaller copies of photos: thumbnails, and uploads that are not kept as they came."""

import cv2
import numpy as np

from app.domain import ImageLimits, Pixels
from app.images.decode import decode

_THUMBNAIL_QUALITY = 75
_UPLOAD_LONG_PX, _UPLOAD_SHORT_PX = 1920, 1080
_UPLOAD_QUALITY = 85


def webp(image: Pixels) -> bytes:
    """A thumbnail as a WebP."""
    return _encoded(".webp", image, cv2.IMWRITE_WEBP_QUALITY, _THUMBNAIL_QUALITY)


def recompressed(data: bytes, limits: ImageLimits) -> bytes:
    """A photo as an upright JPEG of quality 85 that fits into 1920 x 1080 or 1080 x 1920.

    Raises:
        as `decode` does.
    """
    image = decode(data, limits)
    height, width = image.shape[:2]
    scale = min(_UPLOAD_LONG_PX / max(height, width), _UPLOAD_SHORT_PX / min(height, width))
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    return _encoded(".jpg", image, cv2.IMWRITE_JPEG_QUALITY, _UPLOAD_QUALITY)


def _encoded(ending: str, image: Pixels, quality_of: int, quality: int) -> bytes:
    done, data = cv2.imencode(ending, image, [quality_of, quality])
    assert done, "OpenCV has no encoder for this"
    return data.tobytes()
