"""Sketches: vectors short enough for a graph to find its way among them (docs/adr/0018).

A sketch holds a vector's parts along the directions in which the vectors of its collection are widest, so
that products of sketches are near those of vectors. A function of PostgreSQL makes them, one for each index:
it has the index's name and ends with it.
"""

import asyncio
from collections.abc import Sequence

import numpy as np
from psycopg import sql
from sqlalchemy import Column, ColumnElement, LargeBinary, Table, Text, cast, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.queue import Place
from app.store.vectors import Halfvec, has_size

# For 99 of 100 probes of lfw-dev, with directions of other people, the mate then stands at least 3.8 standard
# deviations above strangers; with 96 parts 3.2, with whole vectors 5.2.
_MOST_PARTS = 128
# So many vectors tell the directions.
_SAMPLE = 5_000
# Directions are written as whole numbers: every process of PostgreSQL's keeps what it reads.
_SCALE = 1000
# Of a vector that PostgreSQL sends.
_HEADER_BYTES = 4
_SCHEMA = text(
    "SELECT nspname FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace"
    " WHERE extname = 'vector'"
)


def parts_of(size: int) -> int:
    """How long a sketch of a vector of this size is."""
    return min(size, _MOST_PARTS)


def sketched(name: str, vector: ColumnElement[list[float]], size: int) -> ColumnElement[list[float]]:
    """The sketch that the index of this name has of a vector."""
    made: ColumnElement[list[float]] = getattr(func, name)(vector)
    return cast(made, Halfvec(parts_of(size)))


async def define(connection: AsyncConnection, name: str, table: Table, place: Place, size: int) -> bool:
    """Make the function of an index for the vectors that its collection holds; False where there are none."""
    embedding: Column[list[float]] = table.c.embedding
    *_, key = table.primary_key.columns
    sample = await connection.scalars(
        select(func.halfvec_send(embedding, type_=LargeBinary))
        .where(
            table.c.account_id == place[0],
            table.c.collection_id == place[1],
            embedding.is_not(None),
            has_size(embedding, size),
        )
        .order_by(func.md5(cast(key, Text)))
        .limit(_SAMPLE)
    )
    rows = sample.all()
    if not rows:
        return False
    schema = sql.Identifier(str(await connection.scalar(_SCHEMA))).as_string()
    parts = await asyncio.to_thread(_parts, rows, size, schema)
    # Every name in it is whole: restoring a backup builds indexes without a search path.
    await connection.exec_driver_sql(
        f"CREATE OR REPLACE FUNCTION {name}(v {schema}.halfvec) RETURNS {schema}.halfvec "
        "LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$ BEGIN RETURN "
        f"{parts}::pg_catalog.float8[]::{schema}.halfvec; END $$"
    )
    return True


async def drop(connection: AsyncConnection, name: str) -> None:
    """Take the function of an index away that is gone."""
    await connection.execute(text(f"DROP FUNCTION IF EXISTS {name}"))


def _parts(rows: Sequence[bytes], size: int, schema: str) -> str:
    """A vector `v` along the directions of the largest mean squares of vectors as PostgreSQL sends them."""
    vectors = np.array([np.frombuffer(row, ">f2", offset=_HEADER_BYTES) for row in rows], np.float32)
    _, directions = np.linalg.eigh(vectors.T @ vectors)
    # The operator's products are negative.
    whole = np.rint(-_SCALE * directions.T[::-1][: parts_of(size)]).astype(int)
    parts = (
        f"v OPERATOR({schema}.<#>) '[{','.join(map(str, row))}]'::{schema}.halfvec" for row in whole.tolist()
    )
    return f"ARRAY[{', '.join(parts)}]"
