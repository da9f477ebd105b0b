"""When a collection is asked for before an image is worked on, on a real PostgreSQL."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.domain import Caller
from app.errors import ResourceNotFoundException
from app.service import collections as rules
from app.service.collections import Collections
from app.store import collections, migrate
from app.store.database import Database
from app.store.embedded import EmbeddedPostgres

ONE, OTHER = Caller("000000000000"), Caller("111111111111")


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    postgres = EmbeddedPostgres(tmp_path)
    address = postgres.start()
    migrate.upgrade(address)
    yield address
    postgres.stop()


def test_who_finds_nothing_learns_that_the_collection_is_gone(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "_RECENT_S", 3600)

    async def work() -> None:
        database = Database(address, pool_size=1, max_overflow=0)
        here = Collections(database, "1.0")
        await here.create(ONE, "shared")
        began = time.monotonic()
        await here.confirm_searchable(ONE, "shared")
        async with database.session() as elsewhere:
            await collections.remove(elsewhere, ONE.account_id, "shared")
        await here.confirm_searchable(ONE, "shared")
        await here.confirm_searchable(ONE, "shared", since=began)
        with pytest.raises(ResourceNotFoundException):
            await here.confirm_searchable(OTHER, "shared")
        for since in (time.monotonic(), None):
            with pytest.raises(ResourceNotFoundException):
                await here.confirm_searchable(ONE, "shared", since=since)

        await here.create(ONE, "shared")
        await here.confirm_searchable(ONE, "shared")
        await here.delete(ONE, "shared")
        with pytest.raises(ResourceNotFoundException):
            await here.confirm_searchable(ONE, "shared")
        await database.close()

    asyncio.run(work())


def test_of_all_who_come_a_moment_later_one_asks_again(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0

    class Counted(Collections):
        async def require_searchable(self, *args: Any, **options: Any) -> None:
            nonlocal asked
            asked += 1
            await super().require_searchable(*args, **options)

    async def work() -> None:
        database = Database(address, pool_size=5, max_overflow=0)
        here = Counted(database, "1.0")
        await here.create(ONE, "shared")

        async def all_at_once() -> list[BaseException | None]:
            nonlocal asked
            asked = 0
            asking = (here.confirm_searchable(ONE, "shared") for _ in range(10))
            return await asyncio.gather(*asking, return_exceptions=True)

        await all_at_once()
        assert asked == 10  # nobody knows it yet
        monkeypatch.setattr(rules, "_RECENT_S", 0)
        monkeypatch.setattr(rules, "_STILL_S", 3600)
        assert await all_at_once() == [None] * 10
        assert asked == 1
        async with database.session() as elsewhere:
            await collections.remove(elsewhere, ONE.account_id, "shared")
        await all_at_once()
        assert asked == 1
        assert {type(answer) for answer in await all_at_once()} == {ResourceNotFoundException}
        await database.close()

    asyncio.run(work())
