"""How much of what they should find searches find: some are done again, exactly, beside the answer."""

import asyncio
import logging
import time
from dataclasses import dataclass
from uuid import UUID

from app.domain import Vector
from app.errors import ServiceUnavailableError
from app.metrics import Metrics
from app.store import faces as store
from app.store.database import Database, StatementFailedError

log = logging.getLogger(__name__)

# An exact search of a million faces takes some hundred milliseconds of one core of the database.
EVERY_S = 10.0


@dataclass(frozen=True, slots=True)
class DoneSearch:
    """A search and the ids of the faces that it found."""

    place: tuple[str, str]
    model: str
    probe: Vector
    min_cosine: float
    limit: int
    leave_out: UUID | None
    found: frozenset[UUID]


class RecallSampler:
    """Compares a search now and then with an exact one that no index takes part in."""

    def __init__(self, database: Database, metrics: Metrics) -> None:
        self._database = database
        self._metrics = metrics
        self._next_at = 0.0
        self._running: set[asyncio.Task[None]] = set()

    def offer(self, search: DoneSearch) -> None:
        """Sample a search, if it is time; its answer does not wait."""
        if self._running or time.monotonic() < self._next_at:
            return
        self._next_at = time.monotonic() + EVERY_S
        task = asyncio.create_task(self._compare(search))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _compare(self, search: DoneSearch) -> None:
        try:
            exact = await store.nearest(
                self._database,
                *search.place,
                search.probe,
                model=search.model,
                min_cosine=search.min_cosine,
                limit=search.limit,
                leave_out=search.leave_out,
                by_index=False,
            )
        except (ServiceUnavailableError, StatementFailedError) as error:
            log.warning("a search could not be sampled: %s", type(error).__name__)
            return
        self._metrics.recall_wanted.inc(len(exact))
        self._metrics.recall_found.inc(len({face.face_id for face, _ in exact} & search.found))

    async def aclose(self) -> None:
        """Give up what is under way."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
