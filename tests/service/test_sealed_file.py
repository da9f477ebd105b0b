"""Sealed files: what was written comes back, and nothing else does."""

import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from app.service.sealed_file import (
    CHUNK_BYTES,
    HEADER_BYTES,
    SealedFileError,
    SealedWriter,
    new_file,
    unsealed,
)

PASSPHRASE = "twelve letters"
SEALED_CHUNK = CHUNK_BYTES + 16


def seal(content: bytes, passphrase: str = PASSPHRASE) -> bytes:
    out = io.BytesIO()
    writer = SealedWriter(out, passphrase)
    for start in range(0, len(content), 50_000):
        writer.write(content[start : start + 50_000])
    writer.finish()
    return out.getvalue()


def opened(sealed: bytes, passphrase: str = PASSPHRASE) -> bytes:
    return b"".join(unsealed(io.BytesIO(sealed), passphrase))


CONTENT = os.urandom(2 * CHUNK_BYTES + 1000)


@pytest.fixture(scope="module")
def sealed() -> bytes:
    """Three chunks, the last of them short."""
    return seal(CONTENT)


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES])
def test_content_of_any_size_comes_back(size: int) -> None:
    sealed = seal(CONTENT[:size])
    assert opened(sealed) == CONTENT[:size]
    assert len(sealed) == HEADER_BYTES + size + 16 * max(1, -(-size // CHUNK_BYTES))


def test_no_two_files_are_alike(sealed: bytes) -> None:
    other = seal(CONTENT)
    assert other[HEADER_BYTES:SEALED_CHUNK] != sealed[HEADER_BYTES:SEALED_CHUNK]


def test_one_passphrase_typed_in_two_ways_opens_the_file() -> None:
    assert opened(seal(b"content", "zw\u00f6lf Zeichen"), "zwo\u0308lf Zeichen") == b"content"


def flipped(sealed: bytes, place: int) -> bytes:
    place %= len(sealed)
    return sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :]


def chunks(sealed: bytes, *order: int) -> bytes:
    """The file with its chunks in another order."""
    parts = [sealed[start : start + SEALED_CHUNK] for start in range(HEADER_BYTES, len(sealed), SEALED_CHUNK)]
    return sealed[:HEADER_BYTES] + b"".join(parts[number] for number in order)


DAMAGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "another kind of file": (lambda sealed: b"PK" + sealed, "no file that `export` made"),
    "empty": (lambda sealed: b"", "no file that `export` made"),
    "header cut": (lambda sealed: sealed[: HEADER_BYTES - 1], "no file that `export` made"),
    "magic changed": (lambda sealed: flipped(sealed, 3), "no file that `export` made"),
    "version changed": (lambda sealed: flipped(sealed, 14), "the file is of version 0"),
    "salt changed": (lambda sealed: flipped(sealed, 20), "the passphrase is not the file's"),
    "nonce prefix changed": (lambda sealed: flipped(sealed, HEADER_BYTES - 1), "passphrase is not"),
    "first chunk changed": (lambda sealed: flipped(sealed, HEADER_BYTES), "passphrase is not"),
    "middle chunk changed": (lambda sealed: flipped(sealed, SEALED_CHUNK + 100), "changed or cut"),
    "last tag changed": (lambda sealed: flipped(sealed, -1), "changed or cut"),
    "all chunks cut": (lambda sealed: sealed[:HEADER_BYTES], "has been cut"),
    "cut within the first tag": (lambda sealed: sealed[: HEADER_BYTES + 5], "passphrase is not"),
    "cut within a chunk": (lambda sealed: sealed[:-1], "changed or cut"),
    "last chunk cut": (lambda sealed: chunks(sealed, 0, 1), "changed or cut"),
    "middle chunk left out": (lambda sealed: chunks(sealed, 0, 2), "changed or cut"),
    "chunks in another order": (lambda sealed: chunks(sealed, 1, 0, 2), "passphrase is not"),
    "chunk repeated": (lambda sealed: chunks(sealed, 0, 1, 1, 2), "changed or cut"),
    "last chunk repeated": (lambda sealed: chunks(sealed, 0, 1, 2, 2), "changed or cut"),
    "a byte more": (lambda sealed: sealed + b"\0", "changed or cut"),
}


@pytest.mark.parametrize(("damage", "says"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_refused(sealed: bytes, damage: Callable[[bytes], bytes], says: str) -> None:
    with pytest.raises(SealedFileError, match=says):
        opened(damage(sealed))


def test_another_passphrase_is_refused(sealed: bytes) -> None:
    with pytest.raises(SealedFileError, match="the passphrase is not the file's"):
        opened(sealed, "twelve Letters")


def test_chunks_of_another_file_of_the_same_passphrase_are_refused(sealed: bytes) -> None:
    with pytest.raises(SealedFileError):
        opened(sealed[:HEADER_BYTES] + seal(CONTENT)[HEADER_BYTES:])


def test_a_short_passphrase_is_refused_before_anything_is_written() -> None:
    out = io.BytesIO()
    with pytest.raises(SealedFileError, match="at least 12 characters"):
        SealedWriter(out, "elevenchars")
    assert out.getvalue() == b""


def test_a_new_file_is_its_owners_alone_and_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "party.sealed"
    with new_file(path) as out:
        (partial,) = tmp_path.iterdir()
        assert partial.stat().st_mode & 0o777 == 0o600
        assert not path.exists()
        out.write(b"content")
    assert list(tmp_path.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError), new_file(path):
        pass
    assert path.read_bytes() == b"content"


def test_a_file_that_could_not_be_finished_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), new_file(tmp_path / "party.sealed") as out:
        out.write(bytes(1 // 0))
    assert list(tmp_path.iterdir()) == []
