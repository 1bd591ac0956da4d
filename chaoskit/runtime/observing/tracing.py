"""OpenTelemetry, as an optional extra: spans for operations, counters for events, trace context for children.

Needs ``chaoskit[otel]``, which is only the API: unless the program configures an SDK, nothing here has any
effect. The rest of the runtime does not load this module.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from chaoskit.core.errors import BackendUnavailable
from chaoskit.core.version import __version__
from chaoskit.runtime import context, kinds
from chaoskit.runtime.calling.blocks import block
from chaoskit.runtime.observing.events import Event
from chaoskit.runtime.observing.observers import Subscription, subscribe
from chaoskit.runtime.redact import DEFAULT, Redactor

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Span, TracerProvider

__all__ = ["Telemetry"]


class Telemetry:
    """Reports to OpenTelemetry. The providers default to the globally configured ones.

    As a listener (or with :meth:`subscribe`) it adds each event to the current span, and counts it in
    ``chaoskit.events`` by event, operation and error type. Free fields never become attributes of a metric:
    each new value would begin another time series.
    """

    def __init__(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        redactor: Redactor = DEFAULT,
    ) -> None:
        try:
            from opentelemetry import metrics, trace
        except ImportError:
            raise BackendUnavailable(
                "OpenTelemetry is not installed. Install chaoskit[otel], and an SDK to see anything."
            ) from None
        self._trace = trace
        self._redactor = kinds.instance("redactor", redactor, Redactor)
        kinds.able("tracer_provider", tracer_provider, "a TracerProvider", "get_tracer", optional=True)
        kinds.able("meter_provider", meter_provider, "a MeterProvider", "get_meter", optional=True)
        self._tracer = trace.get_tracer("chaoskit", __version__, tracer_provider)
        meter = metrics.get_meter("chaoskit", __version__, meter_provider)
        self._events = meter.create_counter(
            "chaoskit.events", "{event}", "Decisions of resilience strategies"
        )
        self._durations = meter.create_histogram("chaoskit.operation.duration", "s", "Time of operations")

    @block
    def operation(self, name: str, /, **fields: Any) -> Iterator[Span]:
        """Put :func:`chaoskit.runtime.context.operation` and a span of the same name around the block.

        An error that leaves the block is recorded on the span, redacted, and sets its status.
        """
        from time import monotonic

        outcome, started = "error", monotonic()
        with (
            context.operation(name, **fields) as current,
            self._tracer.start_as_current_span(
                name,
                attributes=self._attributes(current.to_dict()),
                # Recorded by _record instead: the SDK would write message and traceback without redaction.
                record_exception=False,
                set_status_on_exception=False,
            ) as span,
        ):
            try:
                yield span
                outcome = "ok"
            except BaseException as error:
                self._record(span, error)
                raise
            finally:
                tags = {"chaoskit.operation": name, "chaoskit.outcome": outcome}
                self._durations.record(monotonic() - started, tags)

    def __call__(self, event: Event) -> None:
        fields = event.to_dict()
        span = self._trace.get_current_span()
        if span.is_recording():
            span.add_event(event.name, self._attributes(fields))
        operation = context.current()
        tags = {"event": event.name}
        if operation is not None and operation.operation is not None:
            tags["chaoskit.operation"] = operation.operation
        error = fields.get("error")
        # Only the type: messages differ from call to call, and each would be a new series.
        if isinstance(error, Mapping) and "type" in error:
            tags["error.type"] = str(error["type"])
        self._events.add(1, tags)

    def subscribe(self) -> Subscription:
        """Listen to the events of all strategies until the guard is closed."""
        return subscribe(self)

    def environment(self, base: Mapping[str, str] | None = None) -> dict[str, str]:
        """The environment for a child, with chaoskit's context and the trace's (``TRACEPARENT``, W3C)."""
        # Imported here, so that events alone do not load the propagators.
        from opentelemetry.propagate import inject

        carrier: dict[str, str] = {}
        inject(carrier)
        passed_on = {key.upper().replace("-", "_"): value for key, value in carrier.items()}
        return {**context.to_environment(base), **passed_on}

    @block
    def adopted(self, environment: Mapping[str, str] | None = None) -> Iterator[None]:
        """Put the parent process's context and trace, if it passed them on, in force for the block."""
        from opentelemetry import context as otel
        from opentelemetry.propagate import extract

        source = os.environ if environment is None else environment
        # Variables are in capitals, but the propagators look for names of HTTP headers.
        carrier = {k.lower(): v for k, v in source.items() if k in ("TRACEPARENT", "TRACESTATE", "BAGGAGE")}
        token = otel.attach(extract(carrier))
        try:
            with context.adopted(source):
                yield
        finally:
            otel.detach(token)

    def _record(self, span: Span, error: BaseException) -> None:
        message = self._redactor.message(error)
        span.set_status(self._trace.StatusCode.ERROR, f"{type(error).__name__}: {message}")
        kind = f"{type(error).__module__}.{type(error).__qualname__}"
        span.add_event("exception", {"exception.type": kind, "exception.message": message})

    def _attributes(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        attributes: dict[str, Any] = {}
        for key, value in fields.items():
            plain = self._redactor.plain(value, key)
            if plain is not None:
                attributes[f"chaoskit.{key}"] = (
                    # The SDK drops attributes of most other types, with a warning.
                    plain if isinstance(plain, str | bool | int | float) else repr(plain)
                )
        return attributes
