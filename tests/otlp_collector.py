"""A collector of OpenTelemetry traces over HTTP, on loopback."""

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.loopback import Handler, Site, serving


@dataclass(frozen=True)
class Span:
    """What a service said that it did."""

    name: str
    trace_id: str
    parent_id: str
    span_id: str
    attributes: dict[str, str]


class Collector(Site):
    """Keeps the spans that it is sent."""

    def __init__(self, address: str, handler: type[Handler]) -> None:
        super().__init__(address, handler)
        self.spans: list[Span] = []


class _Taking(Handler):
    def do_POST(self) -> None:  # noqa: N802  # http.server's name
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        assert isinstance(self.server, Collector)
        for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in of_resource.scope_spans:
                self.server.spans += [
                    Span(
                        span.name,
                        span.trace_id.hex(),
                        span.parent_span_id.hex(),
                        span.span_id.hex(),
                        {item.key: str(item.value) for item in span.attributes},
                    )
                    for span in scope.spans
                ]
        self.answer(200, b"")


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector that runs while this is open."""
    with serving(handler=_Taking, site=Collector) as collector:
        assert isinstance(collector, Collector)
        yield collector
