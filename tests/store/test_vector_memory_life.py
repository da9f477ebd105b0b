"""What is in memory of collections: for how long, how much, and of which server, on a real PostgreSQL."""

import asyncio
import time
import weakref
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from app.store import faces, vector_memory
from app.store.database import Database
from app.store.tables import faces as faces_table
from app.store.vector_memory import VectorMemory
from tests.store.databases import execute
from tests.store.memory_bench import LEAST, ONE, OTHER, PLACE, SIZE, Bench, prepare, run, units


@pytest.fixture
def url(url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    return prepare(url, monkeypatch)


def test_what_came_since_is_added_and_after_much_of_it_all_is_read_again(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vector_memory, "_MOST_FRESH", 10)
    stored = units(900)

    async def work(bench: Bench) -> None:
        await bench.fill(stored[:200])
        await bench.read()
        shapes = []
        for first in range(200, 900, 50):
            await bench.fill(stored[first : first + 50], first=first + 1)
            for number in (3, first - 1, first, first + 49):
                assert await bench.find(stored[number]) == await bench.exactly(stored[number])
            await bench.memory.wait()
            kept = bench.held()
            assert kept is not None
            assert kept.count == first + 50
            shapes.append(kept.added)
        assert shapes[:5] == [1, 2, 3, 4, 5]
        assert min(shapes[5:]) == 0

    run(url, work)


def test_a_collection_that_lost_many_is_read_again(url: str) -> None:
    stored = units(400)

    async def work(bench: Bench) -> None:
        await bench.fill(stored)
        await bench.read()
        await bench.delete(range(1, 351))
        probe = stored[10]
        assert await bench.find(probe) == await bench.exactly(probe)
        await bench.memory.wait()
        kept = bench.held()
        assert kept is not None
        assert kept.count == 50
        assert await bench.find(probe) == await bench.exactly(probe)
        await bench.delete(range(351, 391))
        assert await bench.find(probe) == await bench.exactly(probe)
        await bench.memory.wait()
        assert bench.memory.nbytes == 0
        assert await bench.find(probe) == await bench.exactly(probe)

    run(url, work)


def test_a_restored_backup_is_searched_with_memory(url: str) -> None:
    """Its rows may name transactions that are still to come on this server."""
    stored = units(100)

    async def work(bench: Bench) -> None:
        await bench.fill(stored)
        to_come = f"UPDATE faces SET changed_in = '4000000000000' WHERE face_id > '{UUID(int=50)}'"
        execute(bench.url, to_come)
        await bench.read()
        noted: list[int] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(bench.memory, "note", lambda _, *, gone, fresh: noted.append(fresh))
            assert await bench.find(stored[70]) == await bench.exactly(stored[70])
        assert noted == [0]

    run(url, work)


def test_what_was_read_of_another_server_is_forgotten(url: str) -> None:
    """As after a failover: the same numbers may be of other transactions."""
    stored = units(100)

    async def work(bench: Bench) -> None:
        await bench.fill(stored[:50])
        await bench.read()
        kept = bench.held()
        assert kept is not None
        before = kept.server - timedelta(days=1)
        bench.memory._entries[kept.key].held = replace(kept, server=before, snapshot="9000000:9000000:")
        await bench.fill(stored[50:], first=51)
        assert await bench.find(stored[70]) == await bench.exactly(stored[70])
        assert bench.memory.nbytes == 0
        await bench.read()
        kept = bench.held()
        assert kept is not None
        assert kept.count == 100

    run(url, work)


def test_what_was_not_searched_for_longest_makes_room(url: str) -> None:
    first, second, third = [(ONE, name) for name in ("first", "second", "third")]

    async def work(bench: Bench) -> None:
        for place in (first, second, third, (OTHER, "first")):
            await bench.fill(units(900), place=place)
        for place in (first, second):
            await bench.read(place)
        assert bench.memory.nbytes == 2 * 900 * (2 * SIZE + 16)
        assert bench.held(first) is not None
        gone = weakref.ref(bench.held(second).blocks[0].codes)  # type: ignore[union-attr]  # it was read
        assert bench.held(first) is not None
        await bench.read(third)
        assert bench.held(first) is not None
        assert gone() is None
        assert bench.memory.nbytes == 2 * 900 * (2 * SIZE + 16)
        assert bench.held((OTHER, "first")) is None
        await bench.fill(units(2600, seed=1), place=third, first=2001)
        probe = units(1)[0]
        assert await bench.find(probe, third) == await bench.exactly(probe, third)

    run(url, work, most_mb=1)


def test_nothing_is_held_where_it_is_turned_off_or_few(url: str) -> None:
    async def work(bench: Bench) -> None:
        await bench.fill(units(LEAST - 1))
        await bench.read()
        assert bench.held() is None
        none = VectorMemory(bench.database, 0)
        assert none.of(faces_table, PLACE, SIZE) is None
        await none.wait()

    run(url, work)


def test_memory_expires(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was deleted leaves it, also where nobody searches any more."""
    monkeypatch.setattr(vector_memory, "_OLDEST_S", 3.0)

    async def work(bench: Bench) -> None:
        await bench.fill(units(100))
        await bench.read()
        assert bench.memory.nbytes
        deadline = time.monotonic() + 30
        while bench.memory.nbytes:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)

    run(url, work)


def test_a_database_that_is_away_costs_no_answer(url: str, caplog: pytest.LogCaptureFixture) -> None:
    async def work(bench: Bench) -> None:
        await bench.fill(units(100))
        away = Database("postgresql+psycopg://nobody@127.0.0.1:1/none", pool_size=1, max_overflow=0)
        memory = VectorMemory(away, 100)
        probe = units(1)[0]
        found = await faces.nearest(
            bench.database, *PLACE, probe, model="1.0", min_cosine=-1, limit=9, memory=memory
        )
        assert len(found) == 9
        await memory.wait()
        assert "could not be read into memory: ServiceUnavailableError" in caplog.text
        await away.close()

    run(url, work)
