"""Indexes of vectors, one for each large collection (docs/adr/0018).

PostgreSQL's own catalogue says which there are and which are whole: nothing beside it could disagree with it.
"""

from dataclasses import dataclass
from typing import TypeAlias

from psycopg import sql
from sqlalchemy import Table, func, literal_column, select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store import index_jobs
from app.store.queue import Place
from app.store.tables import faces, users
from app.store.vector_index_names import name_of, stem_of

TABLES = (faces, users)

Asked: TypeAlias = AsyncConnection | AsyncConnection

# Measured at 100,000 made-up faces: docs/adr/0018.
_LINKS = 32
_BUILD_CANDIDATES = 100

# Any number; the same in every worker.
_LOCK = 7_203_115
_NO_SPACE = "53100"
_SET = text("SELECT set_config(:name, :value, false)")
_NAME = r"^(faces|users)_near_[0-9a-f]{32}_\d+$"


# No more rows are counted than decide.
_CROWDS = {
    table.name: text(
        """
        SELECT account_id, collection_id, counted.rows, EXISTS (
            SELECT FROM index_jobs AS job
            WHERE job.account_id = place.account_id AND job.collection_id = place.collection_id
                AND job.state = ANY(:active)
        ) AS rebuilding
        FROM collections AS place, LATERAL (
            SELECT count(*) AS rows FROM (
                SELECT FROM the_table AS kept
                WHERE kept.account_id = place.account_id AND kept.collection_id = place.collection_id
                LIMIT :most
            ) AS found
        ) AS counted
        WHERE counted.rows >= :least
        """.replace("the_table", table.name)
    )
    for table in TABLES
}


@dataclass(frozen=True, slots=True)
class VectorIndex:
    """An index that is there. One that is not valid is being built, or its building was cut off."""

    name: str
    valid: bool

    @property
    def stem(self) -> str:
        return self.name.rpartition("_")[0]


@dataclass(frozen=True, slots=True)
class Crowd:
    """A collection with many rows in a table: `rows`, or as many as were counted.

    While it is `rebuilding`, many of its vectors may be about to change.
    """

    table: Table
    place: Place
    rows: int
    rebuilding: bool

    @property
    def stem(self) -> str:
        return stem_of(self.table.name, self.place)


async def are_possible(session: Asked) -> bool:
    """Whether pgvector is one that goes on where rows were deleted: 0.8 or newer."""
    version = await session.scalar(text("SELECT extversion FROM pg_extension WHERE extname = 'vector'"))
    major, minor = str(version).split(".")[:2]
    return (int(major), int(minor)) >= (0, 8)


async def present(session: Asked) -> list[VectorIndex]:
    """All that are there."""
    rows = await session.execute(
        text("""
            SELECT relname, indisvalid FROM pg_class JOIN pg_index ON indexrelid = oid
            WHERE relname ~ :pattern AND relnamespace = current_schema()::regnamespace ORDER BY relname
        """),
        {"pattern": _NAME},
    )
    return [VectorIndex(*row) for row in rows]


async def crowds(session: Asked, least: int, most: int) -> list[Crowd]:
    """Collections with at least so many rows in a table, counted up to `most`."""
    values = {"least": least, "most": most, "active": list(index_jobs.ACTIVE)}
    return [
        Crowd(table, (row.account_id, row.collection_id), row.rows, row.rebuilding)
        for table in TABLES
        for row in await session.execute(_CROWDS[table.name], values)
    ]


async def take_turn(connection: AsyncConnection) -> bool:
    """Be the only one who builds while the connection is open: it takes memory and cores."""
    return bool(await connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": _LOCK}))


async def build(connection: AsyncConnection, crowd: Crowd, memory_mb: int) -> None:
    """Build the index of a collection while it is read and written."""
    found = await _where_and_size(connection, crowd)
    if found is None:
        return
    part, size = found
    name = name_of(crowd.table.name, crowd.place, size)
    # Statements that define something take no parameters.
    account, collection = (_literal(value) for value in crowd.place)
    statement = text(
        f"CREATE INDEX CONCURRENTLY {name} ON {part} "
        f"USING hnsw ((embedding::halfvec({size})) halfvec_ip_ops) "
        f"WITH (m = {_LINKS}, ef_construction = {_BUILD_CANDIDATES}) "
        f"WHERE account_id = {account} AND collection_id = {collection} AND vector_dims(embedding) = {size}"
    )
    await connection.execute(_SET, {"name": "maintenance_work_mem", "value": f"{memory_mb}MB"})
    try:
        await connection.execute(statement)
    except OperationalError as error:
        if getattr(error.orig, "sqlstate", None) != _NO_SPACE:
            raise
        # Processes that build together share memory, of which a container may have little; one needs none.
        await drop(connection, name)
        await connection.execute(_SET, {"name": "max_parallel_maintenance_workers", "value": "0"})
        await connection.execute(statement)


async def drop(connection: AsyncConnection, name: str) -> None:
    """Take an index away while its table is read and written."""
    await connection.execute(text(f"DROP INDEX CONCURRENTLY IF EXISTS {name}"))


async def _where_and_size(connection: AsyncConnection, crowd: Crowd) -> tuple[str, int] | None:
    """The partition that holds a collection (its parent can't be indexed concurrently), and its size."""
    embedding = crowd.table.c.embedding
    row = (
        await connection.execute(
            select(literal_column("tableoid::regclass::text"), func.vector_dims(embedding))
            .select_from(crowd.table)
            .where(
                crowd.table.c.account_id == crowd.place[0],
                crowd.table.c.collection_id == crowd.place[1],
                embedding.is_not(None),
            )
            .limit(1)
        )
    ).first()
    return None if row is None else (row[0], row[1])


def _literal(value: str) -> str:
    """As a statement writes it, and `text` takes it."""
    return sql.Literal(value).as_string().replace(":", r"\:")
