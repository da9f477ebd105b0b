"""What every request leaves behind: one line, its figures, its trace, and the id that ties them together."""

import logging
import time
from typing import Any
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import logs
from app.api import problems
from app.api.notes import note
from app.errors import InternalServerError
from app.metrics import Metrics
from app.tracing import Tracer

log = logging.getLogger(__name__)

_HEADER = "X-Request-ID"
# What probes and Prometheus ask all day is no news.
_QUIET = frozenset({"Live", "Health", "Ready", "metrics"})
# Of requests that no route takes: paths are the clients' own words.
_UNKNOWN = "unknown"


class RequestLog:
    """ASGI middleware around all others.

    Args:
        app: what answers.
        metrics: counts what was answered.
        tracer: shows how long its parts took.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, tracer: Tracer) -> None:
        self._app = app
        self._metrics = metrics
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = logs.given_correlation_id(headers) or str(uuid4())
        status: int | None = None
        began = time.perf_counter()

        async def answered(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[_HEADER] = request_id
            await send(message)

        with logs.correlated(request_id), self._tracer.request("request", headers) as tell:
            try:
                await self._app(scope, receive, answered)
            except Exception:
                log.exception("a request failed in a way that nobody foresaw")
                note(scope, code=InternalServerError.__name__)
                if status is None:
                    await problems.response(InternalServerError())(scope, receive, answered)
            seen = self._seen(scope, status or 0, time.perf_counter() - began)
            tell(f"{seen['method']} {seen['operation']}", {"correlation_id": request_id, **seen})
            log.log(logging.DEBUG if seen["operation"] in _QUIET else logging.INFO, "request", extra=seen)

    def _seen(self, scope: Scope, status: int, seconds: float) -> dict[str, Any]:
        """Of an answered request, what may be told; it is counted here, too."""
        noted = scope.get("state", {})
        route = scope.get("route")
        operation = noted.get("operation") or getattr(route, "operation_id", None)
        operation = operation or getattr(route, "name", None) or _UNKNOWN
        code = noted.get("code", "") if status < 400 or "code" in noted else str(status)
        door = "aws" if "operation" in noted else "rest"
        if operation not in _QUIET:
            self._metrics.operations.labels(door, operation, code).inc()
            self._metrics.operation_seconds.labels(operation).observe(seconds)
        return {
            "method": scope["method"] if scope["method"].isalpha() else "?",
            "route": getattr(route, "path", _UNKNOWN),
            "operation": operation,
            "status": status,
            "code": code,
            "milliseconds": round(1000 * seconds, 1),
        }
