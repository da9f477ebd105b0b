"""The inference pool: bounded in length and in time, and never blocking the event loop."""

import asyncio
import queue
import threading
import time

import pytest

from app.engine import heap
from app.engine import pool as pools
from app.engine.pool import InferencePool
from app.errors import ThrottlingException
from app.metrics import Metrics


def test_work_runs_on_all_threads_at_once() -> None:
    async def run() -> None:
        pool = InferencePool(3, 64, 10, Metrics())
        together = threading.Barrier(3, timeout=5)
        assert len(await asyncio.gather(*(pool.run(together.wait) for _ in range(3)))) == 3
        pool.close()

    asyncio.run(run())


def test_a_full_queue_is_throttled_and_the_others_are_served() -> None:
    async def run() -> None:
        pool = InferencePool(1, 64, 10, Metrics())
        gate = threading.Event()
        admitted = [asyncio.create_task(pool.run(gate.wait)) for _ in range(65)]
        await asyncio.sleep(0)
        with pytest.raises(ThrottlingException):
            await pool.run(gate.wait)
        assert pool.waiting == 64
        gate.set()
        assert await asyncio.gather(*admitted) == [True] * 65
        await asyncio.sleep(0.01)
        assert pool.waiting == 0
        assert await pool.run(lambda: "again") == "again"
        pool.close()

    asyncio.run(run())


def test_waiting_past_the_deadline_is_throttled_but_work_that_began_is_finished() -> None:
    async def run() -> None:
        pool = InferencePool(1, 64, 0.1, Metrics())
        gate = threading.Event()
        running = asyncio.create_task(pool.run(gate.wait))
        await asyncio.sleep(0.02)
        with pytest.raises(ThrottlingException):
            await pool.run(lambda: "late")
        gate.set()
        assert await running is True
        pool.close()

    asyncio.run(run())


def test_an_abandoned_call_keeps_its_place_until_its_thread_is_free() -> None:
    async def run() -> None:
        pool = InferencePool(1, 64, 10, Metrics())
        gate = threading.Event()
        abandoned = asyncio.create_task(pool.run(gate.wait))
        await asyncio.sleep(0.02)
        abandoned.cancel()
        waiting = asyncio.create_task(pool.run(lambda: "done"))
        await asyncio.sleep(0.02)
        assert pool.waiting == 1
        gate.set()
        assert await waiting == "done"
        pool.close()

    asyncio.run(run())


def test_errors_of_the_work_reach_the_caller() -> None:
    async def run() -> None:
        pool = InferencePool(1, 64, 10, Metrics())
        with pytest.raises(ZeroDivisionError):
            await pool.run(lambda: 1 / 0)
        pool.close()

    asyncio.run(run())


def test_the_event_loop_goes_on_while_threads_work() -> None:
    async def run() -> int:
        pool = InferencePool(1, 64, 10, Metrics())
        work = asyncio.create_task(pool.run(lambda: time.sleep(0.2)))
        turns = 0
        while not work.done():
            await asyncio.sleep(0.005)
            turns += 1
        pool.close()
        return turns

    assert asyncio.run(run()) > 5


def test_what_images_took_is_given_back_some_time_after_they_were_worked_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given_back: queue.SimpleQueue[str] = queue.SimpleQueue()
    monkeypatch.setattr(heap, "give_back", lambda: given_back.put(threading.current_thread().name))
    monkeypatch.setattr(pools, "KEPT_S", 0.2)

    async def run() -> None:
        pool = InferencePool(1, 64, 10, Metrics())
        for _ in range(2):
            await asyncio.sleep(0.3)
            assert given_back.empty()
            await pool.run(lambda: None)
            assert await asyncio.to_thread(given_back.get, timeout=5) == "inference_0"
        await pool.run(lambda: None)
        await asyncio.sleep(0.01)
        pool.close()
        await asyncio.sleep(0.3)

    asyncio.run(run())
    assert given_back.empty()
