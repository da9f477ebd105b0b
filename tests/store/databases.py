"""What tests of the store do to a PostgreSQL, and put into it."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

import numpy as np
import psycopg

from app.domain import Box, PublicId, StoredFace, Vector
from app.store import collections, faces
from app.store.database import Database
from app.store.queue import Place

Vectors = np.ndarray[Any, Any]


def execute(url: str, statements: str) -> list[tuple[Any, ...]]:
    """Run statements together; the rows of the first, empty where it has none."""
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        cursor = connection.execute(statements.encode())
        return cursor.fetchall() if cursor.description else []


def numbered(number: int, vector: Vector) -> faces.NewFace:
    """A face whose id is a number."""
    stored = StoredFace(
        UUID(int=number), UUID(int=7), PublicId("a", "a"), None, Box(0.1, 0.2, 0.3, 0.4), 99.0
    )
    return faces.NewFace(stored, vector)


async def fill(database: Database, place: Place, vectors: Iterable[Vector], first: int) -> None:
    """A collection's faces, whose ids are numbers."""
    async with database.session() as session:
        await collections.create(session, *place, "1.0")
        await faces.add(
            session, *place, [numbered(number, vector) for number, vector in enumerate(vectors, first)]
        )


def units(count: int, size: int, seed: int = 0) -> Vectors:
    """Vectors of unit length that point anywhere, (count, size)."""
    drawn = np.random.default_rng(seed).normal(size=(count, size)).astype(np.float32)
    return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True))
