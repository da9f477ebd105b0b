"""Photos that installed packages carry, and images that are generated."""

import io
import struct
import zlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
from PIL import Image

pillow_heif.register_heif_opener()


def packaged(package: str, path: str) -> bytes:
    spec = find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations
    return (Path(spec.submodule_search_locations[0]) / path).read_bytes()


def group() -> bytes:
    """insightface's t1.jpg: six people, 1280 x 886."""
    return packaged("insightface", "data/images/t1.jpg")


def astronaut() -> bytes:
    """scikit-image's portrait of Eileen Collins, PNG, 512 x 512."""
    return packaged("skimage", "data/astronaut.png")


def encode(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **({"quality": 92} | options if kind != "PNG" else options))
    return out.getvalue()


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")


def crop_around(data: bytes, box: Any, margin: float = 0.5) -> bytes:
    """The part of a photo around a Rekognition BoundingBox, widened by a share of its size."""
    image = opened(data)
    width, height = image.size
    across, down = box["Width"] * width, box["Height"] * height
    left, top = box["Left"] * width, box["Top"] * height
    part = (
        left - margin * across,
        top - margin * down,
        left + (1 + margin) * across,
        top + (1 + margin) * down,
    )
    return encode(image.crop(tuple(round(edge) for edge in part)))


def without_face(kind: str = "JPEG") -> bytes:
    """Smooth colours, 320 x 240."""
    down, across = np.mgrid[0:240, 0:320]
    pixels = np.stack([across * 255 / 320, down * 255 / 240, 128 + 0 * down], axis=2).astype(np.uint8)
    return encode(Image.fromarray(pixels), kind)


def huge_png(side: int = 20_000) -> bytes:
    """A well-formed PNG of side x side pixels in a few hundred KB: one bit a pixel, all black."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    packer = zlib.compressobj(9)
    row = bytes(1 + (side + 7) // 8)
    data = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
