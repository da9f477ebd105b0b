"""A bounded pool of inference threads. A full queue or a late turn is an answer: ThrottlingException."""

import asyncio
import contextvars
import math
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from app.engine import heap
from app.engine.watchdog import Watchdog
from app.errors import ThrottlingException
from app.metrics import Metrics

# How long what images took is kept for the next ones: giving it back takes 2 to 16 ms, and the next one as
# much longer.
KEPT_S = 10.0
# After how long a thread that wants Python's lock asks for it, in seconds. Python's own 5 ms are half of an
# image's time, which a network that only has to be started would wait.
SWITCH_S = 0.0001

T = TypeVar("T")


class InferencePool:
    """Runs image work (decode, detect, embed) on `threads` threads, off the event loop.

    Args:
        threads: how many images are worked on at once.
        queue_size: how many more may wait.
        deadline_s: how long one may wait for its turn, in seconds.
    """

    def __init__(self, threads: int, queue_size: int, deadline_s: float, metrics: Metrics) -> None:
        sys.setswitchinterval(SWITCH_S)
        self.threads = threads
        self.queue_size = queue_size
        self._deadline_s = deadline_s
        self._metrics = metrics
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="inference")
        self._watchdog = Watchdog()
        self._admitted = 0
        self._keep_until = 0.0
        self._giving_back: asyncio.TimerHandle | None = None
        metrics.inference_threads.set(threads)

    @property
    def waiting(self) -> int:
        """How many images wait for a thread now."""
        return max(0, self._admitted - self.threads)

    async def run(self, work: Callable[[], T]) -> T:
        """Run `work` in a thread of the pool and return what it returns.

        Raises:
            ThrottlingException: the queue is full, or no thread was free within the deadline.
        """
        if self._admitted >= self.threads + self.queue_size:
            self._metrics.inference_refused.labels("queue_full").inc()
            raise ThrottlingException
        self._admitted += 1
        turn = self._executor.submit(contextvars.copy_context().run, self._timed, work, time.monotonic())
        loop = asyncio.get_running_loop()
        # Work that a thread has begun keeps its place until it ends, also when nobody waits any more.
        turn.add_done_callback(lambda _: loop.call_soon_threadsafe(self._leave))
        self._metrics.inference_waiting.set(self.waiting)
        future = asyncio.wrap_future(turn)
        done, _ = await asyncio.wait({future}, timeout=self._deadline_s)
        # cancel() succeeds only before a thread has taken the work; work that runs is awaited.
        if not done and turn.cancel():
            self._metrics.inference_refused.labels("deadline").inc()
            raise ThrottlingException
        return await future

    def _leave(self) -> None:
        self._admitted -= 1
        self._metrics.inference_waiting.set(self.waiting)
        now = time.monotonic()
        if now >= self._keep_until:
            self._keep_until = now + KEPT_S
            later = asyncio.get_running_loop().call_later
            self._giving_back = later(KEPT_S, self._executor.submit, heap.give_back)

    def _timed(self, work: Callable[[], T], queued_at: float) -> T:
        self._metrics.stage_seconds.labels("queue").observe(time.monotonic() - queued_at)
        with self._metrics.inference_busy.track_inprogress(), self._watchdog.working():
            return work()

    def close(self) -> None:
        self._keep_until = math.inf
        if self._giving_back is not None:
            self._giving_back.cancel()
        self._executor.shutdown(wait=True, cancel_futures=True)
        self._watchdog.close()
