"""What the REST and member doors, and the jobs that they start, accept as an image."""

from app.domain import ImageFormat, ImageLimits
from app.settings import Settings

MIN_SIDE_PX = 32


def of_settings(settings: Settings) -> ImageLimits:
    return ImageLimits(
        max_bytes=settings.max_image_bytes,
        max_pixels=settings.max_image_pixels,
        min_side_px=MIN_SIDE_PX,
        formats=frozenset(ImageFormat),
    )
