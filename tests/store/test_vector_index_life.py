"""Indexes of large collections' vectors on a real PostgreSQL: built by one, and gone in time."""

import asyncio
import time
from uuid import UUID

import psycopg
import pytest

from app.service.collections import remove
from app.service.vector_indexes import VectorIndexes
from app.store import faces, migrate, queue, vector_indexes
from app.store.database import Database
from app.store.vector_index_names import name_of, stem_of
from tests.store.databases import execute
from tests.store.index_bench import FACES, LARGE, LEAST, ONE, SIZE, Bench, run, units


@pytest.fixture
def url(url: str) -> str:
    """A database without collections."""
    migrate.upgrade(url)
    return url


def test_an_index_goes_with_its_collection_and_with_its_faces(url: str) -> None:
    async def work(bench: Bench) -> None:
        for name in ("erased", "emptied"):
            await bench.fill((ONE, name), units(FACES))
        await bench.upkeep()
        assert len(await bench.present()) == 2
        async with bench.database.session() as session:
            await remove(session, (ONE, "erased"))
        [claim] = await bench.claim()  # at once, not when somebody looks
        await bench.indexes.work(claim)
        assert await bench.present() == [(name_of("faces", (ONE, "emptied"), SIZE), True)]
        async with bench.database.session() as session:
            await faces.remove(session, ONE, "emptied", [UUID(int=n) for n in range(1, FACES - LEAST + 100)])
        assert await bench.upkeep() == 0  # a few less than the limit
        async with bench.database.session() as session:
            await faces.remove(session, ONE, "emptied", [UUID(int=n) for n in range(1, LEAST + 1)])
            await faces.remove(session, ONE, "emptied", [UUID(int=n) for n in range(1, FACES)])
        assert await bench.upkeep() == 1
        assert await bench.present() == []

    run(url, work)


def test_an_index_whose_building_was_cut_off_is_built_anew(url: str) -> None:
    place = (ONE, LARGE)

    async def work(bench: Bench) -> None:
        await bench.fill(place, units(FACES))
        with psycopg.connect(url.replace("+psycopg", "")) as holding:
            # A transaction that an index waits for.
            holding.execute("UPDATE faces SET confidence = 98")
            impatient = Database(url, pool_size=1, max_overflow=0, statement_timeout_s=2)
            cut_off = VectorIndexes(bench.database, impatient, LEAST, 64)
            await cut_off.look()
            [claim] = await bench.claim()
            await cut_off.work(claim)
            await impatient.close()
            name = name_of("faces", place, SIZE)
            assert await bench.present() == [(name, False)]
            probe = units(1, 2)[0]
            assert len(await bench.find(place, probe)) == 20
            holding.rollback()
        async with bench.database.session() as session:
            await queue.put(session, queue.INDEXES, "vector_index", [stem_of("faces", place)])
        assert await bench.upkeep() == 1
        assert await bench.present() == [(name, True)]

    run(url, work)


def until_nobody_builds(url: str) -> None:
    """A turn ends with its server process, a moment after the connection was closed."""
    while execute(url, "SELECT FROM pg_locks WHERE locktype = 'advisory'"):
        time.sleep(0.01)


def test_one_builds_at_a_time_and_nobody_builds_twice(url: str) -> None:
    place = (ONE, LARGE)

    async def work(bench: Bench) -> None:
        await bench.fill(place, units(FACES))
        async with bench.maintenance.alone() as other:
            assert await vector_indexes.take_turn(other)
            rival = Bench(url)
            await rival.indexes.look()
            [claim] = await rival.claim()
            await rival.indexes.work(claim)
            assert await rival.present() == []
            async with rival.database.session() as session:
                assert await queue.is_queued(session, "vector_index", claim.subject)
        until_nobody_builds(url)
        # The same job by two workers, as after a lost lease.
        await asyncio.gather(bench.indexes.work(claim), rival.indexes.work(claim))
        await rival.close()
        before = execute(url, "SELECT oid FROM pg_class WHERE relname ~ '_near_'")
        assert len(before) == 1
        await bench.indexes.work(claim)
        assert execute(url, "SELECT oid FROM pg_class WHERE relname ~ '_near_'") == before

    run(url, work)


def test_a_rebuild_of_a_collection_has_no_index_in_its_way(url: str) -> None:
    """Its vectors may even be of another size afterwards."""
    place = (ONE, "large")

    async def work(bench: Bench) -> None:
        await bench.fill(place, units(FACES))
        await bench.upkeep()
        execute(
            url,
            "INSERT INTO index_jobs (job_id, account_id, collection_id, kind, allow_missing, "
            f"face_model_version, state, listed) VALUES (gen_random_uuid(), '{ONE}', 'large', 'reembed', "
            "false, '2.0', 'running', true)",
        )
        assert await bench.upkeep() == 0  # it serves until the switch
        assert len(await bench.present()) == 1
        await bench.indexes.take_away(place)
        assert await bench.present() == []
        assert await bench.upkeep() == 0
        half = SIZE // 2
        execute(
            url,
            f"UPDATE faces SET embedding = l2_normalize(subvector(embedding::halfvec({SIZE}), 1, {half}))",
        )
        execute(url, "UPDATE index_jobs SET state = 'succeeded'")
        assert await bench.upkeep() == 1
        assert await bench.present() == [(name_of("faces", place, half), True)]
        probe = units(1, 2, half)[0]
        assert await bench.find(place, probe) == await bench.find(place, probe, by_index=False)

    run(url, work)


def test_an_older_release_is_left_no_index(url: str) -> None:
    async def work(bench: Bench) -> None:
        await bench.fill((ONE, LARGE), units(FACES))
        await bench.upkeep()
        assert len(await bench.present()) == 1

    run(url, work)
    migrate.downgrade(url, "0007")
    assert execute(url, "SELECT relname FROM pg_class WHERE relname ~ '_near_'") == []
    migrate.upgrade(url)


def test_a_worker_that_is_stopped_leaves_nobody_building(url: str) -> None:
    place = (ONE, LARGE)

    def building() -> int:
        [(count,)] = execute(url, "SELECT count(*) FROM pg_stat_progress_create_index")
        return int(count)

    async def until(wanted: int) -> None:
        for _ in range(600):
            if building() == wanted:
                return
            await asyncio.sleep(0.1)
        pytest.fail(f"{building()} indexes are being built")

    async def work(bench: Bench) -> None:
        await bench.fill(place, units(FACES))
        await bench.indexes.look()
        [claim] = await bench.claim()
        with psycopg.connect(url.replace("+psycopg", "")) as holding:
            holding.execute("UPDATE faces SET confidence = 98")
            task = asyncio.create_task(bench.indexes.work(claim))
            await until(1)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await until(0)
            holding.rollback()
        name = name_of("faces", place, SIZE)
        assert await bench.present() == [(name, False)]
        await bench.indexes.work(claim)
        assert await bench.present() == [(name, True)]

    run(url, work)
