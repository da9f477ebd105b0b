"""The limits on request bodies."""

import asyncio
from collections.abc import Iterable

import pytest
from starlette.types import Message, Receive, Scope, Send

from app.api import body_limit
from app.api.body_limit import BodyLimit
from app.errors import RequestEntityTooLargeException, RequestTimeoutException, ThrottlingException

SCOPE: Scope = {"type": "http"}


async def read_all(_: Scope, receive: Receive, __: Send) -> None:
    while (await receive()).get("more_body"):
        pass


async def send(_: Message) -> None:
    pass


def sender(sizes: Iterable[int], *, ends: bool = True) -> Receive:
    """A client that sends pieces of these sizes, and then ends or falls silent."""
    pieces = [{"type": "http.request", "body": bytes(size), "more_body": True} for size in sizes]
    if ends:
        pieces[-1]["more_body"] = False
    left = iter(pieces)

    async def receive() -> Message:
        try:
            return next(left)
        except StopIteration:
            await asyncio.Event().wait()
            raise

    return receive


def test_a_body_within_the_limits_passes() -> None:
    asyncio.run(BodyLimit(read_all, 100, 1000)(SCOPE, sender([50, 50]), send))


def test_a_body_over_the_limit_is_refused() -> None:
    with pytest.raises(RequestEntityTooLargeException):
        asyncio.run(BodyLimit(read_all, 100, 1000)(SCOPE, sender([50, 51, 99]), send))


def test_all_bodies_together_are_bounded_and_answered_ones_are_forgotten() -> None:
    async def run() -> None:
        released = asyncio.Event()

        async def hold(scope: Scope, receive: Receive, send: Send) -> None:
            await read_all(scope, receive, send)
            await released.wait()

        limit = BodyLimit(hold, 100, 250)
        held = [asyncio.create_task(limit(SCOPE, sender([100]), send)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(ThrottlingException):
            await limit(SCOPE, sender([100]), send)
        released.set()
        await asyncio.gather(*held)
        await limit(SCOPE, sender([100]), send)

    asyncio.run(run())


def test_a_body_that_trickles_in_for_ever_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_limit, "TOTAL_S", 0.1)

    async def trickle() -> Message:
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b"a", "more_body": True}

    with pytest.raises(RequestTimeoutException):
        asyncio.run(BodyLimit(read_all, 10_000, 100_000)(SCOPE, trickle, send))


def test_a_client_that_falls_silent_in_its_body_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_limit, "PAUSE_S", 0.05)
    with pytest.raises(RequestTimeoutException):
        asyncio.run(BodyLimit(read_all, 100, 1000)(SCOPE, sender([10], ends=False), send))
