"""A database, and a process's memory of it whose limits are low."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from uuid import UUID

import pytest

from app.domain import Vector
from app.store import faces, held, migrate, vector_memory
from app.store.database import Database
from app.store.queue import Place
from app.store.tables import faces as faces_table
from app.store.vector_memory import VectorMemory
from tests.store import databases
from tests.store.databases import Vectors

ONE, OTHER = "111111111111", "222222222222"
PLACE = (ONE, "people")
SIZE = 256
LEAST = 20
ResultT = TypeVar("ResultT")


class Bench:
    """A database, a process's memory, and somebody else who changes what it holds."""

    def __init__(self, url: str, most_mb: int = 100) -> None:
        self.url = url
        self.database = Database(url, pool_size=6, max_overflow=0)
        self.memory = VectorMemory(self.database, most_mb)

    async def fill(self, vectors: Vectors, first: int = 1, place: Place = PLACE) -> None:
        """Faces whose ids are numbers."""
        await databases.fill(self.database, place, vectors, first)

    async def find(self, probe: Vector, place: Place = PLACE, **how: Any) -> list[tuple[int, float]]:
        how = {"model": "1.0", "min_cosine": -1.0, "limit": 20, **how}
        found = await faces.nearest(self.database, *place, probe, memory=self.memory, **how)
        return [(face.face_id.int, cosine) for face, cosine in found]

    async def exactly(self, probe: Vector, place: Place = PLACE, **how: Any) -> list[tuple[int, float]]:
        how = {"model": "1.0", "min_cosine": -1.0, "limit": 20, **how}
        found = await faces.nearest(self.database, *place, probe, by_index=False, **how)
        return [(face.face_id.int, cosine) for face, cosine in found]

    async def read(self, place: Place = PLACE, size: int = SIZE) -> None:
        """As after a search."""
        self.memory.of(faces_table, place, size)
        await self.memory.wait()

    def held(self, place: Place = PLACE, size: int = SIZE) -> held.Held | None:
        return self.memory.of(faces_table, place, size)

    async def delete(self, numbers: range) -> None:
        async with self.database.session() as session:
            await faces.remove(session, *PLACE, [UUID(int=number) for number in numbers])

    async def close(self) -> None:
        await self.memory.aclose()
        await self.database.close()


Work = Callable[[Bench], Awaitable[ResultT]]


def prepare(url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database without collections; small ones are held, and read again at once."""
    monkeypatch.setattr(vector_memory, "LEAST_ROWS", LEAST)
    monkeypatch.setattr(vector_memory, "_READING_SHARE", 1e9)
    monkeypatch.setattr(vector_memory, "_SMALL_WAIT_S", 0.0)
    migrate.upgrade(url)
    return url


def run(url: str, work: Work[ResultT], **how: Any) -> ResultT:
    async def inside() -> ResultT:
        bench = Bench(url, **how)
        try:
            return await work(bench)
        finally:
            await bench.close()

    return asyncio.run(inside())


def units(count: int, seed: int = 0) -> Vectors:
    return databases.units(count, SIZE, seed)
