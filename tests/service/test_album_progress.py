"""How far an album is, on a real PostgreSQL, while workers change it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from app.domain import Caller
from app.service.albums import Albums, Progress
from app.service.collections import Collections
from app.store import albums, collections, migrate, photos, queue
from app.store.albums import Album
from app.store.database import Database
from app.store.embedded import EmbeddedPostgres
from app.store.photos import NewPhoto

ACCOUNT = "000000000000"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    postgres = EmbeddedPostgres(tmp_path_factory.mktemp("progress"))
    address = postgres.start()
    migrate.upgrade(address)
    yield address
    postgres.stop()


@pytest.mark.parametrize("first", [(albums, "counts"), (albums, "is_listing"), (photos, "page")])
@pytest.mark.parametrize("error", [None, "SourceEmpty"])
def test_an_album_is_not_finished_while_its_last_photos_are_entered(
    url: str, monkeypatch: pytest.MonkeyPatch, first: tuple[Any, str], error: str | None
) -> None:
    """A listing commits its last page, or that it failed, after any part of the status was read."""

    async def work(database: Database) -> Progress:
        album, claim = await listing(database)
        module, name = first
        read: Callable[..., Awaitable[Any]] = getattr(module, name)

        async def read_before_the_end(*arguments: Any, **more: Any) -> Any:
            found = await read(*arguments, **more)
            monkeypatch.undo()
            async with database.session() as session:
                await queue.finish(session, claim)
                if error is None:
                    await photos.add(
                        session, album.place, [NewPhoto(uuid4(), "s3://photos/a.jpg", "a.jpg", "1")]
                    )
                else:
                    await albums.change(session, album.place, {"listing_error": error})
            return found

        monkeypatch.setattr(module, name, read_before_the_end)
        service = Albums(database, Collections(database, "1.0"), None, None)  # type: ignore[arg-type]  # reads alone
        seen = await service.progress(Caller(ACCOUNT), album.album_id)
        now = await service.progress(Caller(ACCOUNT), album.album_id)
        assert (now.listing, now.finished, now.listing_error) == (False, error is not None, error)
        return seen

    seen = asyncio.run(_with(url, work))
    assert (seen.listing, seen.finished) == (True, False)


async def listing(database: Database) -> tuple[Album, queue.Claim]:
    """An album whose source a worker has just listed to its end."""
    place, lane = (ACCOUNT, f"album-{uuid4()}"), f"tasks {uuid4()}"
    async with database.session() as session:
        await collections.create(session, *place, "1.0")
        await albums.create(
            session, place, uuid4(), title=None, source="s3://photos/", threshold=80, retention_days=None,
            event_code=None, recompress=False,
        )  # fmt: skip
        album = await albums.find(session, place)
        assert album is not None
        await queue.put(session, lane, "listing", [str(album.album_key)], place)
    async with database.session() as session:
        (claim,) = await queue.claim(session, lane, 1, timedelta(minutes=1))
    return album, claim


async def _with(url: str, work: Callable[[Database], Awaitable[Progress]]) -> Progress:
    database = Database(url, pool_size=4, max_overflow=0)
    try:
        return await work(database)
    finally:
        await database.close()
