"""A file that comes again while its photo is erased."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from app.images.storage import PhotoStorage
from tests import photos
from tests.api.albums import ALBUMS, counts, listed, made, upload, wait_until_finished
from tests.inprocess import serving_here


def test_a_file_that_comes_again_while_its_photo_is_erased_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The photo is gone from the album, its file not yet, when the file is written anew."""
    erasing, written = asyncio.Event(), asyncio.Event()
    write, delete = PhotoStorage.write, PhotoStorage.delete

    async def writing(self: PhotoStorage, key: str, data: bytes, content_type: str) -> None:
        await write(self, key, data, content_type)
        if "/uploads/" in key and erasing.is_set():
            written.set()

    async def deleting(self: PhotoStorage, key: str) -> None:
        if "/uploads/" in key:
            erasing.set()
            await written.wait()
            await asyncio.sleep(0.5)  # for what does not wait
        await delete(self, key)

    with serving_here(tmp_path / "data") as url, httpx.Client(base_url=url, timeout=60) as http:
        album = made(http)
        files = {"a.jpg": photos.group()}
        upload(http, album, files)
        wait_until_finished(http, album)
        monkeypatch.setattr(PhotoStorage, "write", writing)
        monkeypatch.setattr(PhotoStorage, "delete", deleting)
        with ThreadPoolExecutor(1) as pool:
            gone = pool.submit(http.delete, f"{ALBUMS}/{album}/photos/{listed(http, album)['a.jpg']['id']}")
            while not erasing.is_set():
                assert not gone.done(), gone.result().text
            upload(http, album, files)
            gone.result().raise_for_status()
        assert counts(wait_until_finished(http, album)) == (1, 0, 0, 6)
        assert len(list((tmp_path / "data").rglob("uploads/*"))) == 1
