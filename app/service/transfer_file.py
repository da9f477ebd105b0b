"""The content of an exported file: its rows, packed and sealed.

One row a line, as JSON, compressed by zlib: first the collection, then its users, then its faces.
"""

import zlib
from collections.abc import Iterable, Iterator
from typing import Annotated, BinaryIO, TypeAlias

from pydantic import Field, TypeAdapter, ValidationError

from app.service.sealed_file import SealedWriter, unsealed
from app.store.transfer import MovedCollection, MovedFace, MovedUser

Moved: TypeAlias = MovedCollection | MovedUser | MovedFace

_LINE: TypeAdapter[Moved] = TypeAdapter(Annotated[Moved, Field(discriminator="kind")])
# Vectors hardly shrink but for their base64, which any level undoes.
_LEVEL = 1
# A user with all the metadata that is allowed has a tenth of it.
_MAX_LINE_BYTES = 1024 * 1024
_UNPACKED_BYTES = 256 * 1024


class TransferFileError(Exception):
    """A file that was sealed well, but does not hold the rows of a collection."""


class TransferWriter:
    """Writes rows; without `finish` the file is refused later.

    Raises:
        SealedFileError: the passphrase is too short.
    """

    def __init__(self, out: BinaryIO, passphrase: str) -> None:
        self._sealed = SealedWriter(out, passphrase)
        self._packer = zlib.compressobj(_LEVEL)

    def add(self, moved: Iterable[Moved]) -> None:
        """Write rows; TransferFileError for one that could not be read again."""
        for row in moved:
            line = _LINE.dump_json(row)
            if len(line) > _MAX_LINE_BYTES:
                raise TransferFileError(f"a {row.kind} of the collection is too large for a file")
            self._sealed.write(self._packer.compress(line + b"\n"))

    def finish(self) -> None:
        """Write what remains."""
        self._sealed.write(self._packer.flush())
        self._sealed.finish()


def moved_in(source: BinaryIO, passphrase: str) -> Iterator[Moved]:
    """The rows of a file, in their order. Only at its end is it known to be whole.

    Raises:
        SealedFileError: no such file, another passphrase, or not as it was written.
        TransferFileError: a line is not a row.
    """
    for line in _lines(unsealed(source, passphrase)):
        try:
            row = _LINE.validate_json(line)
        except ValidationError:
            raise _broken() from None  # its text would quote the row
        yield row


def _lines(packed: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for part in _unpacked(packed):
        *lines, rest = (rest + part).split(b"\n")
        if len(rest) > _MAX_LINE_BYTES:
            raise _broken()
        yield from lines
    if rest:
        raise _broken()


def _unpacked(packed: Iterable[bytes]) -> Iterator[bytes]:
    """Bounded parts, however well a chunk was packed."""
    unpacker = zlib.decompressobj()
    for chunk in packed:
        waiting = chunk
        while waiting:
            try:
                part = unpacker.decompress(waiting, _UNPACKED_BYTES)
            except zlib.error:
                raise _broken() from None
            if unpacker.unused_data:
                raise _broken()
            yield part
            waiting = unpacker.unconsumed_tail
    if not unpacker.eof:
        raise _broken()


def _broken() -> TransferFileError:
    return TransferFileError("the file does not hold a collection as this service writes it")
