"""Searches by indexes of large collections' vectors on a real PostgreSQL: used, and right."""

from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import psycopg
import pytest

from app.domain import PublicId, Vector
from app.measure.spread import Spread
from app.service.vector_indexes import VectorIndexes
from app.store import faces, migrate, nearest, users
from app.store.database import Database
from app.store.vector_index_names import name_of
from tests.store.databases import execute
from tests.store.index_bench import FACES, LARGE, LEAST, ONE, OTHER, SIZE, Bench, run, scans, units
from tests.store.postgres_programs import call


@pytest.fixture
def url(url: str) -> str:
    """A database without collections."""
    migrate.upgrade(url)
    return url


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
