"""How much of a request body is taken in, of each request and of all at once, and how slowly."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import RequestEntityTooLargeException, RequestTimeoutException, ThrottlingException

# The longest pause of a client that sends a body, and the longest time for all of it.
PAUSE_S = 20
TOTAL_S = 120
# A client that is still sending hears the answer only when its body is read; this much at most.
_DRAIN_FACTOR = 8


class BodyLimit:
    """ASGI middleware that counts what clients send.

    Args:
        app: what it protects.
        max_bytes: the largest body.
        max_buffered_bytes: all bodies whose requests are not answered yet.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, max_buffered_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._max_buffered_bytes = max_buffered_bytes
        self._buffered = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        received = 0
        complete = False
        deadline = asyncio.get_running_loop().time() + TOTAL_S

        async def counted() -> Message:
            nonlocal received, complete
            if complete:  # all that can come now is the disconnect
                return await receive()
            message = await _in_time(receive, deadline)
            complete = not message.get("more_body")
            size = len(message.get("body", b""))
            received += size
            self._buffered += size
            if received > self._max_bytes:
                await _drain(receive, message, _DRAIN_FACTOR * self._max_bytes, deadline)
                raise RequestEntityTooLargeException
            if self._buffered > self._max_buffered_bytes:
                await _drain(receive, message, self._max_bytes, deadline)
                raise ThrottlingException
            return message

        try:
            await self._app(scope, counted, send)
        finally:
            self._buffered -= received


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
