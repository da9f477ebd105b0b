"""The service's own storage, on S3 (SeaweedFS), on Supabase's API and in a folder; Supabase's versions."""

import asyncio
import os
import stat
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from app.domain import FolderImage, InlineImage, S3Image, StoredImage, SupabaseImage, UrlImage
from app.errors import (
    ImageTooLargeException,
    InvalidSupabaseObjectException,
    PhotoNotFound,
    StorageUnavailableError,
)
from app.images.folders import FolderReader
from app.images.s3 import S3Reader
from app.images.sources import ImageSources
from app.images.storage import PhotoStorage
from app.images.supabase import SupabaseReader
from app.images.url import UrlFetcher
from app.measure.s3_server import S3Server, free_ports, s3_server
from app.metrics import Metrics
from app.service.photos import reference_of, source_of
from app.settings import Settings
from tests.supabase import settings_for, supabase

ACCOUNT = "000000000000"
Work = Callable[[ImageSources, PhotoStorage], Awaitable[None]]


def use(work: Work, **settings: Any) -> None:
    """Let a storage of its own work."""

    async def run() -> None:
        names = {name.lower(): value for name, value in settings.items()}
        read = Settings(_env_file=None, **names)  # type: ignore[call-arg]  # pydantic-settings' own
        urls = UrlFetcher(timeout_s=5, allowed=(), enabled=False)
        s3, supabase, folders = S3Reader(read), SupabaseReader(read), FolderReader(read)
        storage = PhotoStorage(read, s3, supabase)
        try:
            await work(ImageSources(urls, s3, supabase, folders, storage, Metrics()), storage)
        finally:
            await urls.aclose()
            await supabase.aclose()
            s3.close()
            folders.close()

    asyncio.run(run())


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@contextmanager
def place(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Settings of a storage."""
    if kind == "folder":
        yield {"DATA_DIR": tmp_path / "data"}
    elif kind == "s3":
        server: S3Server = request.getfixturevalue("s3")
        yield server.settings(STORAGE_URL="s3://photos/own/files")
    else:
        with supabase() as site:
            yield {**settings_for(site), "STORAGE_URL": "supabase:service/own"}


@pytest.mark.parametrize("kind", ["folder", "s3", "supabase"])
def test_what_is_written_is_read_replaced_and_erased(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    async def work(sources: ImageSources, storage: PhotoStorage) -> None:
        await storage.write(f"{ACCOUNT}/a/one.jpg", b"one", "image/jpeg")
        first = await storage.read(f"{ACCOUNT}/a/one.jpg", 100)
        assert first.data == b"one"
        stored = source_of(f"stored:{ACCOUNT}/a/one.jpg", ACCOUNT)
        assert await sources.fetch(stored, 100) == b"one"
        assert await sources.fetch_unless(stored, 100, first.version) is None
        await storage.write(f"{ACCOUNT}/a/one.jpg", b"another", "image/jpeg")
        changed = await sources.fetch_unless(stored, 100, first.version)
        assert changed is not None
        assert changed.data == b"another"
        with pytest.raises(ImageTooLargeException):
            await storage.read(f"{ACCOUNT}/a/one.jpg", 6)

        for number in range(230):  # more than are deleted at a time
            await storage.write(f"{ACCOUNT}/a/b{number % 3}/{number}.jpg", b"x", "image/jpeg")
        await storage.write(f"{ACCOUNT}/ab/two.jpg", b"two", "image/jpeg")
        await storage.delete(f"{ACCOUNT}/a/one.jpg")
        await storage.delete(f"{ACCOUNT}/a/one.jpg")
        with pytest.raises(PhotoNotFound):
            await sources.fetch_unless(stored, 100, None)
        with pytest.raises(PhotoNotFound):
            await storage.read(f"{ACCOUNT}/ab/two.jpg/three.jpg", 100)
        assert await storage.erase(f"{ACCOUNT}/a/") == 230
        assert await storage.erase(f"{ACCOUNT}/a/") == 0
        assert (await storage.read(f"{ACCOUNT}/ab/two.jpg", 100)).data == b"two"
        assert await storage.erase(f"{ACCOUNT}/") == 1

    with place(kind, request, tmp_path) as settings:
        use(work, **settings)


@pytest.mark.parametrize(
    "key",
    ["", "/a", "a/", "a//b", "../a", "a/../b", "a/.", "a b", "ä", "a\n", "a\\b", "a\0", "s3://a/b", "a%2e"],
)
def test_no_other_keys_are_taken(key: str, tmp_path: Path) -> None:
    async def work(_: ImageSources, storage: PhotoStorage) -> None:
        with pytest.raises(ValueError, match="key"):
            await storage.write(key, b"", "image/jpeg")
        with pytest.raises(ValueError, match="key"):
            await storage.read(key, 1)
        with pytest.raises(ValueError, match="key"):
            await storage.delete(key)
        with pytest.raises(ValueError, match="key"):
            await storage.erase(f"{key}/")
        with pytest.raises(ValueError, match="slash"):
            await storage.erase("a")

    use(work, DATA_DIR=tmp_path)
    assert not list(tmp_path.iterdir())


def test_files_are_the_services_alone_and_never_half_written(tmp_path: Path) -> None:
    root = tmp_path / "data" / "photos"

    async def work(_: ImageSources, storage: PhotoStorage) -> None:
        await storage.write("a/b/c.jpg", b"before", "image/jpeg")
        for folder in (root, root / "a", root / "a/b"):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((root / "a/b/c.jpg").stat().st_mode) == 0o600
        opened = (root / "a/b/c.jpg").open("rb")
        await storage.write("a/b/c.jpg", b"behind", "image/jpeg")
        with opened:
            assert opened.read() == b"before"  # another file has taken its place
        assert os.listdir(root / "a/b") == ["c.jpg"]
        with pytest.raises(StorageUnavailableError):
            await storage.write("a/b/c.jpg/d.jpg", b"", "image/jpeg")
        await storage.write("a/z.jpg", b"", "image/jpeg")
        assert await storage.erase("a/b/") == 1
        assert os.listdir(root / "a") == ["z.jpg"]
        assert await storage.erase("a/") == 1
        assert os.listdir(root) == []
        os.symlink("/etc/hostname", root / "link")
        with pytest.raises(StorageUnavailableError):
            await storage.read("link", 100)

    use(work, DATA_DIR=tmp_path / "data")


def test_writing_and_erasing_at_once_lose_nothing_else(tmp_path: Path) -> None:
    async def work(_: ImageSources, storage: PhotoStorage) -> None:
        for number in range(30):
            await asyncio.gather(
                storage.write(f"a/b/{number}.jpg", b"x", "image/jpeg"), storage.erase(f"a/b/{number}/")
            )
        assert await storage.erase("a/") == 30

    use(work, DATA_DIR=tmp_path)


def test_a_storage_that_fails_or_refuses_is_unavailable(s3: S3Server, tmp_path: Path) -> None:
    async def work(_: ImageSources, storage: PhotoStorage) -> None:
        with pytest.raises(StorageUnavailableError):
            await storage.write("a.jpg", b"", "image/jpeg")

    (closed,) = free_ports(1)
    away = f"http://127.0.0.1:{closed}"
    use(work, **s3.settings(S3_ENDPOINT_URL=away, STORAGE_URL="s3://photos"))
    use(work, **s3.settings(S3_SECRET_ACCESS_KEY="wrong", STORAGE_URL="s3://photos"))
    use(work, STORAGE_URL="supabase:photos")  # and no project
    (tmp_path / "photos").touch()
    use(work, DATA_DIR=tmp_path)
    with supabase() as site:
        use(work, **settings_for(site), STORAGE_URL="supabase:no-such-bucket")
        site.broken = 1
        use(lambda _, storage: _unavailable(storage), **settings_for(site), STORAGE_URL="supabase:photos")


async def _unavailable(storage: PhotoStorage) -> None:
    with pytest.raises(StorageUnavailableError):
        await storage.read("a.jpg", 1)


@pytest.mark.parametrize("weak", [False, True])
def test_supabase_objects_are_fetched_again_only_after_a_change(weak: bool) -> None:
    def image(path: str) -> SupabaseImage:
        return SupabaseImage(ACCOUNT, "profiles", path)

    async def work(sources: ImageSources, _: PhotoStorage) -> None:
        found = {
            entry.source.path: entry
            async for entry in sources.entries(image("a"))
            if isinstance(entry.source, SupabaseImage)
        }
        assert set(found) == {"a.jpg", "a/b/d.jpg", *(f"a/{number}.jpg" for number in range(1001))}
        assert found["a/7.jpg"].size == 7
        for path in ("a.jpg", "a/7.jpg", "a/b/d.jpg"):
            fetched = await sources.fetch_unless(image(path), 2000, None)
            assert fetched is not None
            assert fetched.version == found[path].version
            assert await sources.fetch_unless(image(path), 2000, fetched.version) is None
        site.files["profiles/a.jpg"] = b"changed"
        changed = await sources.fetch_unless(image("a.jpg"), 2000, found["a.jpg"].version)
        assert changed is not None
        assert changed.data == b"changed"
        with pytest.raises(PhotoNotFound):
            await sources.fetch_unless(image("gone.jpg"), 2000, "1")
        with pytest.raises(InvalidSupabaseObjectException):
            await sources.fetch(image("gone.jpg"), 2000)
        for other in (SupabaseImage(ACCOUNT, "other", "a.jpg"), SupabaseImage("1" * 12, "profiles", "a.jpg")):
            with pytest.raises(InvalidSupabaseObjectException):
                await sources.fetch_unless(other, 2000, None)

    with supabase() as site:
        site.weak = weak
        site.files |= {f"profiles/a/{number}.jpg": bytes(number) for number in range(1001)}
        site.files |= {"profiles/a.jpg": b"a", "profiles/a/b/d.jpg": b"d", "profiles/b.jpg": b"b"}
        use(work, **settings_for(site))


def test_uploads_and_urls_have_no_versions(tmp_path: Path) -> None:
    async def work(sources: ImageSources, _: PhotoStorage) -> None:
        for source in (InlineImage(b""), UrlImage("https://example.org/a.jpg")):
            with pytest.raises(ValueError, match="versions"):
                await sources.fetch_unless(source, 1, None)

    use(work, DATA_DIR=tmp_path)


def test_references_lead_back_to_their_sources_and_to_no_other_account() -> None:
    for source in (
        S3Image(ACCOUNT, "photos", "a/b c.jpg"),
        SupabaseImage(ACCOUNT, "photos", "a/ä.jpg"),
        FolderImage(ACCOUNT, f"/photos/{'long' * 2000}/a?b#c %20.jpg"),
        StoredImage(f"{ACCOUNT}/albums/a.jpg"),
    ):
        reference = reference_of(source)
        assert reference is not None
        assert source_of(reference, ACCOUNT) == source
    for other in ("stored:", "stored:111111111111/a.jpg", f"stored:{ACCOUNT}", f"stored:/{ACCOUNT}/a.jpg"):
        with pytest.raises(ValueError, match="another account"):
            source_of(other, ACCOUNT)


def test_the_bucket_may_be_another_than_that_of_clients() -> None:
    async def work(_: ImageSources, storage: PhotoStorage) -> None:
        await storage.write("a/b.jpg", b"b", "image/jpeg")

    with supabase() as site:
        use(work, **settings_for(site), STORAGE_URL="supabase:service/own/")
        assert site.files == {"service/own/a/b.jpg": b"b"}
