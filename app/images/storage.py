"""The service's own storage, for uploads and thumbnails: a bucket, or a folder of this machine."""

import asyncio
import logging
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from app.domain import FetchedObject, S3Image, SupabaseImage
from app.errors import (
    ImageTooLargeException,
    InvalidFolderObjectException,
    InvalidS3ObjectException,
    InvalidSupabaseObjectException,
    PhotoNotFound,
    StorageUnavailableError,
)
from app.images.folders import read_regular
from app.images.places import own_place
from app.images.s3 import S3Reader
from app.images.supabase import SupabaseReader
from app.settings import Settings

log = logging.getLogger(__name__)

_KEY = re.compile(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*")
_AT_ONCE = 8
_AT_A_TIME = 200
_TRIES = 5


class _Place(Protocol):
    """Where the storage lies. Keys are checked already."""

    async def write(self, key: str, data: bytes, content_type: str) -> None: ...
    async def read(self, key: str, max_bytes: int, version: str | None) -> FetchedObject | None: ...
    async def delete(self, key: str) -> None: ...
    async def erase(self, prefix: str) -> int: ...


class PhotoStorage:
    """Keeps files under keys that the service makes: letters, digits, `-`, `_`, `.` and `/`.

    It lies where STORAGE_URL says, by default in DATA_DIR/photos, with the credentials of `s3` or
    `supabase`; what clients may name of these does not matter here, and what fails is never theirs.
    """

    def __init__(self, settings: Settings, s3: S3Reader, supabase: SupabaseReader) -> None:
        self._place = _place(settings, s3, supabase)

    async def write(self, key: str, data: bytes, content_type: str) -> None:
        """Keep a file, also in place of one that is there; readers see either, and never half of one.

        Raises:
            ServiceUnavailableError: the storage fails, refuses, or does not answer.
            ValueError: no key that the service makes.
        """
        _confirm(key)
        with _as_service_errors():
            try:
                await self._place.write(key, data, content_type)
            except PhotoNotFound as error:  # what it is written to is not there
                raise OSError("the storage is not there") from error

    async def read(self, key: str, max_bytes: int) -> FetchedObject:
        """A file.

        Raises:
            PhotoNotFound: there is none.
            ImageTooLargeException: it is larger than `max_bytes`.
            ServiceUnavailableError, ThrottlingException, ValueError: as for writing, or too many at once.
        """
        found = await self.read_unless(key, max_bytes, None)
        assert found is not None
        return found

    async def read_unless(self, key: str, max_bytes: int, version: str | None) -> FetchedObject | None:
        """A file, or None while it still has `version`; raises as `read` does."""
        _confirm(key)
        with _as_service_errors():
            return await self._place.read(key, max_bytes, version)

    async def exists(self, key: str) -> bool:
        """Whether a file is there, without its bytes; raises as `write` does."""
        try:
            await self.read(key, 0)
        except ImageTooLargeException:
            return True
        except PhotoNotFound:
            return False
        return True

    async def delete(self, key: str) -> None:
        """Delete a file if it is there; raises as `write` does."""
        _confirm(key)
        with _as_service_errors():
            await self._place.delete(key)

    async def erase(self, prefix: str) -> int:
        """Delete everything whose key begins with a prefix that ends in a slash, and tell how many it was.

        Raises as `write` does; then some may be deleted and others not.
        """
        if not prefix.endswith("/"):
            raise ValueError("a prefix ends in a slash")
        _confirm(prefix.removesuffix("/"))
        with _as_service_errors():
            return await self._place.erase(prefix)


class _InS3:
    def __init__(self, reader: S3Reader, bucket: str, beginning: str) -> None:
        self._reader = reader
        self._bucket = bucket
        self._beginning = beginning

    async def write(self, key: str, data: bytes, content_type: str) -> None:
        await self._reader.put(self._bucket, self._beginning + key, data, content_type)

    async def read(self, key: str, max_bytes: int, version: str | None) -> FetchedObject | None:
        return await self._reader.read(S3Image("", self._bucket, self._beginning + key), max_bytes, version)

    async def delete(self, key: str) -> None:
        await self._reader.delete(self._bucket, self._beginning + key)

    async def erase(self, prefix: str) -> int:
        # One by one: DeleteObjects needs checksums, on which servers disagree.
        turns = asyncio.Semaphore(_AT_ONCE)

        async def in_turn(key: str) -> None:
            async with turns:
                await self._reader.delete(self._bucket, key)

        erased = 0
        keys: list[str] = []
        async for listed in self._reader.listing(S3Image("", self._bucket, self._beginning + prefix)):
            assert isinstance(listed.source, S3Image)
            keys.append(listed.source.key)
            if len(keys) == _AT_A_TIME:
                await asyncio.gather(*map(in_turn, keys))
                erased, keys = erased + len(keys), []
        await asyncio.gather(*map(in_turn, keys))
        return erased + len(keys)


class _InSupabase:
    def __init__(self, reader: SupabaseReader, bucket: str, beginning: str) -> None:
        self._reader = reader
        self._bucket = bucket
        self._beginning = beginning

    async def write(self, key: str, data: bytes, content_type: str) -> None:
        await self._reader.put(self._bucket, self._beginning + key, data, content_type)

    async def read(self, key: str, max_bytes: int, version: str | None) -> FetchedObject | None:
        image = SupabaseImage("", self._bucket, self._beginning + key)
        return await self._reader.read(image, max_bytes, version)

    async def delete(self, key: str) -> None:
        await self._reader.delete(self._bucket, [self._beginning + key])

    async def erase(self, prefix: str) -> int:
        # All are listed first: pages of a listing are counted from its start, which deleting moves.
        image = SupabaseImage("", self._bucket, self._beginning + prefix)
        paths = [
            listed.source.path
            async for listed in self._reader.listing(image)
            if isinstance(listed.source, SupabaseImage)
        ]
        for start in range(0, len(paths), _AT_A_TIME):
            await self._reader.delete(self._bucket, paths[start : start + _AT_A_TIME])
        return len(paths)


class _InFolder:
    """Files for nobody but the service's own system user."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def write(self, key: str, data: bytes, content_type: str) -> None:
        await asyncio.to_thread(self._write, self._root / key, data)

    async def read(self, key: str, max_bytes: int, version: str | None) -> FetchedObject | None:
        return await asyncio.to_thread(self._read, self._root / key, max_bytes, version)

    async def delete(self, key: str) -> None:
        with suppress(FileNotFoundError, NotADirectoryError):
            await asyncio.to_thread(os.unlink, self._root / key)

    async def erase(self, prefix: str) -> int:
        return await asyncio.to_thread(self._erase, self._root / prefix)

    def _write(self, path: Path, data: bytes) -> None:
        for left in reversed(range(_TRIES)):
            try:
                self._make(path.parent)
                opened, temporary = tempfile.mkstemp(prefix=".", dir=path.parent)  # of mode 0600
                break
            except FileNotFoundError:  # erasing took the empty folder away again
                if not left:
                    raise OSError("the folder is taken away again and again") from None
        try:
            with os.fdopen(opened, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(opened)
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise

    def _make(self, folder: Path) -> None:
        """Make a folder and those above it, down from the storage's own, for nobody else to look into."""
        self._root.parent.mkdir(parents=True, exist_ok=True)
        made = self._root
        made.mkdir(mode=0o700, exist_ok=True)
        for name in folder.relative_to(self._root).parts:
            made = made / name
            made.mkdir(mode=0o700, exist_ok=True)

    def _read(self, path: Path, max_bytes: int, version: str | None) -> FetchedObject | None:
        opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            return read_regular(opened, max_bytes, version)
        finally:
            os.close(opened)

    def _erase(self, folder: Path) -> int:
        erased = 0
        for where, folders, files in os.walk(folder, topdown=False, onerror=_raise_unless_missing):
            for name in files:
                with suppress(FileNotFoundError):
                    os.unlink(os.path.join(where, name))
                    erased += 1
            for name in folders:
                _remove_empty(Path(where, name))
        while folder != self._root:
            _remove_empty(folder)
            folder = folder.parent
        return erased


def _raise_unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):  # something was written into it meanwhile, or it is gone
        folder.rmdir()


def _place(settings: Settings, s3: S3Reader, supabase: SupabaseReader) -> _Place:
    url = settings.storage_url
    if url is None:
        return _InFolder((settings.data_dir / "photos").absolute())
    in_s3 = url.startswith("s3://")
    bucket, beginning = own_place(url.removeprefix("s3://").removeprefix("supabase:"))
    return _InS3(s3, bucket, beginning) if in_s3 else _InSupabase(supabase, bucket, beginning)


def _confirm(key: str) -> None:
    if not _KEY.fullmatch(key) or any(part in (".", "..") for part in key.split("/")):
        raise ValueError("a key is of letters, digits, -, _, . and /")


@contextmanager
def _as_service_errors() -> Iterator[None]:
    """What goes wrong in the service's own storage is no client's fault, and may be mended."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        raise PhotoNotFound from error
    except (
        OSError,
        InvalidFolderObjectException,
        InvalidS3ObjectException,
        InvalidSupabaseObjectException,
    ) as error:
        log.error("the storage of STORAGE_URL can't be used: %s", error.__cause__ or error)
        raise StorageUnavailableError("The service's own photo storage can't be used") from error
