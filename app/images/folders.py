"""Photos in folders of this machine, from allowed folders only."""

import asyncio
import errno
import logging
import os
import stat
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from app.domain import FetchedObject, FolderImage, ListedObject
from app.errors import (
    ImageTooLargeException,
    InvalidFolderObjectException,
    PhotoNotFound,
    StorageUnavailableError,
)
from app.images.places import AllowedFolders, is_within
from app.settings import Settings

log = logging.getLogger(__name__)

T = TypeVar("T")

_THREADS = 4
_PAGE = 1000
# What is only passed through or looked at need not be readable, on systems that know such descriptors.
_LOOK = getattr(os, "O_PATH", os.O_RDONLY | os.O_NONBLOCK) | os.O_NOFOLLOW | os.O_CLOEXEC
_STEP = _LOOK | os.O_DIRECTORY
_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Not to wait for the other end of what was a file a moment ago and is a pipe now.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def version_of(found: os.stat_result) -> str:
    """A file's version, from when it was written and its size."""
    return f"{found.st_mtime_ns}-{found.st_size}"


class FolderReader:
    """Reads files where FOLDERS_ALLOWED lets an account.

    Links are followed, but not out of the account's folders: the real path is what counts, and that is
    opened step by step without following any link, so that none can be put in its way meanwhile.
    """

    def __init__(self, settings: Settings) -> None:
        self._allowed = AllowedFolders(
            settings.folders_allowed, settings.account_id, str(settings.data_dir.absolute())
        )
        self._executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="folders")

    async def fetch(self, image: FolderImage, max_bytes: int) -> bytes:
        """The bytes of a file.

        Raises:
            InvalidFolderObjectException: not allowed, not there, or not readable; clients can't tell which.
            ImageTooLargeException: more than `max_bytes`.
            ServiceUnavailableError: the disk fails, or an allowed folder is not there.
        """
        try:
            found = await self.fetch_unless(image, max_bytes, None)
        except PhotoNotFound as error:
            raise InvalidFolderObjectException from error
        assert found is not None
        return found.data

    async def fetch_unless(
        self, image: FolderImage, max_bytes: int, version: str | None
    ) -> FetchedObject | None:
        """The bytes and the version of a file; None while it still has `version`.

        Raises:
            PhotoNotFound: there is no such file.
            InvalidFolderObjectException, ImageTooLargeException, ServiceUnavailableError: as `fetch` does.
        """
        if image.path.endswith("/"):
            raise InvalidFolderObjectException
        self.confirm_listable(image)
        return await self._in_thread(self._read, image, max_bytes, version)

    async def entries(self, prefix: FolderImage) -> AsyncIterator[ListedObject]:
        """Every regular file below `prefix` if that is a folder, else whose path begins with it; sorted.

        Links to folders are not followed, for they may lead in circles. Names that are no UTF-8 are left
        out: nothing could remember them.

        Raises:
            InvalidFolderObjectException: not allowed, or a folder can't be read.
            ServiceUnavailableError: the disk fails, or an allowed folder is not there.
        """
        self.confirm_listable(prefix)
        folder, start = await self._in_thread(self._beginning, prefix)
        # What is still to come, the next at the end: folders end in a slash.
        coming = [[f"{folder}/"]]
        while coming:
            if not coming[-1]:
                coming.pop()
                continue
            if coming[-1][-1].endswith("/"):
                folder = coming[-1].pop()
                inside = await self._in_thread(self._names, prefix.account_id, folder)
                below = [f"{folder}{name}" for name in inside if name.startswith(start)]
                coming.append([path for path in below if not self._allowed.is_own(path.removesuffix("/"))])
                start = ""
                continue
            files: list[str] = []
            while coming[-1] and len(files) < _PAGE and not coming[-1][-1].endswith("/"):
                files.append(coming[-1].pop())
            for listed in await self._in_thread(self._listed, prefix.account_id, files):
                yield listed

    def confirm_listable(self, prefix: FolderImage) -> None:
        """InvalidFolderObjectException unless an account may read all that begins with a prefix."""
        if not self._allowed.allow(prefix.account_id, prefix.path):
            log.info("a file was refused: FOLDERS_ALLOWED does not name its folder")
            raise InvalidFolderObjectException

    async def _in_thread(self, work: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work, *args)

    def _beginning(self, prefix: FolderImage) -> tuple[str, str]:
        """The folder to begin in, and what names in it begin with."""
        path = prefix.path.removesuffix("/")
        if prefix.path.endswith("/") or path in self._allowed.of(prefix.account_id) or os.path.isdir(path):
            return path, ""
        folder, _, start = path.rpartition("/")
        return folder, start

    def _names(self, account_id: str, folder: str) -> list[str]:
        """What lies in a folder, the last first; folders with a slash, as paths are sorted with it."""
        try:
            with (
                _as_service_errors(),
                self._opened(account_id, folder, _LIST) as opened,
                os.scandir(opened) as found,
            ):
                names = [
                    f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name
                    for entry in found
                    if _is_text(entry.name)
                ]
        except PhotoNotFound:
            return []  # deleted meanwhile
        # Where disks are checked, only root reads this one, and nobody's photos lie there.
        return sorted((name for name in names if name != "lost+found/"), reverse=True)

    def _listed(self, account_id: str, paths: Sequence[str]) -> list[ListedObject]:
        """Those of some files in one folder that may be read."""
        listed = []
        folder = os.path.dirname(paths[0])
        try:
            with _as_service_errors(), self._opened(account_id, folder, _STEP) as opened:
                for path in paths:
                    about = self._about(account_id, path, opened)
                    if about is not None and stat.S_ISREG(about.st_mode):
                        image = FolderImage(account_id, path)
                        listed.append(ListedObject(image, version_of(about), about.st_size))
        except PhotoNotFound:
            pass  # deleted meanwhile
        return listed

    def _about(self, account_id: str, path: str, folder: int) -> os.stat_result | None:
        """What a path leads to; None when that is not there or may not be read."""
        try:
            about = os.stat(os.path.basename(path), dir_fd=folder, follow_symlinks=False)
            if stat.S_ISLNK(about.st_mode):
                with self._opened(account_id, path, _LOOK) as target:
                    about = os.fstat(target)
        except (FileNotFoundError, NotADirectoryError, InvalidFolderObjectException):
            return None
        except OSError as error:
            if error.errno == errno.ELOOP:  # links in a circle
                return None
            raise
        return about

    def _read(self, image: FolderImage, max_bytes: int, version: str | None) -> FetchedObject | None:
        with _as_service_errors(), self._opened(image.account_id, image.path, _READ) as opened:
            return read_regular(opened, max_bytes, version)

    @contextmanager
    def _opened(self, account_id: str, path: str, flags: int) -> Iterator[int]:
        """A descriptor of what a path leads to, if that lies in a folder of the account."""
        real = os.path.realpath(path)
        roots = [os.path.realpath(folder) for folder in self._allowed.of(account_id)]
        within = [root for root in roots if is_within(real, root)]
        if not within or self._allowed.is_own(real):
            log.info("a file was refused: a link leads out of FOLDERS_ALLOWED")
            raise InvalidFolderObjectException
        root = within[0]
        steps = real[len(root) :].strip("/").split("/") if real != root else []
        try:
            opened = os.open(root, _STEP if steps else flags)
        except OSError as error:  # as when its disk is not mounted; none of its photos are gone for that
            raise StorageUnavailableError("A folder of FOLDERS_ALLOWED can't be read") from error
        try:
            for number, step in enumerate(steps, 1):
                before = opened
                opened = os.open(step, flags if number == len(steps) else _STEP, dir_fd=before)
                os.close(before)
            yield opened
        finally:
            os.close(opened)

    def close(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)


def read_regular(opened: int, max_bytes: int, version: str | None) -> FetchedObject | None:
    """The bytes and the version of an open regular file; None while it still has `version`.

    Raises:
        ImageTooLargeException: more than `max_bytes`.
        InvalidFolderObjectException: it is no regular file.
    """
    found = os.fstat(opened)
    if not stat.S_ISREG(found.st_mode):
        raise InvalidFolderObjectException
    has = version_of(found)
    if has == version:
        return None
    if found.st_size > max_bytes:
        raise ImageTooLargeException
    with os.fdopen(opened, "rb", closefd=False) as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise ImageTooLargeException
    return FetchedObject(data, has)


@contextmanager
def _as_service_errors() -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        raise PhotoNotFound from error
    except (PermissionError, ValueError) as error:
        raise InvalidFolderObjectException from error
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO):
            raise InvalidFolderObjectException from error
        raise StorageUnavailableError("The photo folder can't be read") from error


def _is_text(name: str) -> bool:
    """Whether a name is UTF-8."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)
