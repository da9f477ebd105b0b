"""When a collection is asked for before an image is worked on, on a real PostgreSQL."""

import asyncio
import time
from pathlib import Path

import pytest

from app.domain import Caller
from app.errors import ResourceNotFoundException
from app.service import collections as rules
from app.service.collections import Collections
from app.store import collections, migrate
from app.store.database import Database
from app.store.embedded import EmbeddedPostgres

ONE, OTHER = Caller("000000000000"), Caller("111111111111")


def test_who_finds_nothing_learns_that_the_collection_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "_RECENT_S", 3600)
    postgres = EmbeddedPostgres(tmp_path)
    address = postgres.start()
    migrate.upgrade(address)
    database = Database(address, pool_size=1, max_overflow=0)

    async def work() -> None:
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

    try:
        asyncio.run(work())
    finally:
        postgres.stop()
