"""How many requests are answered at once, and how clients leave a service that is to stop."""

from dataclasses import dataclass

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api import refusal
from app.errors import ThrottlingException
from app.metrics import Metrics

# What operators ask must be answered also where everything else waits.
_ALWAYS = frozenset({"/live", "/health", "/ready", "/metrics"})


@dataclass(slots=True)
class Drain:
    """Whether the service is to stop: it then answers all, but is not ready, and keeps no connection."""

    begun: bool = False


class Admission:
    """ASGI middleware that bounds how many requests are under way.

    Args:
        app: what answers.
        most: how many at once.
        drain: set when the service is to stop.
        metrics: counts those that were refused.
    """

    def __init__(self, app: ASGIApp, most: int, drain: Drain, metrics: Metrics) -> None:
        self._app = app
        self._most = most
        self._drain = drain
        self._metrics = metrics
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def answered(message: Message) -> None:
            if message["type"] == "http.response.start" and self._drain.begun:
                MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)

        if scope["path"].removeprefix(scope.get("root_path", "")) in _ALWAYS:
            await self._app(scope, receive, answered)
            return
        if self._under_way >= self._most:
            self._metrics.requests_refused.labels("concurrency").inc()
            await refusal.of(scope, ThrottlingException())(scope, receive, answered)
            return
        self._under_way += 1
        self._metrics.requests_in_progress.set(self._under_way)
        try:
            await self._app(scope, receive, answered)
        finally:
            self._under_way -= 1
            self._metrics.requests_in_progress.set(self._under_way)
