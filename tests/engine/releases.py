"""A pack small enough for tests, and the archive that it is published as."""

import hashlib
import io
import zipfile
from dataclasses import replace

from app.engine.packs import PACKS, ModelFile, Pack

DETECTOR, RECOGNISER = b"detector" * 1000, b"recogniser" * 1000


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def archive(**files: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, data in files.items():
            opened.writestr(name.replace("__", "/"), data)
    return out.getvalue()


def tiny_pack(archive_sha256: str | None = None) -> Pack:
    return replace(
        PACKS["buffalo_l"],
        name="tiny",
        detector=ModelFile("d.onnx", "detection", digest(DETECTOR)),
        recogniser=ModelFile("r.onnx", "recognition", digest(RECOGNISER)),
        others=(ModelFile("x.onnx", "another", None),),
        archive_sha256=archive_sha256,
    )


def tiny_loose_pack() -> Pack:
    """One that is published file by file, under licences that ask for nothing."""
    return replace(
        PACKS["opencv"],
        name="loose",
        detector=ModelFile("d.onnx", "detection", digest(DETECTOR), "finders"),
        recogniser=ModelFile("r.onnx", "recognition", digest(RECOGNISER), "knowers"),
    )


def tiny_archive() -> bytes:
    return archive(**{"d.onnx": DETECTOR, "r.onnx": RECOGNISER, "x.onnx": b"x"})
