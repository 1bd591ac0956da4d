"""What OpenTelemetry's own SDK receives."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from chaoskit.core.errors import BackendUnavailable
from chaoskit.runtime import context
from chaoskit.runtime.observing.events import Event
from chaoskit.runtime.observing.observers import emit

pytest.importorskip("opentelemetry.sdk")

from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from chaoskit.runtime.observing.tracing import Telemetry


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(Event):
    name: ClassVar[str] = "test.failed"
    error: BaseException
    delay: float = 0.5
    password: str = "hunter2"


class World:
    """The real SDK with exporters in memory."""

    def __init__(self) -> None:
        self.spans = InMemorySpanExporter()
        self.reader = InMemoryMetricReader()
        self._tracers = TracerProvider(shutdown_on_exit=False)
        self._tracers.add_span_processor(SimpleSpanProcessor(self.spans))
        self._meters = MeterProvider([self.reader], shutdown_on_exit=False)
        self.telemetry = Telemetry(tracer_provider=self._tracers, meter_provider=self._meters)

    def close(self) -> None:
        self._tracers.shutdown()
        self._meters.shutdown()

    def points(self, name: str) -> list[Any]:
        data = self.reader.get_metrics_data()
        assert data is not None
        metrics = [m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics]
        return [point for metric in metrics if metric.name == name for point in metric.data.data_points]


@pytest.fixture
def world() -> Iterator[World]:
    """Telemetry that ends in memory."""
    made = World()
    yield made
    made.close()


def test_an_operation_is_a_span_with_the_context(world: World) -> None:
    """A span has the operation's name, the correlation id and the fields, and nests like operations do."""
    with (
        world.telemetry.operation("run", correlation_id="mine"),
        world.telemetry.operation("upload", sample="S1", password="hunter2"),
    ):
        assert context.correlation_id() == "mine"
    inner, outer = world.spans.get_finished_spans()
    assert (inner.name, outer.name) == ("upload", "run")
    assert inner.parent is not None
    assert outer.context is not None
    assert inner.parent.span_id == outer.context.span_id
    assert dict(inner.attributes or {}) == {
        "chaoskit.correlation_id": "mine",
        "chaoskit.operation": "upload",
        "chaoskit.sample": "S1",
        "chaoskit.password": "[redacted]",
    }


def test_an_error_sets_the_status_and_passes(world: World) -> None:
    """An error is recorded once, redacted, and reaches the caller unchanged."""
    with pytest.raises(OSError, match="hunter2"), world.telemetry.operation("upload"):
        raise OSError("password=hunter2")
    (span,) = world.spans.get_finished_spans()
    assert span.status.status_code is trace.StatusCode.ERROR
    assert [e.name for e in span.events] == ["exception"]
    assert "hunter2" not in span.to_json()
    (point,) = world.points("chaoskit.operation.duration")
    assert dict(point.attributes) == {"chaoskit.operation": "upload", "chaoskit.outcome": "error"}


def test_events_land_on_the_span_and_in_the_counter(world: World) -> None:
    """Each event is on the span in progress, and counted by name, operation and error type only."""
    with world.telemetry.subscribe(), world.telemetry.operation("upload", sample="S1"):
        emit((), Failed(at=1.0, error=OSError("token=hunter2")))
        emit((), Failed(at=2.0, error=OSError()))
    emit((), Failed(at=3.0, error=OSError()))
    (span,) = world.spans.get_finished_spans()
    assert [e.name for e in span.events] == ["test.failed", "test.failed"]
    assert (span.events[0].attributes or {})["chaoskit.delay"] == 0.5
    assert "hunter2" not in span.to_json()
    (point,) = world.points("chaoskit.events")
    assert point.value == 2
    assert dict(point.attributes) == {
        "event": "test.failed",
        "chaoskit.operation": "upload",
        "error.type": "OSError",
    }


def test_events_outside_of_spans_are_counted(world: World) -> None:
    """Without a span and a context an event is counted all the same."""
    world.telemetry(Failed(at=1.0, error=OSError()))
    (point,) = world.points("chaoskit.events")
    assert dict(point.attributes) == {"event": "test.failed", "error.type": "OSError"}


def test_a_child_goes_on_with_the_trace(world: World) -> None:
    """The environment carries trace and context; a child that adopts them is in the same trace."""
    with world.telemetry.operation("run", correlation_id="mine"):
        environment = world.telemetry.environment({"PATH": "/bin"})
    assert set(environment) == {"PATH", "TRACEPARENT", "CHAOSKIT_CONTEXT"}
    with world.telemetry.adopted(environment), world.telemetry.operation("child"):
        assert context.correlation_id() == "mine"
    outer, child = world.spans.get_finished_spans()
    assert outer.context is not None
    assert child.context is not None
    assert child.context.trace_id == outer.context.trace_id
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_a_hostile_traceparent_is_ignored(world: World) -> None:
    """Garbage in the environment begins a new trace, without an error."""
    with world.telemetry.adopted({"TRACEPARENT": "\x00garbage"}), world.telemetry.operation("child"):
        pass
    assert world.spans.get_finished_spans()[0].parent is None


def test_without_the_package_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without OpenTelemetry the error says what to install."""
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(BackendUnavailable, match=r"chaoskit\[otel\]"):
        Telemetry()


def test_the_runtime_does_not_load_it() -> None:
    """Importing the module does not import OpenTelemetry; making a Telemetry does."""
    code = "import sys, chaoskit.runtime.observing.tracing; sys.exit('opentelemetry' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
