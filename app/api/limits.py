"""What each door accepts as an image."""

from app.domain import ImageFormat, ImageInput, ImageLimits, ImageSource, S3Image
from app.images.limits import of_settings
from app.settings import MIB, Settings

# Rekognition: 5 MiB inline, 15 MB from S3, 80 x 80 px, JPEG and PNG.
REKOGNITION_INLINE_BYTES = 5 * MIB
REKOGNITION_S3_BYTES = 15_000_000
REKOGNITION_MIN_SIDE_PX = 80
REKOGNITION_MAX_FACES = 100


def rekognition(source: ImageSource, settings: Settings) -> ImageInput:
    """An image of the Rekognition door."""
    from_s3 = isinstance(source, S3Image)
    limits = ImageLimits(
        max_bytes=REKOGNITION_S3_BYTES if from_s3 else REKOGNITION_INLINE_BYTES,
        max_pixels=settings.max_image_pixels,
        min_side_px=REKOGNITION_MIN_SIDE_PX,
        formats=frozenset({ImageFormat.JPEG, ImageFormat.PNG}),
    )
    return ImageInput(source, limits)


def rest(source: ImageSource, settings: Settings) -> ImageInput:
    """An image of the REST and member doors."""
    return ImageInput(source, of_settings(settings))
