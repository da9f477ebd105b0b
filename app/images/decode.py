"""Bytes to an upright image, within limits that are checked before any pixel is decoded."""

import io
import logging
import struct
from dataclasses import dataclass

import cv2
import numpy as np
import pillow_heif
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from app.domain import ImageFormat, ImageLimits, Pixels
from app.errors import (
    ImageTooLargeException,
    InvalidImageFormatException,
    InvalidParameterException,
)

_FORMATS = {
    "JPEG": ImageFormat.JPEG,
    "MPO": ImageFormat.JPEG,  # what Pillow calls a JPEG with a second picture behind it, as phones write
    "PNG": ImageFormat.PNG,
    "WEBP": ImageFormat.WEBP,
    "HEIF": ImageFormat.HEIC,
}
_PARSERS = ("JPEG", "PNG", "WEBP", "HEIF")
# What a sideways photo needs, by EXIF orientation: transpose first, then flip (0 vertical, 1
# horizontal, -1 both, as cv2.flip counts).
_TURNS: dict[int, tuple[bool, int | None]] = {
    2: (False, 1),
    3: (False, -1),
    4: (False, 0),
    5: (True, None),
    6: (True, 1),
    7: (True, -1),
    8: (True, 0),
}
# The most that a JPEG can be decoded smaller by comes first.
_REDUCED = {
    8: cv2.IMREAD_REDUCED_COLOR_8,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    2: cv2.IMREAD_REDUCED_COLOR_2,
}
# What Pillow and its plugins raise on broken files.
_BROKEN = (
    OSError, SyntaxError, ValueError, EOFError, RuntimeError, IndexError, KeyError, TypeError, struct.error
)  # fmt: skip

pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
Image.MAX_IMAGE_PIXELS = None  # the limits below are checked instead, before decoding
cv2.setNumThreads(1)  # the inference pool has one thread a core already
logging.getLogger("PIL").setLevel(logging.WARNING)


def decode(data: bytes, limits: ImageLimits) -> Pixels:
    """Decode an image and turn it upright by its EXIF orientation.

    Returns:
        Shape (height, width, 3), BGR.
    Raises:
        ImageTooLargeException: more bytes or pixels than the limits allow.
        InvalidImageFormatException: no image, a format that the limits leave out, or a broken file.
        InvalidParameterException: fewer pixels on a side than the limits ask for.
    """
    return EncodedPicture(data, limits).pixels(None)


class EncodedPicture:
    """An image that is decoded when its pixels are asked for, and a large JPEG only as far as it is needed.

    Raises, when it is made or decoded, what `decode` raises.
    """

    def __init__(self, data: bytes, limits: ImageLimits) -> None:
        self._data = data
        self._header = _confirmed(data, limits)
        self._turn = _turn_of(self._header)
        self._reducible = _FORMATS[self._header.format or ""] is ImageFormat.JPEG and _is_complete_jpeg(data)
        width, height = self._header.size
        self._size = (height, width) if self._turn[0] else (width, height)
        self._decoded: dict[int, Pixels] = {}

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the whole picture, upright."""
        return self._size

    def pixels(self, long_side: int | None) -> Pixels:
        """The picture, shape (height, width, 3), BGR: all of it, or smaller with at least this long side.

        A JPEG holds pictures of a half, a quarter and an eighth of its size, which cost less to decode.
        """
        factor = 1
        if long_side is not None and self._reducible:
            factor = next((by for by in _REDUCED if max(self._size) >= by * long_side), 1)
        known = max((by for by in self._decoded if by <= factor), default=None)
        if known is None:
            known, pixels = self._decode(factor)
            self._decoded[known] = pixels
        return self._decoded[known]

    def _decode(self, factor: int) -> tuple[int, Pixels]:
        """The picture, and by how much it is smaller."""
        # OpenCV decodes a JPEG in half of Pillow's time but takes a truncated one for a grey picture.
        if self._reducible:
            flags = _REDUCED.get(factor, cv2.IMREAD_COLOR) | cv2.IMREAD_IGNORE_ORIENTATION
            decoded = cv2.imdecode(np.frombuffer(self._data, np.uint8), flags)
            if decoded is not None:
                return factor, self._upright(np.asarray(decoded, dtype=np.uint8))
        try:
            pixels = cv2.cvtColor(np.asarray(_as_rgb(self._header)), cv2.COLOR_RGB2BGR)
        except _BROKEN as error:
            raise InvalidImageFormatException from error
        whole = self._upright(pixels.astype(np.uint8, copy=False))
        # libheif turns pictures by its own transformations.
        self._size = (whole.shape[1], whole.shape[0])
        return 1, whole

    def _upright(self, pixels: Pixels) -> Pixels:
        transpose, flip = self._turn
        if transpose:
            pixels = np.asarray(cv2.transpose(pixels), dtype=np.uint8)
        if flip is not None:
            pixels = np.asarray(cv2.flip(pixels, flip), dtype=np.uint8)
        return np.ascontiguousarray(pixels)


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of itself before its pixels are decoded."""

    format: ImageFormat
    width: int
    height: int


def header_of(data: bytes, limits: ImageLimits) -> Header:
    """What an image says of itself; raises as `decode` does, but a broken file may pass."""
    header = _confirmed(data, limits)
    return Header(_FORMATS[header.format or ""], *header.size)


def _confirmed(data: bytes, limits: ImageLimits) -> ImageFile.ImageFile:
    """The header of an image that the limits allow."""
    if len(data) > limits.max_bytes:
        raise ImageTooLargeException
    header = _read_header(data)
    if _FORMATS[header.format or ""] not in limits.formats:
        raise InvalidImageFormatException
    width, height = header.size
    if width * height > limits.max_pixels:
        raise ImageTooLargeException(
            f"Image size is too large: {width} x {height} pixels, at most {limits.max_pixels} in all"
        )
    if min(width, height) < limits.min_side_px:
        raise InvalidParameterException(
            reason="ImageTooSmall", detail=f"The image is below {limits.min_side_px} pixels on a side"
        )
    return header


def _read_header(data: bytes) -> ImageFile.ImageFile:
    try:
        return Image.open(io.BytesIO(data), formats=_PARSERS)
    except (UnidentifiedImageError, *_BROKEN) as error:
        raise InvalidImageFormatException from error


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode == "I":
        # 16-bit grey: Pillow's own conversion clips everything above 255 to white.
        grey = np.asarray(image.convert("I"), dtype=np.int32) >> 8
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    return image.convert("RGB")


def _is_complete_jpeg(data: bytes) -> bool:
    """Whether the end-of-image marker follows the first scan (ITU T.81, annex B).

    Entropy-coded data can't hold the marker by chance: each 0xFF in it is followed by 0x00.
    """
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif marker == 0xDA:
            return data.find(b"\xff\xd9", at) != -1
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return False


def _turn_of(header: ImageFile.ImageFile) -> tuple[bool, int | None]:
    """Whether to transpose a picture, and how to flip it then, to have it upright."""
    # libheif has turned a HEIC picture by its own transformations already.
    if _FORMATS[header.format or ""] is ImageFormat.HEIC:
        return (False, None)
    try:
        orientation = header.getexif().get(ExifTags.Base.Orientation, 1)
    except _BROKEN:
        return (False, None)
    return _TURNS.get(orientation, (False, None)) if isinstance(orientation, int) else (False, None)
