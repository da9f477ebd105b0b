"""The store on a real PostgreSQL: migrations, isolation of accounts, exact search."""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import psycopg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain import Box, PublicId, StoredFace, Vector
from app.errors import ResourceNotFoundException, ServiceUnavailableError
from app.store import collections, faces, migrate, users
from app.store.database import Database
from app.store.embedded import EmbeddedPostgres
from app.store.tables import metadata

ONE, OTHER = "111111111111", "222222222222"
ALL: dict[str, Any] = {"model": "1.0", "min_cosine": -1, "limit": 20}


def run(url: str, work: Callable[[AsyncConnection], Coroutine[Any, Any, Any]]) -> Any:
    """What `work` returns from one transaction."""

    async def inside(database: Database) -> Any:
        async with database.session() as session:
            return await work(session)

    return search(url, inside)


def search(url: str, work: Callable[[Database], Coroutine[Any, Any, Any]]) -> Any:
    """What `work` returns that opens what it needs."""

    async def inside() -> Any:
        database = Database(url, pool_size=1, max_overflow=0)
        try:
            return await work(database)
        finally:
            await database.close()

    return asyncio.run(inside())


def unit(seed: int) -> Vector:
    vector = np.random.default_rng(seed).normal(size=512).astype(np.float32)
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)


def face(seed: int, user_id: str | None = None) -> faces.NewFace:
    label = PublicId("a/b", "a-b")
    stored = StoredFace(UUID(int=seed), UUID(int=7), label, user_id, Box(0.1, 0.2, 0.3, 0.4), 99.0)
    return faces.NewFace(stored, unit(seed))


def test_migrations_go_up_and_down_and_match_the_tables(url: str) -> None:
    migrate.upgrade(url)
    engine = create_engine(url)
    with engine.connect() as connection:
        found = compare_metadata(MigrationContext.configure(connection), metadata)
        # Partitions, their indexes and the key from faces to users are written in SQL only.
        sql_only = {"remove_table", "remove_index", "remove_fk"}
        assert [difference for difference in found if difference[0] not in sql_only] == []
    config = Config()
    config.set_main_option("script_location", str(migrate.MIGRATIONS))
    config.attributes["url"] = url
    command.downgrade(config, "base")
    with engine.connect() as connection:
        names = connection.exec_driver_sql(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
        )
        assert names.all() == []
    engine.dispose()
    migrate.upgrade(url)


def test_several_processes_may_migrate_at_once(url: str) -> None:
    program = "import sys; from app.store import migrate; migrate.upgrade(sys.argv[1])"
    processes = [subprocess.Popen([sys.executable, "-c", program, url]) for _ in range(5)]
    assert [process.wait(60) for process in processes] == [0] * 5
    assert run(url, lambda session: collections.totals(session, ONE, ["*"])) == (0, 0, 0)


def test_accounts_see_nothing_of_each_other(url: str) -> None:
    """Both have a collection of the same id with a face of the same id."""
    migrate.upgrade(url)

    async def fill(session: AsyncConnection) -> None:
        for account in (ONE, OTHER):
            assert await collections.create(session, account, "same", "1.0")
        await users.ensure(session, ONE, "same", PublicId("u@1", "u"))
        await faces.add(session, ONE, "same", [face(1, "u"), face(2)])
        assert await users.refresh_vector(session, ONE, "same", "u")

    async def look(session: AsyncConnection) -> None:
        assert await users.vector_of(session, OTHER, "same", "u") is None
        assert (await users.page(session, OTHER, "same", None, 9)).items == []
        assert await faces.owned(session, OTHER, "same", [UUID(int=1)]) == {}
        assert not await users.remove(session, OTHER, "same", "u")
        await faces.assign(session, OTHER, "same", [UUID(int=1)], None)
        assert await faces.vector_of(session, OTHER, "same", UUID(int=1)) is None
        assert (await faces.page(session, OTHER, "same", after=None, limit=9)).items == []
        assert await faces.of_image(session, OTHER, "same", UUID(int=7), "a-b") == []
        assert await faces.remove(session, OTHER, "same", [UUID(int=2)]) == ([], [])
        assert not await users.exists(session, OTHER, "same", "u")
        assert (await collections.counts(session, OTHER, "same")).faces == 0
        assert await collections.totals(session, OTHER, ["*"]) == (1, 0, 0)
        assert await collections.remove(session, OTHER, "same")
        with pytest.raises(ResourceNotFoundException):
            await collections.require(session, OTHER, "same")
        assert (await collections.counts(session, ONE, "same")).faces == 2
        assert await faces.count_of_user(session, ONE, "same", "u") == 1

    run(url, fill)
    assert search(url, lambda it: faces.nearest(it, ONE, "same", unit(1), **ALL))
    assert search(url, lambda it: faces.nearest(it, OTHER, "same", unit(1), **ALL)) == []
    assert search(url, lambda it: users.nearest(it, ONE, "same", unit(1), **ALL))
    assert search(url, lambda it: users.nearest(it, OTHER, "same", unit(1), **ALL)) == []
    run(url, look)


def test_a_connection_that_ended_while_it_rested_is_replaced_before_it_is_used(url: str) -> None:
    async def ask(database: Database) -> int:
        async with database.reading() as reader:
            return int(await reader.scalar(text("SELECT pg_backend_pid()")) or 0)

    def end(process: int) -> None:
        with psycopg.connect(url.replace("+psycopg", "")) as connection:
            connection.execute("SELECT pg_terminate_backend(%s, 5000)", (process,))

    async def work(database: Database) -> None:
        first = await ask(database)
        assert await ask(database) == first
        end(first)
        await asyncio.sleep(1.1)
        second = await ask(database)
        assert second != first
        end(second)
        # In use a moment ago: nobody asked, so this one is lost.
        with pytest.raises(ServiceUnavailableError):
            await ask(database)
        assert await ask(database) not in (first, second)

    search(url, work)


@pytest.mark.parametrize("pooled", [False, True])
def test_planning_and_limits_are_preset_for_every_statement(url: str, pooled: bool) -> None:
    names = ("plan_cache_mode", "jit", "max_parallel_workers_per_gather", "statement_timeout")
    asked = text("SELECT " + ", ".join(f"current_setting('{name}')" for name in names))

    async def work() -> None:
        database = Database(url, pool_size=1, max_overflow=0, statement_timeout_s=7, pooled=pooled)
        try:
            for opened in (database.session, database.reading, database.snapshot):
                async with opened() as connection:
                    found = tuple((await connection.execute(asked)).one())
                assert found == ("force_custom_plan", "off", "0", "7s")
        finally:
            await database.close()

    asyncio.run(work())


def test_nearest_is_exact_and_in_order(url: str) -> None:
    migrate.upgrade(url)
    stored = [face(seed) for seed in range(1, 301)]

    async def fill(session: AsyncConnection) -> None:
        await collections.create(session, ONE, "many", "1.0")
        await faces.add(session, ONE, "many", stored)

    run(url, fill)
    probe = unit(1000)
    cosines = {item.face.face_id: float(item.embedding @ probe) for item in stored}
    wanted = sorted(cosines, key=lambda face_id: -cosines[face_id])[:20]
    found = search(url, lambda database: faces.nearest(database, ONE, "many", probe, **ALL))
    assert [match.face_id for match, _ in found] == wanted
    assert [cosine for _, cosine in found] == pytest.approx(
        [cosines[face_id] for face_id in wanted], abs=2e-3
    )
    above = search(
        url,
        lambda database: faces.nearest(database, ONE, "many", probe, model="1.0", min_cosine=0.05, limit=300),
    )
    assert len(above) == sum(cosine >= 0.05 for _, cosine in above)


def test_a_search_is_one_statement_where_there_is_no_index(url: str) -> None:
    migrate.upgrade(url)

    async def fill(session: AsyncConnection) -> None:
        await collections.create(session, ONE, "few", "1.0")
        await faces.add(session, ONE, "few", [face(seed) for seed in range(1, 4)])

    run(url, fill)
    asked: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        asked.append(statement)

    def statements(least: float) -> int:
        asked.clear()
        search(
            url,
            lambda database: faces.nearest(database, ONE, "few", unit(1000), **{**ALL, "min_cosine": least}),
        )
        return len(asked)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        assert statements(-1.0) == 1
        assert statements(0.999) == 1
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def test_a_users_vector_is_the_mean_of_their_faces(url: str) -> None:
    migrate.upgrade(url)

    async def work(session: AsyncConnection) -> None:
        await collections.create(session, ONE, "people", "1.0")
        for name in ("a", "b", "c"):
            await users.ensure(session, ONE, "people", PublicId(name, name))
        await faces.add(session, ONE, "people", [face(1, "a"), face(2, "a"), face(3, "b"), face(4)])
        active = [await users.refresh_vector(session, ONE, "people", name) for name in ("a", "b", "c")]
        assert active == [True, True, False]

    run(url, work)
    found = search(url, lambda it: users.nearest(it, ONE, "people", unit(2), **ALL))
    mean = unit(1) + unit(2)
    mean /= np.linalg.norm(mean)
    assert [match.user_id for match in found] == ["a", "b"]
    assert found[0].cosine == pytest.approx(float(mean @ unit(2)), abs=2e-3)


def test_migration_gives_a_vector_to_users_who_have_faces_already(url: str) -> None:
    migrate.upgrade(url, "0001")
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        connection.execute(f"INSERT INTO collections VALUES ('{ONE}', 'people', '1.0')")
        for name in ("with", "without"):
            connection.execute(
                "INSERT INTO users (account_id, collection_id, user_id, member_id) "
                f"VALUES ('{ONE}', 'people', '{name}', '{name}')"
            )
        connection.execute(
            "INSERT INTO faces (account_id, collection_id, face_id, image_id, user_id, box_left, box_top, "
            "box_width, box_height, confidence, embedding) "
            f"VALUES ('{ONE}', 'people', gen_random_uuid(), gen_random_uuid(), 'with', 0, 0, 1, 1, 9, "
            "'[3,4]')"
        )
    migrate.upgrade(url)
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        kept = connection.execute("SELECT user_id, embedding::text FROM users ORDER BY 1").fetchall()
    assert kept[1] == ("without", None)
    assert kept[0][0] == "with"
    assert np.asarray(kept[0][1].strip("[]").split(","), float) == pytest.approx([0.6, 0.8], abs=1e-3)


def test_a_vector_stays_in_its_row_beside_much_text(url: str) -> None:
    """A search would have to fetch each from elsewhere."""
    migrate.upgrade(url)
    much = {"words": [uuid4().hex for _ in range(200)]}

    async def work(session: AsyncConnection) -> None:
        await collections.create(session, ONE, "people", "1.0")
        await users.ensure(session, ONE, "people", PublicId("u", "u"))
        await faces.add(session, ONE, "people", [face(1, "u")])
        await users.refresh_vector(session, ONE, "people", "u")
        await users.set_metadata(session, ONE, "people", "u", much)

    run(url, work)
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        query = "SELECT pg_column_toast_chunk_id(metadata), pg_column_toast_chunk_id(embedding) FROM users"
        [(text_elsewhere, vector_elsewhere)] = connection.execute(query).fetchall()
    assert text_elsewhere is not None
    assert vector_elsewhere is None


def test_a_user_is_new_once(url: str) -> None:
    migrate.upgrade(url)

    async def work(session: AsyncConnection) -> list[bool]:
        await collections.create(session, ONE, "people", "1.0")
        return [await users.ensure(session, ONE, "people", PublicId("u", "u")) for _ in range(3)]

    assert run(url, work) == [True, False, False]


@pytest.mark.parametrize("seed", range(3))
def test_half_precision_keeps_cosines_to_a_thousandth(url: str, seed: int) -> None:
    migrate.upgrade(url)

    async def work(session: AsyncConnection) -> Vector | None:
        await collections.create(session, ONE, "one", "1.0")
        await faces.add(session, ONE, "one", [face(seed + 1)])
        return await faces.vector_of(session, ONE, "one", UUID(int=seed + 1))

    kept = run(url, work)
    assert float(kept @ unit(seed + 1)) == pytest.approx(1, abs=1e-3)


def test_data_dir_of_the_server_is_closed_to_others(tmp_path: Path) -> None:
    postgres = EmbeddedPostgres(tmp_path / "data")
    postgres.start()
    try:
        assert (tmp_path / "data" / "postgres").stat().st_mode & 0o077 == 0
        (socket,) = (tmp_path / "data" / "postgres").glob(".s.PGSQL.*[0-9]")
        assert socket.stat().st_mode & 0o077 == 0
    finally:
        postgres.stop()
