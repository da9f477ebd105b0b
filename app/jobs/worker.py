"""The loop of a worker: claims jobs, keeps their leases, and ends what it has in hand when it is to stop."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias
from uuid import uuid4

from app import logs
from app.errors import ServiceUnavailableError, StorageUnavailableError
from app.metrics import Metrics
from app.store import queue
from app.store.database import Database, StatementFailedError
from app.store.queue import Claim
from app.tracing import NoTraces, Tracer

log = logging.getLogger(__name__)

Handler: TypeAlias = Callable[[Claim], Awaitable[None]]

# After how long the jobs of a killed worker return, and how often a living one keeps its own.
LEASE = timedelta(seconds=15)
_RENEW_S = 4.0
_POLL_S = 0.5
_DATABASE_WAIT_S = 1.0
_GIVE_BACK_TRIES = 20
_STORAGE_WAIT = timedelta(seconds=30)
_UNFORESEEN_WAIT = timedelta(minutes=1)
_STOP_S = 25.0
# One line for each of ten thousand photos says less than the metrics do.
_QUIET = frozenset({"photo"})


@dataclass(frozen=True, slots=True)
class Lane:
    """Jobs of one kind of need: what they are called, how many run at once, and what does them by kind."""

    name: str
    at_once: int
    handlers: Mapping[str, Handler]


class Worker:
    """Works on lanes until it is told to stop.

    Handlers end their job in the queue themselves, in the transaction of what the job brought. A handler
    that raises gives the job back.
    """

    def __init__(
        self, database: Database, metrics: Metrics, lanes: tuple[Lane, ...], tracer: Tracer | None = None
    ) -> None:
        self._database = database
        self._metrics = metrics
        self._lanes = lanes
        self._tracer = tracer or NoTraces()
        self._stopping = asyncio.Event()
        self._in_hand: dict[int, Claim] = {}
        for lane in lanes:
            for kind in lane.handlers:
                metrics.jobs_ended.labels(kind)  # shown from the start, as 0

    def stop(self) -> None:
        """Claim nothing more; `run` ends when what is in hand is done."""
        self._stopping.set()

    async def run(self) -> None:
        """Work. A failing database is waited for."""
        renewing = asyncio.create_task(self._renew())
        try:
            await asyncio.gather(*(self._serve(lane) for lane in self._lanes))
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)

    async def _serve(self, lane: Lane) -> None:
        running: set[asyncio.Task[None]] = set()
        while not self._stopping.is_set():
            claimed = await self._claim(lane, lane.at_once - len(running))
            for claim in claimed:
                self._in_hand[claim.job_id] = claim
                running.add(asyncio.create_task(self._work(lane, claim)))
            self._metrics.jobs_in_hand.labels(lane.name).set(len(running))
            if len(running) == lane.at_once or (claimed and running):
                _, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            else:
                running = await self._rest(running)
        if running:
            _, left = await asyncio.wait(running, timeout=_STOP_S)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    async def _rest(self, running: set[asyncio.Task[None]]) -> set[asyncio.Task[None]]:
        """Nothing is due: wait until a job is done, it is time to look again, or to stop."""
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({*running, stopping}, timeout=_POLL_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
        return {task for task in running if not task.done()}

    async def _claim(self, lane: Lane, most: int) -> list[Claim]:
        try:
            async with self._database.session() as session:
                return await queue.claim(session, lane.name, most, LEASE)
        except (ServiceUnavailableError, StatementFailedError) as error:
            log.warning("no job can be claimed: %s", type(error).__name__)
            await asyncio.sleep(_DATABASE_WAIT_S)
            return []

    async def _work(self, lane: Lane, claim: Claim) -> None:
        correlation_id = claim.correlation_id or str(uuid4())
        with logs.correlated(correlation_id), self._tracer.request(claim.kind, {}) as tell:
            began = time.perf_counter()
            await self._do(lane, claim)
            self._metrics.jobs_ended.labels(claim.kind).inc()
            seconds = round(time.perf_counter() - began, 3)
            seen: dict[str, str | int | float] = {
                "kind": claim.kind,
                "attempt": claim.attempts,
                "seconds": seconds,
            }
            tell(f"job {claim.kind}", {"correlation_id": correlation_id, **seen})
            log.log(logging.DEBUG if claim.kind in _QUIET else logging.INFO, "job", extra=seen)

    async def _do(self, lane: Lane, claim: Claim) -> None:
        try:
            await lane.handlers[claim.kind](claim)
        except StorageUnavailableError:
            await self._give_back(claim, _STORAGE_WAIT)
        except (ServiceUnavailableError, StatementFailedError) as error:
            log.warning("a job waits for the database: %s", type(error).__name__)
            await self._give_back(claim, timedelta(0))
        except Exception:
            log.exception("a %s job failed in a way that nobody foresaw", claim.kind)
            await self._give_back(claim, _UNFORESEEN_WAIT)
        finally:
            self._in_hand.pop(claim.job_id, None)

    async def _give_back(self, claim: Claim, delay: timedelta) -> None:
        """Let somebody else have it, as soon as the database is there to be told; else its lease ends."""
        for _ in range(_GIVE_BACK_TRIES):
            try:
                async with self._database.session() as session:
                    await queue.give_back(session, claim, delay, untried=True)
                return
            except (ServiceUnavailableError, StatementFailedError):
                await asyncio.sleep(_DATABASE_WAIT_S)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(_RENEW_S)
            if not self._in_hand:
                continue
            try:
                async with self._database.session() as session:
                    await queue.renew(session, list(self._in_hand.values()), LEASE)
            except (ServiceUnavailableError, StatementFailedError):
                log.warning("leases could not be renewed")
