"""Searches with the help of memory answer what exact ones do, on a real PostgreSQL that others change."""

import asyncio
from typing import Any
from uuid import UUID

import numpy as np
import psycopg
import pytest
from sqlalchemy import text

from app.domain import PublicId, Vector
from app.measure.spread import Spread
from app.store import collections, faces, held, users, vector_memory, vector_pages
from app.store.tables import users as users_table
from tests.store.databases import execute, numbered
from tests.store.memory_bench import ONE, PLACE, SIZE, Bench, prepare, run, units


@pytest.fixture
def url(url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    return prepare(url, monkeypatch)


# Of one size, of several blocks, and compared by threads.
@pytest.mark.parametrize("rows", [300, 2100])
@pytest.mark.parametrize(("least", "limit"), [(-1.0, 1), (-1.0, 20), (0.0, 4096), (0.1, 20), (0.9, 1)])
def test_answers_are_those_of_an_exact_search(
    url: str, monkeypatch: pytest.MonkeyPatch, rows: int, least: float, limit: int
) -> None:
    monkeypatch.setattr(vector_memory, "_BLOCK_BYTES", 100_000)
    monkeypatch.setattr(held, "_COMPARED_AT_ONCE", 100_000)
    monkeypatch.setattr(held, "_COMPARED_BY_ONE", 300_000)
    stored = units(rows)
    # The same vector twice, its opposite, and one along an axis, whose largest value is as large as can be.
    stored[5], stored[6], stored[7] = stored[4], -stored[4], np.eye(SIZE)[0]

    async def work(bench: Bench) -> None:
        await bench.fill(stored)
        await bench.read()
        kept = bench.held()
        assert kept is not None
        assert kept.count == rows
        for probe in (stored[4], stored[7], -stored[7], *units(3, seed=1)):
            for left_out in (None, UUID(int=5)):
                how: dict[str, Any] = {"min_cosine": least, "limit": limit, "leave_out": left_out}
                assert await bench.find(probe, **how) == await bench.exactly(probe, **how)

    run(url, work)


@pytest.mark.parametrize("dense", [0, 2])
def test_all_is_read_in_parts(url: str, monkeypatch: pytest.MonkeyPatch, dense: int) -> None:
    """By the pages of a table, or by keys where others take most of them."""
    monkeypatch.setattr(vector_pages, "_ROWS", 70)
    monkeypatch.setattr(vector_pages, "_PAGES", 3)
    monkeypatch.setattr(vector_pages, "_DENSE", dense)
    stored = units(700)

    async def work(bench: Bench) -> None:
        await bench.fill(stored)
        await bench.fill(stored[:500], place=(ONE, "others"))
        async with bench.database.session() as session:
            for number in range(700):
                user = PublicId(f"u-{number}-é", f"u{number}")
                await users.create(session, *PLACE, user)
                await faces.assign(session, *PLACE, [UUID(int=number + 1)], user.safe)
                await users.refresh_vector(session, *PLACE, user.safe)
        await bench.read()
        kept = bench.held()
        assert kept is not None
        ids = np.concatenate([np.asarray(block.ids) for block in kept.blocks])
        assert sorted(int.from_bytes(one.tobytes()) for one in ids) == list(range(1, 701))
        bench.memory.of(users_table, PLACE, SIZE)
        await bench.memory.wait()
        kept = bench.memory.of(users_table, PLACE, SIZE)
        assert kept is not None
        assert len({one for block in kept.blocks for one in block.ids}) == kept.count == 700

    run(url, work)


def test_large_collections_are_projected_and_find_people(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_memory, "MOST_WHOLE", 1000)
    spread, draw = Spread.load(), np.random.default_rng(4)
    centres = spread.centres(draw, 4000)
    stored, probes = spread.photos(draw, centres), spread.photos(draw, centres[:200])

    async def work(bench: Bench) -> None:
        await bench.fill(stored)
        await bench.read(size=512)
        kept = bench.held(size=512)
        assert kept is not None
        assert kept.projection is not None
        assert kept.nbytes == 4000 * (2 * 160 + 16)
        hits = total = 0
        for number, probe in enumerate(probes, 1):
            found = {one for one, _ in await bench.find(probe, min_cosine=0.28)}
            wanted = {one for one, _ in await bench.exactly(probe, min_cosine=0.28)}
            assert found <= wanted
            assert (number in found) == (number in wanted)
            hits, total = hits + len(found), total + len(wanted)
        assert hits > 0.99 * total
        # More than candidates can be trusted with.
        assert await bench.find(probes[0], limit=4000) == await bench.exactly(probes[0], limit=4000)
        # Added and deleted as in smaller ones.
        await bench.fill(probes, first=5001)
        assert [number for number, _ in await bench.find(probes[3], limit=1)] == [5004]
        await bench.delete(range(1, 3901))
        assert await bench.find(probes[3]) == await bench.exactly(probes[3])

    run(url, work)


def test_users_are_held_too_and_their_new_vectors_known(url: str) -> None:
    stored = units(300)

    async def found(bench: Bench, probe: Vector, **how: Any) -> list[tuple[str, float]]:
        matches = await users.nearest(
            bench.database, *PLACE, probe, model="1.0", min_cosine=0.5, limit=9, **how
        )
        return [(match.user_id, match.cosine) for match in matches]

    async def work(bench: Bench) -> None:
        await bench.fill(stored)
        async with bench.database.session() as session:
            for number in range(300):
                user = PublicId(f"u {number} \"'{{é", f"u{number}")
                await users.create(session, *PLACE, user)
                if number < 200:
                    await faces.assign(session, *PLACE, [UUID(int=number + 1)], user.safe)
                    await users.refresh_vector(session, *PLACE, user.safe)
        bench.memory.of(users_table, PLACE, SIZE)
        await bench.memory.wait()
        kept = bench.memory.of(users_table, PLACE, SIZE)
        assert kept is not None
        assert kept.count == 200
        async with bench.database.session() as session:
            await faces.assign(session, *PLACE, [UUID(int=201), UUID(int=2)], "u200")
            await users.refresh_vector(session, *PLACE, "u1")
            await users.refresh_vector(session, *PLACE, "u200")
        for number in (0, 1, 7, 200, 250):
            with_memory = await found(bench, stored[number], memory=bench.memory)
            assert with_memory == await found(bench, stored[number])
            assert len(with_memory) == (number < 201)

    run(url, work)


def test_who_is_stored_deleted_or_changed_meanwhile_is_known(url: str) -> None:
    stored = units(300)

    async def work(bench: Bench) -> None:
        await bench.fill(stored[:200])
        await bench.read()
        await bench.fill(stored[200:], first=201)
        await bench.delete(range(1, 11))
        other = f"SELECT embedding FROM faces WHERE face_id = '{UUID(int=250)}'"
        execute(bench.url, f"UPDATE faces SET embedding = ({other}) WHERE face_id = '{UUID(int=20)}'")
        for number in (0, 5, 19, 100, 249, 299):
            assert await bench.find(stored[number]) == await bench.exactly(stored[number])
        [(first, _), (second, _)] = await bench.find(stored[249], limit=2)
        assert {first, second} == {250, 20}
        kept = bench.held()
        assert kept is not None
        assert kept.count == 200

    run(url, work)


def test_a_transaction_that_ends_after_the_reading_is_known(url: str) -> None:
    """It began before, so its number is lower than that of others which were read."""
    stored = units(200)

    async def work(bench: Bench) -> None:
        async with bench.database.session() as session:
            await collections.create(session, *PLACE, "1.0")
        async with bench.database.session() as slow:
            await faces.add(slow, *PLACE, [numbered(1, stored[0])])
            await bench.fill(stored[1:], first=2)
            await bench.read()
            assert await bench.find(stored[0], min_cosine=0.9) == []
        assert [number for number, _ in await bench.find(stored[0], min_cosine=0.9)] == [1]
        kept = bench.held()
        assert kept is not None
        assert kept.count == 199

    run(url, work)


@pytest.mark.parametrize("projected", [False, True])
def test_vectors_that_changed_take_nobodys_place(
    url: str, monkeypatch: pytest.MonkeyPatch, *, projected: bool
) -> None:
    """Their old ones are among the candidates, as the nearest."""
    if projected:
        monkeypatch.setattr(vector_memory, "MOST_WHOLE", 0)
    stored = units(600)
    probe = units(1, seed=1)[0]
    nearest = np.argsort(-stored @ probe)[:150] + 1

    async def work(bench: Bench) -> None:
        await bench.fill(stored)
        await bench.read()
        # pgvector has no minus sign.
        turned = "array_fill(0, ARRAY[256])::halfvec - embedding"
        with psycopg.connect(url.replace("+psycopg", "")) as connection:
            connection.execute(
                f"UPDATE faces SET embedding = {turned} WHERE face_id = ANY(%s)".encode(),
                ([UUID(int=int(number)) for number in nearest],),
            )
        assert await bench.find(probe) == await bench.exactly(probe)
        # What came since is read now.
        monkeypatch.setattr(vector_memory, "_MOST_FRESH", 0)
        assert await bench.find(probe) == await bench.exactly(probe)
        await bench.memory.wait()
        assert await bench.find(probe) == await bench.exactly(probe)
        kept = bench.held()
        assert kept is not None
        assert (kept.count, kept.added) == (600, 0)

    run(url, work)


@pytest.mark.parametrize("projected", [False, True])
def test_random_changes_beside_searches(
    url: str, monkeypatch: pytest.MonkeyPatch, *, projected: bool
) -> None:
    """Several who store and delete, while one searches: nobody who is surely there is missed."""
    monkeypatch.setattr(vector_memory, "_MOST_FRESH", 5)
    monkeypatch.setattr(vector_memory, "_BLOCK_BYTES", 10_000)
    if projected:
        monkeypatch.setattr(vector_memory, "MOST_WHOLE", 0)
    stored = units(1200)

    async def change(bench: Bench, numbers: range) -> None:
        draw = np.random.default_rng(numbers.start)
        there: set[int] = set()
        for _ in range(60):
            async with bench.database.session() as session:
                for number in draw.choice(numbers, 5, replace=False).tolist():
                    if number in there:
                        await faces.remove(session, *PLACE, [UUID(int=number)])
                        there.remove(number)
                    else:
                        await faces.add(session, *PLACE, [numbered(number, stored[number - 1])])
                        there.add(number)
                await session.execute(text("SELECT pg_sleep(:s)"), {"s": float(draw.uniform(0, 0.01))})

    async def search(bench: Bench) -> None:
        draw = np.random.default_rng(9)
        while True:
            number = int(draw.integers(1, 601))
            found = await bench.find(stored[number - 1], min_cosine=0.9)
            assert [one for one, _ in found] == [number]
            await bench.find(stored[int(draw.integers(600, 1200))])

    async def work(bench: Bench) -> None:
        await bench.fill(stored[:600])
        await bench.read()
        searching = asyncio.create_task(search(bench))
        await asyncio.gather(*(change(bench, range(first, first + 200)) for first in (601, 801, 1001)))
        searching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await searching
        for number in range(600, 1200, 7):
            assert await bench.find(stored[number], min_cosine=0.9) == await bench.exactly(
                stored[number], min_cosine=0.9
            )

    run(url, work)
