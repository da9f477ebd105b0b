"""What a process holds in memory of the collections that it searches (docs/adr/0022).

A search takes its candidates from here, and the database ranks them, and compares besides what came after
the snapshot that was read. So nothing that is stored is missed, and nothing that is gone is found.
"""

import asyncio
import logging
import time
from dataclasses import dataclass, field, replace

import numpy as np
from sqlalchemy import Table

from app.errors import ServiceUnavailableError
from app.store import vector_pages as pages
from app.store.codes import PROJECTED_SIZE, Codes, Vectors, projection_of
from app.store.database import Database, StatementFailedError
from app.store.held import USER_ID_BYTES, Block, Held, Ids, Key, lost_by, together
from app.store.queue import Place
from app.store.tables import users

log = logging.getLogger(__name__)

LEAST_ROWS = 500
"""Collections of fewer are compared by the database as fast."""
MOST_WHOLE = 100_000
"""Of more, vectors are projected: comparing a million whole ones takes 50 ms."""

# So many bytes of codes lie in one block; while it is made its vectors take five to fifteen times as many.
_BLOCK_BYTES = 8_000_000
# When the database compares more than so many that came since, memory is brought up to date.
_MOST_FRESH, _FRESH_SHARE = 500, 0.01
_MOST_ADDED = 20_000
# Of the candidates so many may be gone before all is read again.
_MOST_GONE_SHARE = 0.1
# How long nothing is read after finding a collection too small, too large, or the database away.
_SMALL_WAIT_S, _LARGE_WAIT_S, _FAILED_WAIT_S = 5.0, 300.0, 30.0
# Reading takes at most this share of the time.
_READING_SHARE = 0.1
# What was deleted is out of memory by then; what is still searched is read again before.
_OLDEST_S, _OLD_S = 3600.0, 3000.0
_MOST_ENTRIES = 10_000


@dataclass(slots=True)
class _Entry:
    held: Held | None = None
    used_at: float = 0.0
    look_at: float = 0.0  # not before
    task: "asyncio.Task[None] | None" = field(default=None, repr=False)


class VectorMemory:
    """Reads collections that are searched, in the background, and gives up those that were not for longest.

    Args:
        most_mb: what all of it may take; 0: nothing is held.
    """

    def __init__(self, database: Database, most_mb: int) -> None:
        self._database = database
        self._most_bytes = most_mb * 1_000_000
        self._entries: dict[Key, _Entry] = {}
        # One at a time: while it is read a collection takes twice its memory.
        self._turn = asyncio.Lock()

    @property
    def nbytes(self) -> int:
        """What is held."""
        return sum(entry.held.nbytes for entry in self._entries.values() if entry.held is not None)

    def of(self, table: Table, place: Place, size: int) -> Held | None:
        """What is held of a collection now; nothing if it is small, or was not searched lately."""
        if not self._most_bytes:
            return None
        key, now = (table, place, size), time.monotonic()
        if len(self._entries) >= _MOST_ENTRIES:
            self._entries = {key: entry for key, entry in self._entries.items() if entry.held or entry.task}
        entry = self._entries.setdefault(key, _Entry())
        entry.used_at = now
        if entry.held is None or now - entry.held.read_at > _OLD_S:
            self._start(key, entry, again=True)
        return entry.held

    def forget(self, held: Held) -> None:
        """Give up what is held of a collection; it is of a server that is gone."""
        entry = self._entries.get(held.key)
        if entry is not None and entry.held is held:
            entry.held = None

    def note(self, held: Held, *, gone: float, fresh: int) -> None:
        """What a search saw: which share of candidates is gone or changed, how many rows came since."""
        entry = self._entries.get(held.key)
        if entry is None or entry.held is not held:
            return
        if gone > _MOST_GONE_SHARE:
            self._start(held.key, entry, again=True)
        elif fresh > max(_MOST_FRESH, _FRESH_SHARE * held.count):
            self._start(held.key, entry, again=held.is_scattered)

    async def wait(self) -> None:
        """Until all is read that was asked for."""
        while tasks := [entry.task for entry in self._entries.values() if entry.task is not None]:
            await asyncio.gather(*tasks)

    async def aclose(self) -> None:
        """Give up what is under way."""
        tasks = [entry.task for entry in self._entries.values() if entry.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self, key: Key, entry: _Entry, *, again: bool) -> None:
        if entry.task is None and time.monotonic() >= entry.look_at:
            entry.task = asyncio.create_task(self._read(key, entry, again=again))

    async def _read(self, key: Key, entry: _Entry, *, again: bool) -> None:
        try:
            async with self._turn:
                began = time.monotonic()
                wait = await self._bring(key, entry, again=again)
                took = time.monotonic() - began
                entry.look_at = time.monotonic() + max(wait, took / _READING_SHARE)
        except Exception as error:  # searches go on without it
            entry.look_at = time.monotonic() + _FAILED_WAIT_S
            unexpected = None if isinstance(error, ServiceUnavailableError | StatementFailedError) else error
            log.warning(
                "vectors could not be read into memory: %s", type(error).__name__, exc_info=unexpected
            )
        finally:
            entry.task = None

    async def _bring(self, key: Key, entry: _Entry, *, again: bool) -> float:
        """Read all, or what came since; for how many seconds it need not be done again."""
        if not again and entry.held is not None and await self._add(entry, entry.held):
            return self._make_room(entry)
        table, place, size = key
        async with self._database.session(long=True) as session:
            rows = await pages.count(session, table, place)
        whole = rows <= MOST_WHOLE or size <= PROJECTED_SIZE
        id_bytes = USER_ID_BYTES if table is users else pages.ID_BYTES
        is_large = rows * (2 * (size if whole else PROJECTED_SIZE) + id_bytes) > self._most_bytes
        if rows < LEAST_ROWS or is_large:
            entry.held = None
            return _LARGE_WAIT_S if is_large else _SMALL_WAIT_S
        async with self._database.snapshot() as session:
            now, (snapshot, server) = time.monotonic(), await pages.snapshot_of(session)
            reading = _Reading(None, whole=whole)
            async for part in pages.parts(session, table, place, size, rows):
                await asyncio.to_thread(reading.take, part)
            await asyncio.to_thread(reading.end)
        entry.held = None
        if reading.blocks:
            entry.held = Held(key, tuple(reading.blocks), snapshot, server, now, reading.projection)
            left = _OLDEST_S - (time.monotonic() - now)
            asyncio.get_running_loop().call_later(left, _expire, entry, now)
        return self._make_room(entry)

    async def _add(self, entry: _Entry, held: Held) -> bool:
        """Read what came since; False if all has to be read again, or had better be."""
        table, place, size = held.key
        async with self._database.snapshot() as session:
            snapshot, server = await pages.snapshot_of(session)
            came = await pages.count(session, table, place, held.snapshot)
            if server != held.server or came > _MOST_ADDED:
                return False
            reading = _Reading(held.projection, whole=held.projection is None)
            async for part in pages.parts(session, table, place, size, came, held.snapshot):
                await asyncio.to_thread(reading.take, part)
            await asyncio.to_thread(reading.end)
        # Old vectors would take the place of others among the candidates.
        if await asyncio.to_thread(held.has_any, reading.blocks):
            return False
        blocks, added = (*held.blocks, *reading.blocks), held.added + len(reading.blocks)
        if entry.held is held:  # it has not expired meanwhile
            entry.held = replace(held, blocks=blocks, snapshot=snapshot, added=added)
        return True

    def _make_room(self, newest: _Entry) -> float:
        """Give up what was not searched for longest, until all fits.

        Returns:
            For how many seconds the newest need not be read again.
        """
        read = newest.held
        for entry in sorted(self._entries.values(), key=lambda entry: (entry is newest, entry.used_at)):
            if self.nbytes <= self._most_bytes:
                break
            entry.held = None
        if newest.held is not None:
            return 0.0
        return _SMALL_WAIT_S if read is None else _LARGE_WAIT_S


def _expire(entry: _Entry, read_at: float) -> None:
    if entry.held is not None and entry.held.read_at == read_at:
        entry.held = None


class _Reading:
    """Makes blocks of what is read, and the projection, if there is to be one and there is none yet."""

    def __init__(self, projection: Vectors | None, *, whole: bool) -> None:
        self.projection = projection
        self.blocks: list[Block] = []
        self._whole = whole
        self._parts: list[tuple[Ids, Vectors]] = []

    def take(self, part: pages.Part) -> None:
        vectors = part.vectors()
        self._parts.append((part.ids, vectors))
        size = vectors.shape[1] if self._whole else PROJECTED_SIZE
        if size * sum(len(ids) for ids, _ in self._parts) >= _BLOCK_BYTES:
            self.end()

    def end(self) -> None:
        """What was taken and is in no block yet goes into one."""
        if not self._parts:
            return
        ids, parts = zip(*self._parts, strict=True)
        vectors, lost = np.concatenate(parts), 0.0
        self._parts = []
        if not self._whole:
            if self.projection is None:
                self.projection = projection_of(vectors)
            projected = vectors @ self.projection
            vectors, lost = projected, lost_by(vectors, projected)
        self.blocks.append(Block(together(ids), Codes(vectors), lost))
