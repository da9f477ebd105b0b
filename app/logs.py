"""Log lines: JSON for machines, pretty for people, each with the id of the request or job that it is about.

Of what clients send, lines hold ids made for the log and names of operations alone: no image, vector,
key, name or query.
"""

import logging
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal

import structlog

_ID = re.compile(r"[A-Za-z0-9._:=;/+@-]{1,128}")
_correlation_id: ContextVar[str | None] = ContextVar("correlation_id", default=None)


def start(level: str, form: Literal["auto", "json", "pretty"]) -> None:
    """Let the process log to standard error; `level` is of this service's own lines.

    Libraries are heard from WARNING on: they log keys, addresses and signatures at DEBUG.
    """
    pretty = form == "pretty" or (form == "auto" and sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.stdlib.ExtraAdder(),
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                _with_correlation_id,
            ],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_rendering(pretty=pretty),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], force=True)
    logging.getLogger("app").setLevel(level)


def _rendering(*, pretty: bool) -> list[structlog.typing.Processor]:
    if pretty:
        return [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]


def _with_correlation_id(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    found = _correlation_id.get()
    if found is not None:
        event["correlation_id"] = found
    return event


def correlation_id() -> str | None:
    """Of the request or job at hand."""
    return _correlation_id.get()


@contextmanager
def correlated(found: str | None) -> Iterator[None]:
    """What is logged and queued within bears this id."""
    token = _correlation_id.set(found)
    try:
        yield
    finally:
        _correlation_id.reset(token)


def given_correlation_id(headers: Mapping[str, str]) -> str | None:
    """The id that a client or proxy gave its request, if it is one that a log can hold."""
    for name in ("x-request-id", "x-amzn-trace-id"):
        value = headers.get(name, "")
        if _ID.fullmatch(value):
            return value
    return None
