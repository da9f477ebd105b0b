"""Indexes of large collections' vectors on a real PostgreSQL: built, used, right, and gone in time."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import numpy as np
import psycopg
import pytest

from app.domain import PublicId, Vector
from app.measure.spread import Spread
from app.service.collections import remove
from app.service.vector_indexes import VectorIndexes
from app.store import collections, faces, migrate, nearest, queue, users, vector_indexes
from app.store.database import Database
from app.store.queue import Place
from app.store.vector_index_names import name_of, stem_of
from tests.store.databases import execute, numbered
from tests.store.postgres_programs import call

ONE, OTHER = "111111111111", "222222222222"
# ':' and quotes, though no door lets them in: ids become part of a statement.
LARGE = "large:1'\\%s"
SIZE = 128
FACES, LEAST = 1500, 1000
ResultT = TypeVar("ResultT")
Work = Callable[["Bench"], Awaitable[ResultT]]


class Bench:
    """A database and what works on it; the limit is low."""

    def __init__(self, url: str, *, pooled: bool = False) -> None:
        self.url = url
        # One connection: every search is the same prepared statement's.
        self.database = Database(url, pool_size=1, max_overflow=0, pooled=pooled)
        self.maintenance = Database(url, pool_size=1, max_overflow=0, statement_timeout_s=0)
        self.indexes = VectorIndexes(self.database, self.maintenance, LEAST, 64)

    async def fill(self, place: Place, vectors: np.ndarray[Any, Any], first: int = 1) -> None:
        """Faces whose ids are numbers."""
        async with self.database.session() as session:
            await collections.create(session, *place, "1.0")
            await faces.add(
                session, *place, [numbered(first + n, vector) for n, vector in enumerate(vectors)]
            )

    async def find(self, place: Place, probe: Vector, **how: Any) -> list[tuple[int, float]]:
        """Numbers of faces, with cosines."""
        how = {"model": "1.0", "min_cosine": -1.0, "limit": 20, **how}
        found = await faces.nearest(self.database, *place, probe, **how)
        return [(face.face_id.int, cosine) for face, cosine in found]

    async def upkeep(self) -> int:
        """As the workers do it; how many jobs there were."""
        await self.indexes.look()
        done = 0
        while claims := await self.claim():
            for claim in claims:
                await self.indexes.work(claim)
                done += 1
        return done

    async def claim(self) -> list[queue.Claim]:
        async with self.database.session() as session:
            return await queue.claim(session, queue.INDEXES, 9, timedelta(minutes=1))

    async def present(self) -> list[tuple[str, bool]]:
        async with self.database.session() as session:
            return [(index.name, index.valid) for index in await vector_indexes.present(session)]

    async def close(self) -> None:
        await self.database.close()
        await self.maintenance.close()


@pytest.fixture
def url(url: str) -> str:
    """A database without collections."""
    migrate.upgrade(url)
    return url


def run(url: str, work: Work[ResultT], *, pooled: bool = False) -> ResultT:
    async def inside() -> ResultT:
        bench = Bench(url, pooled=pooled)
        try:
            return await work(bench)
        finally:
            await bench.close()

    return asyncio.run(inside())


def scans(url: str) -> int:
    """How often indexes of vectors were used by connections that are closed.

    A server process counts what it did when it ends, a moment after its client closed.
    """
    others = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    deadline = time.monotonic() + 30
    while execute(url, f"{others} AND backend_type = 'client backend'"):
        assert time.monotonic() < deadline, "a connection is still open"
        time.sleep(0.01)
    [(count,)] = execute(
        url, "SELECT coalesce(sum(idx_scan), 0) FROM pg_stat_user_indexes WHERE indexrelname ~ '_near_'"
    )
    return int(count)


def units(count: int, seed: int = 0, size: int = SIZE) -> Any:
    drawn = np.random.default_rng(seed).normal(size=(count, size)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


@pytest.mark.parametrize("pooled", [False, True])
def test_a_large_collection_gets_an_index_and_every_search_uses_it(url: str, *, pooled: bool) -> None:
    place, searches = (ONE, LARGE), 20

    async def build(bench: Bench) -> None:
        await bench.fill(place, units(LEAST - 1))
        assert await bench.upkeep() == 0
        await bench.fill(place, units(1, 1), first=LEAST)
        assert await bench.upkeep() == 1
        assert await bench.present() == [(name_of("faces", place, SIZE), True)]
        assert await bench.upkeep() == 0

    async def search(bench: Bench) -> None:
        for probe in units(searches, 2):
            assert len(await bench.find(place, probe)) == 20

    run(url, build, pooled=pooled)
    assert scans(url) == 0
    run(url, search, pooled=pooled)
    assert scans(url) == searches


def test_answers_are_those_of_an_exact_search(url: str) -> None:
    place, stored = (ONE, LARGE), units(FACES)

    async def work(bench: Bench) -> None:
        await bench.fill(place, stored)
        # The same picture twice more: equals, in the order of their ids.
        await bench.fill(place, np.stack([stored[4], stored[4]]), first=FACES + 1)
        assert await bench.upkeep() == 1
        for probe in units(20, 2):
            for how in ({}, {"min_cosine": 0.2}, {"limit": 100}, {"limit": 1}):
                assert await bench.find(place, probe, **how) == await bench.find(
                    place, probe, by_index=False, **how
                )
        assert [number for number, _ in await bench.find(place, stored[4], limit=3)] == [
            5,
            FACES + 1,
            FACES + 2,
        ]
        left = await bench.find(place, stored[4], limit=2, leave_out=UUID(int=FACES + 1))
        assert [number for number, _ in left] == [5, FACES + 2]

    run(url, work)
    assert scans(url) > 0


def test_more_faces_than_an_index_is_good_for_are_searched_exactly(url: str) -> None:
    place = (ONE, LARGE)

    async def work(bench: Bench) -> None:
        await bench.fill(place, units(FACES))
        await bench.upkeep()
        probe = units(1, 2)[0]
        found = await bench.find(place, probe, limit=4096)
        assert len(found) == FACES
        assert found == await bench.find(place, probe, limit=4096, by_index=False)
        some = await bench.find(place, probe, limit=4096, min_cosine=found[600][1])
        assert some == found[: len(some)]
        assert len(some) >= 600
        # Few are near enough: the index answers, whatever the limit.
        few = await bench.find(place, probe, limit=4096, min_cosine=found[9][1])
        assert few == found[: len(few)]

    run(url, work)
    assert scans(url) == 3


def test_what_is_stored_is_found_and_what_is_deleted_is_not(url: str) -> None:
    place, stored = (ONE, LARGE), units(FACES)

    async def work(bench: Bench) -> None:
        await bench.fill(place, stored)
        await bench.upkeep()
        probe = units(1, 2)[0]
        await bench.fill(place, probe[None], first=FACES + 1)
        assert (await bench.find(place, probe, limit=1))[0][0] == FACES + 1
        # All that the index would look at, and more.
        nearest_ones = [
            number for number, _ in await bench.find(place, probe, limit=nearest.LEAST_CANDIDATES)
        ]
        async with bench.database.session() as session:
            await faces.remove(session, *place, [UUID(int=number) for number in nearest_ones])
        left = await bench.find(place, probe)
        assert len(left) == 20
        assert not {number for number, _ in left} & set(nearest_ones)
        assert left == await bench.find(place, probe, by_index=False)

    run(url, work)


def test_accounts_and_collections_of_one_partition_keep_apart(url: str) -> None:
    """Two accounts with a large collection of the same id, and a small one beside the first."""
    stored = units(FACES)
    [(small,)] = execute(
        url,
        f"""
        SELECT id FROM (SELECT 'small-' || n AS id FROM generate_series(1, 999) AS n) AS ids
        WHERE satisfies_hash_partition('faces'::regclass, 16, (
            SELECT n FROM generate_series(0, 15) AS n
            WHERE satisfies_hash_partition('faces'::regclass, 16, n, '{ONE}'::varchar, 'large'::varchar)
        ), '{ONE}'::varchar, id::varchar) LIMIT 1
        """,
    )

    async def build(bench: Bench) -> None:
        await bench.fill((ONE, "large"), stored)
        await bench.fill((OTHER, "large"), -stored)
        await bench.fill((ONE, small), stored[:50])
        assert await bench.upkeep() == 2

    async def search_large(bench: Bench) -> None:
        assert (await bench.find((ONE, "large"), stored[3]))[0][0] == 4
        assert (await bench.find((OTHER, "large"), stored[3], min_cosine=0.9)) == []
        assert (await bench.find((OTHER, "large"), -stored[3], min_cosine=0.9))[0][0] == 4

    async def search_small(bench: Bench) -> None:
        assert len(await bench.find((ONE, small), stored[3], limit=99)) == 50

    run(url, build)
    run(url, search_large)
    used = scans(url)
    assert used == 3
    run(url, search_small)
    assert scans(url) == used


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


def test_users_are_found_by_an_index_of_their_own(url: str) -> None:
    place, stored = (ONE, LARGE), units(FACES)

    async def found(database: Database, probe: Vector) -> list[str]:
        matches = await users.nearest(database, *place, probe, model="1.0", min_cosine=0.5, limit=9)
        return [match.user_id for match in matches]

    async def work(bench: Bench) -> None:
        await bench.fill(place, stored[:1])
        async with bench.database.session() as session:
            for number in range(FACES):
                await users.create(session, *place, PublicId(f"u{number}", f"u{number}"))
        with psycopg.connect(url.replace("+psycopg", "")) as connection:
            connection.cursor().executemany(
                "UPDATE users SET embedding = %s::halfvec WHERE user_id = %s",
                [(str(vector.tolist()), f"u{number}") for number, vector in enumerate(stored)],
            )
        assert await bench.upkeep() == 1
        assert await bench.present() == [(name_of("users", place, SIZE), True)]
        for number in (0, 700, FACES - 1):
            assert await found(bench.database, stored[number]) == [f"u{number}"]

    run(url, work)
    assert scans(url) == 3


def test_nobody_has_an_index_where_it_is_turned_off(url: str) -> None:
    async def work(bench: Bench) -> None:
        await bench.fill((ONE, LARGE), units(FACES))
        await bench.upkeep()
        bench.indexes = VectorIndexes(bench.database, bench.maintenance, 0, 64)
        assert await bench.upkeep() == 1
        assert await bench.present() == []

    run(url, work)


def test_vectors_of_another_model_are_like_nobody(url: str) -> None:
    """As after a switch that a search did not know of."""
    place, stored = (ONE, LARGE), units(FACES)

    async def work(bench: Bench) -> None:
        await bench.fill(place, stored)
        for wanted in ([], [(name_of("faces", place, SIZE), True)]):
            assert await bench.present() == wanted
            for by_index in (True, False):
                assert await bench.find(place, stored[7], by_index=by_index)
                assert await bench.find(place, stored[7], by_index=by_index, model="2.0") == []
            await bench.upkeep()

    run(url, work)


def test_a_search_whose_index_goes_meanwhile_is_exact(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place, by_index = (ONE, LARGE), nearest._by_index

    async def too_late(*arguments: Any) -> Any:
        execute(url, f"DROP INDEX {name_of('faces', place, SIZE)}")
        return await by_index(*arguments)

    async def work(bench: Bench) -> None:
        await bench.fill(place, units(FACES))
        await bench.upkeep()
        probe = units(1, 2)[0]
        exact = await bench.find(place, probe, by_index=False)
        monkeypatch.setattr(nearest, "_by_index", too_late)
        assert await bench.find(place, probe) == exact

    run(url, work)


def test_an_index_finds_people_and_comes_back_from_a_backup(server: str, url: str, tmp_path: Path) -> None:
    """Made-up people whose vectors spread like real ones, searched by second photos."""
    place, spread, draw = (ONE, LARGE), Spread.load(), np.random.default_rng(3)
    people = spread.centres(draw, FACES)
    stored, probes = spread.photos(draw, people), spread.photos(draw, people[:100])

    async def first(bench: Bench, *, by_index: bool) -> list[int]:
        return [(await bench.find(place, probe, limit=1, by_index=by_index))[0][0] for probe in probes]

    async def build(bench: Bench) -> list[int]:
        await bench.fill(place, stored)
        await bench.upkeep()
        return await first(bench, by_index=False)

    async def search(bench: Bench) -> list[int]:
        assert await bench.present() == [(name_of("faces", place, 512), True)]
        return await first(bench, by_index=True)

    exact = run(url, build)
    assert run(url, search) == exact
    execute(server, 'CREATE DATABASE "restored"')
    restored = server.replace("/postgres?", "/restored?")
    dump = str(tmp_path / "dump")
    call("pg_dump", "--format=custom", "--file", dump, url=url)
    call("pg_restore", "--exit-on-error", dump, url=restored)
    assert run(restored, search) == exact
    assert scans(restored) == len(probes)


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
