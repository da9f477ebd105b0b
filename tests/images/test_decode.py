"""Decoding: every format, every orientation, limits before pixels."""

import io
from contextlib import suppress

import numpy as np
import pytest
from PIL import ExifTags, Image

from app.domain import ImageFormat, ImageLimits, Pixels
from app.errors import ImageTooLargeException, InvalidImageFormatException, InvalidParameterException
from app.images.decode import decode
from tests import photos

ANY = ImageLimits(max_bytes=20_000_000, max_pixels=10_000_000, min_side_px=1, formats=frozenset(ImageFormat))


def corners(pixels: Pixels) -> list[list[int]]:
    """The colours near the four corners, RGB: top left, top right, bottom left, bottom right."""
    height, width = pixels.shape[:2]
    places = ((0.2, 0.2), (0.2, 0.8), (0.8, 0.2), (0.8, 0.8))
    return [
        [int(255 * round(value / 255)) for value in pixels[int(y * height), int(x * width), ::-1]]
        for y, x in places
    ]


def four_colours() -> Image.Image:
    """60 x 40: red, green over blue, white."""
    image = Image.new("RGB", (60, 40))
    for colour, left, top in (("red", 0, 0), ("lime", 30, 0), ("blue", 0, 20), ("white", 30, 20)):
        image.paste(colour, (left, top, left + 30, top + 20))
    return image


UPRIGHT = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]
# How a camera that is held otherwise stores an upright picture, by EXIF orientation (Pillow's names).
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_every_orientation_comes_out_upright(kind: str, orientation: int) -> None:
    turn = STORED[orientation]
    stored = four_colours() if turn is None else four_colours().transpose(turn)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    pixels = decode(photos.encode(stored, kind, exif=exif.tobytes()), ANY)
    assert pixels.shape == (40, 60, 3)
    assert corners(pixels) == UPRIGHT


@pytest.mark.parametrize("orientation", [0, 9, 65_535])
def test_orientation_that_does_not_exist_is_ignored(orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    assert corners(decode(photos.encode(four_colours(), exif=exif.tobytes()), ANY)) == UPRIGHT


def test_heic_is_upright_too() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    stored = four_colours().resize((240, 160)).transpose(Image.Transpose.ROTATE_90)
    pixels = decode(photos.encode(stored, "HEIF", exif=exif.tobytes()), ANY)
    assert pixels.shape[:2] == (160, 240)
    assert corners(pixels) == UPRIGHT


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "CMYK", "1", "I;16"])
def test_every_colour_mode_becomes_three_channels(mode: str) -> None:
    grey = Image.new("L", (64, 64), 255)
    if mode == "I;16":
        image = Image.fromarray(np.full((64, 64), 65_535, np.uint16))
    else:
        image = grey.convert("RGB").convert(mode) if mode != "1" else grey.convert("1")
    kind = "TIFF" if mode == "CMYK" else "PNG"
    data = photos.encode(image, "JPEG") if mode == "CMYK" else photos.encode(image, kind)
    pixels = decode(data, ANY)
    assert pixels.shape == (64, 64, 3)
    assert pixels.dtype == np.uint8
    assert pixels.min() > 250


def test_16_bit_grey_keeps_its_tones() -> None:
    ramp = np.linspace(0, 65_535, 256, dtype=np.uint16)[None, :].repeat(8, axis=0)
    pixels = decode(photos.encode(Image.fromarray(ramp), "PNG"), ANY)
    assert abs(int(pixels[0, 128, 0]) - 128) <= 1


def test_fast_and_slow_jpeg_decoders_agree() -> None:
    data = photos.group()
    ours = decode(data, ANY)
    pillow = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))[:, :, ::-1]
    assert np.abs(ours.astype(int) - pillow).mean() < 1


def test_jpeg_with_bytes_behind_its_end_is_fine() -> None:
    assert decode(photos.group() + b"trailer" * 100, ANY).shape == (886, 1280, 3)


def test_jpeg_with_a_whole_thumbnail_but_half_a_picture_is_truncated() -> None:
    thumbnail = photos.encode(four_colours())
    app1 = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    group = photos.group()
    data = group[:2] + app1 + group[2:60_000]
    with pytest.raises(InvalidImageFormatException):
        decode(data, ANY)


@pytest.mark.parametrize("cut", [0, 1, 2, 10, 100, 1000, 50_000])
def test_truncated_files_are_refused(cut: int) -> None:
    for data in (photos.group(), photos.astronaut(), photos.encode(four_colours(), "WEBP"), heic()):
        if cut < len(data):
            with pytest.raises(InvalidImageFormatException):
                decode(data[:cut], ANY)


def heic() -> bytes:
    return photos.encode(four_colours().resize((240, 160)), "HEIF")


def test_noise_inside_a_file_never_raises_anything_unexpected() -> None:
    draw = np.random.default_rng(0)
    for data in (
        photos.astronaut()[:50_000],
        photos.group()[:50_000],
        heic(),
        photos.encode(four_colours(), "WEBP"),
    ):
        for _ in range(40):
            broken = bytearray(data)
            for place in draw.integers(0, len(data), 8):
                broken[place] = int(draw.integers(0, 256))
            with suppress(InvalidImageFormatException, ImageTooLargeException, InvalidParameterException):
                decode(bytes(broken), ANY)


def test_limits_are_checked_before_pixels_are_decoded() -> None:
    with pytest.raises(ImageTooLargeException, match="20000 x 20000"):
        decode(photos.huge_png(), ANY)
    with pytest.raises(ImageTooLargeException):
        decode(bytes(ANY.max_bytes + 1), ANY)
