"""What tests of the store do to a PostgreSQL, and put into it."""

from typing import Any
from uuid import UUID

import psycopg

from app.domain import Box, PublicId, StoredFace, Vector
from app.store import faces


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
