"""Files that a passphrase opens: a key by scrypt, AES-256-GCM in chunks by the STREAM construction.

Hoang, Reyhanitabar, Rogaway and Vizár, "Online Authenticated-Encryption and its Nonce-Reuse
Misuse-Resistance", 2015. A file is a header and one or more chunks; all numbers are big-endian:

    header  14 bytes `svc-face-recon`, 1 byte version, 16 bytes salt, 7 bytes nonce prefix
    chunk   up to 64 KiB, encrypted, and 16 bytes tag; every chunk but the last one is full
    nonce   nonce prefix, 4 bytes number of the chunk from 0, 1 byte: 1 for the last chunk, else 0

Every chunk has the header as associated data. So a chunk that was changed, moved, repeated or left out, a
file that was cut or has grown, and a header of another file are noticed.
"""

import os
import secrets
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

PASSPHRASE_MIN = 12
CHUNK_BYTES = 64 * 1024
_MAGIC = b"svc-face-recon"
_VERSION = 1
_SALT_BYTES = 16
_PREFIX_BYTES = 7
_TAG_BYTES = 16
HEADER_BYTES = len(_MAGIC) + 1 + _SALT_BYTES + _PREFIX_BYTES
# 128 MiB of memory and some tenths of a second a guess: OWASP's first choice for scrypt. A file of other
# costs needs another version.
_SCRYPT_N, _SCRYPT_R, _SCRYPT_P = 2**17, 8, 1


class SealedFileError(Exception):
    """The passphrase can't be used, or the file is not what was sealed with it; the text says which."""


class SealedWriter:
    """Encrypts what is written to it; without `finish` the file is refused later.

    Raises:
        SealedFileError: the passphrase is too short.
    """

    def __init__(self, out: BinaryIO, passphrase: str) -> None:
        self._out = out
        salt, prefix = os.urandom(_SALT_BYTES), os.urandom(_PREFIX_BYTES)
        self._header = _MAGIC + bytes([_VERSION]) + salt + prefix
        self._chunks = _Chunks(passphrase, self._header)
        self._waiting = bytearray()
        out.write(self._header)

    def write(self, data: bytes) -> None:
        """Encrypt more."""
        self._waiting += data
        # What fills a chunk waits for one byte more: only `finish` knows the last chunk.
        while len(self._waiting) > CHUNK_BYTES:
            self._out.write(self._chunks.seal(bytes(self._waiting[:CHUNK_BYTES]), last=False))
            del self._waiting[:CHUNK_BYTES]

    def finish(self) -> None:
        """Write the last chunk."""
        self._out.write(self._chunks.seal(bytes(self._waiting), last=True))


def unsealed(source: BinaryIO, passphrase: str) -> Iterator[bytes]:
    """The content of a sealed file, chunk by chunk. Only at its end is it known to be whole.

    Raises:
        SealedFileError: no sealed file, a newer one, another passphrase, or not as it was written.
    """
    header = source.read(HEADER_BYTES)
    if len(header) < HEADER_BYTES or not header.startswith(_MAGIC):
        raise SealedFileError("this is no file that `export` made")
    if header[len(_MAGIC)] != _VERSION:
        raise SealedFileError(f"the file is of version {header[len(_MAGIC)]}, this service reads {_VERSION}")
    chunks = _Chunks(passphrase, header)
    chunk = source.read(CHUNK_BYTES + _TAG_BYTES)
    while chunk:
        following = source.read(CHUNK_BYTES + _TAG_BYTES)
        yield chunks.open(chunk, last=not following)
        chunk = following
    if not chunks.number:
        raise SealedFileError("the file has been cut")


class _Chunks:
    """The cipher of one file; `number` chunks have passed."""

    def __init__(self, passphrase: str, header: bytes) -> None:
        confirm(passphrase)
        salt, self._prefix = header[len(_MAGIC) + 1 : -_PREFIX_BYTES], header[-_PREFIX_BYTES:]
        # One passphrase may be typed in two ways, on one system or another.
        secret = unicodedata.normalize("NFC", passphrase).encode()
        key = Scrypt(salt, length=32, n=_SCRYPT_N, r=_SCRYPT_R, p=_SCRYPT_P).derive(secret)
        self._cipher = AESGCM(key)
        self._header = header
        self.number = 0

    def seal(self, content: bytes, *, last: bool) -> bytes:
        return self._cipher.encrypt(self._nonce(last), content, self._header)

    def open(self, sealed: bytes, *, last: bool) -> bytes:
        try:
            return self._cipher.decrypt(self._nonce(last), sealed, self._header)
        except InvalidTag:
            if self.number == 1:
                raise SealedFileError(
                    "the passphrase is not the file's, or the file has been changed or cut"
                ) from None
            raise SealedFileError("the file has been changed or cut") from None

    def _nonce(self, last: bool) -> bytes:
        nonce = self._prefix + self.number.to_bytes(4, "big") + bytes([last])
        self.number += 1
        return nonce


def confirm(passphrase: str) -> None:
    """Raise SealedFileError unless a passphrase is long enough."""
    if len(passphrase) < PASSPHRASE_MIN:
        raise SealedFileError(f"the passphrase must have at least {PASSPHRASE_MIN} characters")


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """A file for its owner alone, which appears under its name once it is whole.

    Raises:
        FileExistsError: there is one of this name already.
        OSError: it can't be written.
    """
    if path.exists():
        raise FileExistsError(f"{path} exists already")
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    descriptor = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with open(descriptor, "wb") as out:
            yield out
            out.flush()
            os.fsync(descriptor)
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)
