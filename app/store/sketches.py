"""Sketches: vectors short enough for a graph to find its way among them (docs/adr/0018).

A sketch holds a vector's parts along the directions in which the vectors of its collection are widest, so
that products of sketches are near those of vectors. A function of PostgreSQL makes them, one for each index:
it has the index's name and ends with it.
"""

import asyncio

import numpy as np
from numpy.typing import NDArray
from psycopg import sql
from sqlalchemy import Column, ColumnElement, cast, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain import Floats
from app.store.queue import Place
from app.store.vectors import Halfvec, has_size

# With directions of other people, the mates of 99 of 100 probes of lfw-dev would be among the 70 nearest
# sketches of a million, and among 600 with 96 parts.
_MOST_PARTS = 128
# So many vectors tell the directions.
_SAMPLE = 10_000
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


async def define(
    connection: AsyncConnection, name: str, embedding: Column[list[float]], place: Place, size: int
) -> None:
    """Make the function of an index for the vectors that its collection holds now."""
    keys = embedding.table.primary_key.columns
    rows = await connection.scalars(
        select(embedding)
        .where(
            keys["account_id"] == place[0],
            keys["collection_id"] == place[1],
            embedding.is_not(None),
            has_size(embedding, size),
        )
        # Ids are random.
        .order_by(*keys)
        .limit(_SAMPLE)
    )
    vectors = np.array([np.asarray(row, np.float32) for row in rows])
    directions = await asyncio.to_thread(_widest, vectors, parts_of(size))
    schema = sql.Identifier(str(await connection.scalar(_SCHEMA))).as_string()
    # The operator's products are negative.
    parts = ",\n".join(f"v OPERATOR({schema}.<#>) '{_literal(-row)}'::{schema}.halfvec" for row in directions)
    # Every name in it is whole: restoring a backup builds indexes without a search path.
    await connection.exec_driver_sql(
        f"CREATE OR REPLACE FUNCTION {name}(v {schema}.halfvec) RETURNS {schema}.halfvec "
        "LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$ BEGIN RETURN "
        f"ARRAY[{parts}]::pg_catalog.float8[]::{schema}.halfvec; END $$"
    )


async def drop(connection: AsyncConnection, name: str) -> None:
    """Take the function of an index away that is gone."""
    await connection.execute(text(f"DROP FUNCTION IF EXISTS {name}"))


def _widest(vectors: Floats, count: int) -> NDArray[np.float32]:
    """The directions of the largest mean squares of vectors (n, d), widest first, (count, d)."""
    _, directions = np.linalg.eigh(vectors.T @ vectors)
    return np.asarray(directions.T[::-1][:count], np.float32)


def _literal(vector: Floats) -> str:
    """As PostgreSQL writes it, in half precision."""
    return f"[{','.join(f'{value:.4g}' for value in vector.tolist())}]"
