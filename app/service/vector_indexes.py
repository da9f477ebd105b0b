"""Rules of the indexes of vectors: which collections have one, and who builds it (docs/adr/0018)."""

import logging
import time
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from app.errors import ServiceUnavailableError
from app.store import queue
from app.store import vector_indexes as store
from app.store.database import Database, StatementFailedError
from app.store.queue import Claim, Place
from app.store.vector_index_names import stem_of
from app.store.vector_indexes import Asked, Crowd

log = logging.getLogger(__name__)

KIND = "vector_index"
"""A job that makes the index of one collection be as it should; its subject is the index's stem."""

# A collection around the limit must not be built an index again and again.
_KEPT_DOWN_TO = 0.5
_TURN_WAIT = timedelta(seconds=10)
_FAILED_WAIT = timedelta(minutes=5)


class VectorIndexes:
    """Builds an index for each large collection, and takes away those that nobody needs.

    Args:
        maintenance: the database itself, past a connection pooler, with statements that may take any time.
        least_rows: how many faces, or users, a collection with an index has; 0: none has one.
        memory_mb: what the database may take to build one.
    """

    def __init__(self, database: Database, maintenance: Database, least_rows: int, memory_mb: int) -> None:
        self._database = database
        self._maintenance = maintenance
        self._least_rows = least_rows
        self._memory_mb = memory_mb

    async def look(self) -> None:
        """Queue a job for each index that is missing, not needed any more, or was left half built."""
        async with self._database.session(long=True) as session:
            large = await self._large(session)
            there = await store.present(session)
            whole = {index.stem for index in there if index.valid}
            wrong = {index.stem for index in there if not index.valid or index.stem not in large}
            wrong |= {stem for stem, crowd in large.items() if self._is_due(crowd)} - whole
            for stem in sorted(wrong):
                await queue.put_if_absent(session, queue.INDEXES, KIND, stem)

    async def work(self, claim: Claim) -> None:
        """Make one index be as it should.

        Raises:
            ServiceUnavailableError: the database can't be reached.
        """
        wait = _TURN_WAIT
        try:
            done = await self._mend(claim.subject)
        except (ServiceUnavailableError, StatementFailedError) as error:
            # The cause may be want of space or memory, which is still there a moment later.
            done, wait = False, _FAILED_WAIT
            log.warning("an index of vectors could not be made: %s", _kind_of(error))
        async with self._database.session() as session:
            if done:
                await queue.finish(session, claim)
            else:
                await queue.give_back(session, claim, wait, untried=True)

    async def take_away(self, place: Place) -> None:
        """Leave a collection without its indexes, for many of its vectors are about to change.

        They are built again when `look` finds that no rebuild of it is under way any more.
        """
        async with self._database.session() as session:
            names = [index.name for index in await store.present(session) if index.stem in _stems(place)]
        if names:
            async with self._maintenance.alone() as connection:
                for name in names:
                    await store.drop(connection, name)

    async def _mend(self, stem: str) -> bool:
        """Build or drop what a stem stands for; False while somebody else builds."""
        async with self._maintenance.alone() as connection:
            if not await store.take_turn(connection):
                return False
            crowd = (await self._large(connection)).get(stem)
            there = [index for index in await store.present(connection) if index.stem == stem]
            for index in there:
                if crowd is None or not index.valid:
                    await store.drop(connection, index.name)
            if crowd is not None and self._is_due(crowd) and not any(index.valid for index in there):
                began = time.monotonic()
                await store.build(connection, crowd, self._memory_mb)
                log.info("an index of vectors was built in %.0f s", time.monotonic() - began)
            return True

    async def _large(self, session: Asked) -> dict[str, Crowd]:
        """Collections that may have an index, by its stem."""
        if not self._least_rows or not await store.are_possible(session):
            return {}
        kept = max(1, int(_KEPT_DOWN_TO * self._least_rows))
        return {crowd.stem: crowd for crowd in await store.crowds(session, kept, self._least_rows)}

    def _is_due(self, crowd: Crowd) -> bool:
        return crowd.rows >= self._least_rows and not crowd.rebuilding


async def forget(session: AsyncConnection, place: Place) -> None:
    """Queue the end of the indexes of a collection that this transaction erases."""
    for index in await store.present(session):
        if index.stem in _stems(place):
            await queue.put_if_absent(session, queue.INDEXES, KIND, index.stem)


def _stems(place: Place) -> set[str]:
    return {stem_of(table.name, place) for table in store.TABLES}


def _kind_of(error: Exception) -> str:
    """The class of the driver's error: its text may quote a row."""
    cause = getattr(error.__cause__, "orig", None)
    return str(error) if cause is None else type(cause).__name__
