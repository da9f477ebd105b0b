"""Search in collections of made-up people: `python -m app bench --search 10000,100000`.

In an embedded database of its own that is gone afterwards.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text

from app.domain import Box, StoredFace, Vector
from app.measure.loads import Load
from app.measure.spread import Spread
from app.service.vector_indexes import VectorIndexes
from app.settings import Settings
from app.store import collections, faces, migrate, queue, transfer
from app.store.database import Database
from app.store.embedded import open_database
from app.store.queue import Place
from app.store.tables import faces as faces_table
from app.store.transfer import MovedFace
from app.store.vector_index_names import name_of
from app.store.vector_memory import VectorMemory

ACCOUNT = "000000000000"
MODEL = "1.0"
VECTOR_SIZE = 512
# What the Rekognition door takes where a call says nothing: Similarity 80, and 80 matches.
MIN_COSINE, LIMIT = 0.28, 80
CLIENTS = (1, 16)
SEARCHES = 400
PROBES = 500
WARMING = 10
# How many exact answers an index is held to; each is a pass over all faces.
COMPARED = 200
STORED = 200
_PAGE = 5000
_LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
_INDEX_SIZE = text("SELECT pg_relation_size(to_regclass(:name))")
# Those who were probed have one photo again.
_FORGET_STORED = text(
    "DELETE FROM faces WHERE collection_id = :collection AND created_at > now() - interval '1 day'"
)

Search = Callable[[Vector], Awaitable[list[UUID]]]


@dataclass(frozen=True, slots=True)
class SearchBench:
    """One way to search a collection of so many faces.

    Of `mated` probes the mate is the exact nearest; of `mates_first`, a share of them, it comes first.
    `matches` is the share of all exact matches that are found. `stored_per_second` faces are stored one by
    one beside one client who searches.
    """

    faces: int
    way: str
    loads: tuple[Load, ...]
    mated: int
    mates_first: float
    matches: float
    stored_per_second: float
    index_mb: float


@dataclass(frozen=True, slots=True)
class Probes:
    """Second photos of enrolled people, with the ids of their first ones."""

    vectors: NDArray[np.float32]
    mates: list[UUID]


def measure(settings: Settings, sizes: Sequence[int]) -> list[SearchBench]:
    """Each size in turn, searched exactly, and by an index if it has as many faces as are given one."""
    with tempfile.TemporaryDirectory() as folder:
        own = settings.model_copy(update={"data_dir": Path(folder), "database_url": None})
        with open_database(own) as ready:
            url = migrate.direct_url(ready)
            migrate.upgrade(url)
            return asyncio.run(_measure(url, settings, sizes))


async def _measure(url: str, settings: Settings, sizes: Sequence[int]) -> list[SearchBench]:
    database = Database(url, pool_size=max(CLIENTS) + 1, max_overflow=0, statement_timeout_s=0)
    try:
        found = []
        for size in sizes:
            place = (ACCOUNT, f"bench-{size}")
            probes = await fill(database, place, size)
            found += await measure_collection(database, place, size, probes, settings)
        return found
    finally:
        await database.close()


async def fill(database: Database, place: Place, size: int) -> Probes:
    """A collection with one face of each of so many people, and probes of some of them."""
    spread, draw = Spread.load(), np.random.default_rng(size)
    asked = set(draw.choice(size, min(PROBES, size), replace=False).tolist())
    vectors, mates = [], []
    async with database.session() as session:
        await transfer.take_time(session)
        await collections.create(session, *place, MODEL)
        for first in range(0, size, _PAGE):
            centres = spread.centres(draw, min(_PAGE, size - first))
            moved = [_moved(draw, vector) for vector in spread.photos(draw, centres)]
            await transfer.add_faces(session, place, moved)
            seconds = [number for number in range(len(centres)) if first + number in asked]
            vectors.append(spread.photos(draw, centres[seconds]))
            mates += [moved[number].face_id for number in seconds]
    async with database.alone() as connection:
        await connection.exec_driver_sql("VACUUM ANALYZE faces")
    return Probes(np.concatenate(vectors), mates)


async def measure_collection(
    database: Database, place: Place, size: int, probes: Probes, settings: Settings
) -> list[SearchBench]:
    """A collection that is there and has no index yet."""
    search = partial(_ids, database, place, by_index=False)
    exact = [await search(probe) for probe in probes.vectors[:COMPARED]]
    measured = partial(_way, database, place, size, probes=probes, exact=exact)
    found = [await measured("exactly", search)]
    memory = VectorMemory(database, settings.search_memory_mb)
    if (seconds := await _read(memory, place)) is not None:
        search = partial(_ids, database, place, memory=memory)
        way = f"with {memory.nbytes / 1e6:.0f} MB in memory, read in {seconds:.1f} s"
        found.append(await measured(way, search))
    await memory.aclose()
    if 0 < settings.vector_index_faces <= size:
        seconds = await _build(database, settings)
        found.append(await measured(f"by index, built in {seconds:.0f} s", partial(_ids, database, place)))
    return found


async def _read(memory: VectorMemory, place: Place) -> float | None:
    """As after a first search; in seconds, or None where it holds nothing of the collection."""
    began = time.perf_counter()
    memory.of(faces_table, place, VECTOR_SIZE)
    await memory.wait()
    held = memory.of(faces_table, place, VECTOR_SIZE)
    return None if held is None else time.perf_counter() - began


async def _build(database: Database, settings: Settings) -> float:
    """As a worker does it; in seconds."""
    began = time.perf_counter()
    indexes = VectorIndexes(database, database, settings.vector_index_faces, settings.vector_index_memory_mb)
    await indexes.look()
    async with database.session() as session:
        claims = await queue.claim(session, queue.INDEXES, 1, timedelta(hours=9))
    for claim in claims:
        await indexes.work(claim)
    return time.perf_counter() - began


async def _way(
    database: Database,
    place: Place,
    size: int,
    way: str,
    search: Search,
    *,
    probes: Probes,
    exact: Sequence[Sequence[UUID]],
) -> SearchBench:
    answers = [await search(probe) for probe in probes.vectors[: len(exact)]]
    mated = [
        (found[:1], wanted[0])
        for found, wanted, mate in zip(answers, exact, probes.mates, strict=False)
        if wanted[:1] == [mate]
    ]
    matches = [len(set(found) & set(wanted)) for found, wanted in zip(answers, exact, strict=True)]
    loads = [await _load(search, probes, clients) for clients in CLIENTS]
    return SearchBench(
        size,
        way,
        tuple(loads),
        len(mated),
        statistics.fmean(found == [mate] for found, mate in mated),
        sum(matches) / sum(map(len, exact)),
        await _stored_while_searching(database, place, probes, search),
        await _megabytes(database, place),
    )


async def _load(search: Search, probes: Probes, clients: int) -> Load:
    times: list[float] = []
    turns = iter(range(clients * WARMING + SEARCHES))

    async def client() -> None:
        for turn in turns:
            began = time.perf_counter()
            await search(probes.vectors[turn % len(probes.vectors)])
            times.append(1000 * (time.perf_counter() - began))

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    rate = len(times) / (time.perf_counter() - began)
    # Connections have prepared their statements by then.
    return Load.of(clients, times[clients * WARMING :], rate)


async def _stored_while_searching(database: Database, place: Place, probes: Probes, search: Search) -> float:
    """Faces a second that one client stores, one a transaction, while another one searches."""

    async def search_on() -> None:
        for probe in cycle(probes.vectors):
            await search(probe)

    searching = asyncio.create_task(search_on())
    began = time.perf_counter()
    for vector in probes.vectors[:STORED]:
        new = StoredFace(uuid4(), uuid4(), None, None, Box(0.1, 0.2, 0.3, 0.4), 99.0)
        async with database.session() as session:
            await faces.add(session, *place, [faces.NewFace(new, vector)])
    rate = STORED / (time.perf_counter() - began)
    searching.cancel()
    await asyncio.gather(searching, return_exceptions=True)
    async with database.session() as session:
        await session.execute(_FORGET_STORED, {"collection": place[1], "loaded": _LONG_AGO})
    return rate


async def _ids(database: Database, place: Place, probe: Vector, **how: Any) -> list[UUID]:
    found = await faces.nearest(
        database, *place, probe, model=MODEL, min_cosine=MIN_COSINE, limit=LIMIT, **how
    )
    return [face.face_id for face, _ in found]


async def _megabytes(database: Database, place: Place) -> float:
    """Of the collection's index of vectors; 0 without one."""
    name = name_of(faces_table.name, place, VECTOR_SIZE)
    async with database.session() as session:
        return float(await session.scalar(_INDEX_SIZE, {"name": name}) or 0) / 1e6


def _moved(draw: np.random.Generator, vector: Vector) -> MovedFace:
    face_id = UUID(bytes=draw.bytes(16), version=4)
    return MovedFace(
        face_id, face_id, None, None, None, 0.1, 0.2, 0.3, 0.4, 99.0, _LONG_AGO, None,
        vector.astype(">f2").tobytes(),
    )  # fmt: skip
