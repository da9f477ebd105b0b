"""How much of a request body is taken in, of each request and of all at once, and how slowly."""

import asyncio
import re
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import RequestEntityTooLargeException, RequestTimeoutException, ThrottlingException

# The longest pause of a client that sends a body, and the longest time for all of it.
PAUSE_S = 20
TOTAL_S = 120
STREAM_TOTAL_S = 3600
# A client that is still sending hears the answer only when its body is read; this much at most.
_DRAIN_FACTOR = 8


@dataclass(frozen=True, slots=True)
class Streamed:
    """Requests whose body is worked on as it comes: POST to paths that fully match `path`.

    Of the largest body, `max_bytes`, no more than `held_bytes` are in memory at once.
    """

    path: re.Pattern[str]
    max_bytes: int
    held_bytes: int

    def covers(self, scope: Scope) -> bool:
        return scope["method"] == "POST" and self.path.fullmatch(scope["path"]) is not None


class BodyLimit:
    """ASGI middleware that counts what clients send.

    Args:
        app: what it protects.
        max_bytes: the largest body.
        max_buffered_bytes: all bodies whose requests are not answered yet.
        streamed: what has limits of its own.
    """

    def __init__(
        self, app: ASGIApp, max_bytes: int, max_buffered_bytes: int, streamed: Streamed | None = None
    ) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._max_buffered_bytes = max_buffered_bytes
        self._streamed = streamed
        self._buffered = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        streamed = self._streamed if self._streamed is not None and self._streamed.covers(scope) else None
        max_bytes = streamed.max_bytes if streamed else self._max_bytes
        most_held = streamed.held_bytes if streamed else max_bytes
        received = held = 0
        complete = False
        deadline = asyncio.get_running_loop().time() + (STREAM_TOTAL_S if streamed else TOTAL_S)

        async def counted() -> Message:
            nonlocal received, held, complete
            if complete:  # all that can come now is the disconnect
                return await receive()
            message = await _in_time(receive, deadline)
            complete = not message.get("more_body")
            size = len(message.get("body", b""))
            received += size
            more = min(size, most_held - held) if streamed else size
            held += more
            self._buffered += more
            if received > max_bytes:
                await _drain(receive, message, _DRAIN_FACTOR * self._max_bytes, deadline)
                raise RequestEntityTooLargeException
            if self._buffered > self._max_buffered_bytes:
                await _drain(receive, message, self._max_bytes, deadline)
                raise ThrottlingException
            return message

        try:
            await self._app(scope, counted, send)
        finally:
            self._buffered -= held


async def _in_time(receive: Receive, deadline: float) -> Message:
    try:
        async with asyncio.timeout_at(min(deadline, asyncio.get_running_loop().time() + PAUSE_S)):
            return await receive()
    except TimeoutError:
        raise RequestTimeoutException from None


async def _drain(receive: Receive, message: Message, at_most: int, deadline: float) -> None:
    """Read and throw away the rest of a body."""
    drained = 0
    while message.get("more_body") and drained < at_most:
        message = await _in_time(receive, deadline)
        drained += len(message.get("body", b""))
