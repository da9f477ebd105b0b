"""No request body over the limit is taken in; the rest of it is read and thrown away."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import RequestEntityTooLargeException

# A client that is still sending hears the answer only when its body is read; this much at most.
_DRAIN_FACTOR = 8


class BodyLimit:
    """ASGI middleware that counts what a client sends.

    Args:
        app: what it protects.
        max_bytes: the largest body.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_bytes:
                while message.get("more_body") and received < _DRAIN_FACTOR * self._max_bytes:
                    message = await receive()
                    received += len(message.get("body", b""))
                raise RequestEntityTooLargeException
            return message

        await self._app(scope, counted, send)
