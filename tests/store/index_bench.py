"""A database, and what builds indexes in it, from few faces on."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar

from app.domain import Vector
from app.service.vector_indexes import VectorIndexes
from app.store import faces, queue, vector_indexes
from app.store.database import Database
from app.store.queue import Place
from tests.store import databases
from tests.store.databases import Vectors, execute

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

    async def fill(self, place: Place, vectors: Vectors, first: int = 1) -> None:
        """Faces whose ids are numbers."""
        await databases.fill(self.database, place, vectors, first)

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


def units(count: int, seed: int = 0, size: int = SIZE) -> Vectors:
    return databases.units(count, size, seed)
