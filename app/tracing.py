"""Traces over OTLP, where OTLP_ENDPOINT names a collector; nothing otherwise.

OpenTelemetry is an extra: its modules are imported when the first trace is asked for.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

from app.settings import Settings, SettingsError

Attributes = Mapping[str, str | int | float]


class Tracer(Protocol):
    """Something that can say when work began and ended."""

    def span(self, name: str) -> AbstractContextManager[Any]:
        """A piece of the work at hand, in this thread or task."""

    def request(
        self, name: str, headers: Mapping[str, str]
    ) -> AbstractContextManager[Callable[[str, Attributes], None]]:
        """A piece of work of its own, or of a trace that headers name; name and attributes may follow."""


class NoTraces:
    """The tracer where nobody listens."""

    def span(self, name: str) -> AbstractContextManager[Any]:
        return nullcontext()

    def request(
        self, name: str, headers: Mapping[str, str]
    ) -> AbstractContextManager[Callable[[str, Attributes], None]]:
        return nullcontext(lambda _name, _attributes: None)

    def close(self) -> None:
        pass


class OtlpTraces:
    """Sends spans to a collector, in the background; a collector that is away costs nothing but its spans."""

    def __init__(self, endpoint: str, service_name: str) -> None:
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError:
            raise SettingsError("OTLP_ENDPOINT needs OpenTelemetry: install the extra `otel`") from None
        self._provider = TracerProvider(resource=Resource.create({"service.name": service_name}))
        exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=5)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("app")

    def span(self, name: str) -> AbstractContextManager[Any]:
        # An exception's text may quote what a client sent.
        return self._tracer.start_as_current_span(name, record_exception=False)

    @contextmanager
    def request(self, name: str, headers: Mapping[str, str]) -> Iterator[Callable[[str, Attributes], None]]:
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        parent = TraceContextTextMapPropagator().extract(dict(headers))
        with self._tracer.start_as_current_span(
            name, parent, kind=SpanKind.SERVER, record_exception=False
        ) as span:

            def tell(final_name: str, attributes: Attributes) -> None:
                span.update_name(final_name)
                span.set_attributes(dict(attributes))

            yield tell

    def close(self) -> None:
        """Send what is left; waits for seconds at most."""
        self._provider.shutdown()


def open_tracer(settings: Settings) -> NoTraces | OtlpTraces:
    """The tracer that the settings ask for.

    Raises:
        SettingsError: the extra is not installed.
    """
    if settings.otlp_endpoint is None:
        return NoTraces()
    return OtlpTraces(settings.otlp_endpoint, settings.service_name)
