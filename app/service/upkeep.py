"""What has to be done now and then, whoever works: retention, files of erased albums, old jobs, indexes."""

import logging
from datetime import timedelta
from uuid import UUID

from app.engine.similarity import SimilarityCurve
from app.images.storage import PhotoStorage
from app.service.collections import remove
from app.service.vector_indexes import VectorIndexes
from app.store import albums, index_jobs, matches, queue
from app.store.database import Database
from app.store.queue import Claim

log = logging.getLogger(__name__)

RETENTION = "retention"
FORGETTING = "forgetting"
INDEXING = "indexing"
PERIODIC = {RETENTION: timedelta(minutes=10), FORGETTING: timedelta(hours=1), INDEXING: timedelta(minutes=10)}
"""Periodic tasks by kind, and how long each rests."""

# A photo that was in hand when its album was erased may leave a thumbnail behind for this long.
_ERASE_AGAIN = timedelta(minutes=10)
_BATCH = 20


class Upkeep:
    """Does jobs that need neither photos nor a request."""

    def __init__(
        self, database: Database, storage: PhotoStorage, curve: SimilarityCurve, indexes: VectorIndexes
    ) -> None:
        self._database = database
        self._indexes = indexes
        self._storage = storage
        self._curve = curve

    async def plan(self) -> None:
        """Enter the periodic tasks; they stay in the queue for ever."""
        async with self._database.session() as session:
            for kind in PERIODIC:
                await queue.put_if_absent(session, queue.UPKEEP, kind, "")

    async def work(self, claim: Claim) -> None:
        """Do one job.

        Raises:
            ServiceUnavailableError: the database or the storage can't be reached.
        """
        if claim.kind == "erase":
            await self._erase(claim)
            return
        if claim.kind == "rematch":
            await self._rematch(claim)
            return
        if claim.kind == INDEXING:
            await self._indexes.look()
        async with self._database.session() as session:
            if claim.kind == RETENTION:
                for album in await albums.expired(session, _BATCH):
                    await remove(session, album.place)
                    log.info("an album was erased: its retention is over")
            elif claim.kind == FORGETTING:
                await index_jobs.forget_old(session)
            await queue.give_back(session, claim, PERIODIC[claim.kind], untried=True)

    async def _rematch(self, claim: Claim) -> None:
        """Match the guests of an album anew: its vectors have changed."""
        async with self._database.session() as session:
            album = await albums.by_key(session, UUID(claim.subject))
            if album is not None:
                await albums.keep_apart(session, album.place, guests=True)
                least = self._curve.cosine(album.threshold)
                await matches.match_all_guests(session, album.place, least)
            await queue.finish(session, claim)

    async def _erase(self, claim: Claim) -> None:
        """Delete the files of an album that is gone, and once more for those that came late."""
        gone = await self._storage.erase(claim.subject)
        log.info("%s files of an erased album were deleted", gone)
        async with self._database.session() as session:
            if claim.attempts > 1:
                await queue.finish(session, claim)
            else:
                await queue.give_back(session, claim, _ERASE_AGAIN)
