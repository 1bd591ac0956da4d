"""What observing costs: the context, events with and without listeners, a log line, metrics, redaction.

Measured in turn in one run, medians of several rounds. Writes ``benchmarks/results/observing.md``.
"""

from __future__ import annotations

import io
import logging
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import ClassVar

from chaoskit.runtime import context
from chaoskit.runtime.observing.events import Event
from chaoskit.runtime.observing.logs import log_to
from chaoskit.runtime.observing.metrics import AlertRule, ErrorMetrics, MetricsOptions
from chaoskit.runtime.observing.observers import emit, subscribe, wanted
from chaoskit.runtime.redact import redact_text

RESULTS = Path(__file__).parent / "results" / "observing.md"
ROUNDS = 15
SECONDS = 0.02
HARMLESS = "sent 17 samples of run 2024-01-17 to the server"
HARMFUL = "login of bob at the server failed, password=hunter2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened(Event):
    """Something like what a strategy emits."""

    name: ClassVar[str] = "bench.happened"
    attempt: int


def nothing(*given: object) -> None:
    """What everything here is compared with: one call."""


def cases() -> dict[str, Callable[[], object]]:
    """The things that are measured, by the words of the table."""
    event = Happened(at=1.0, attempt=1)
    metrics = ErrorMetrics(MetricsOptions(alerts=(AlertRule(),)))
    lines = logging.getLogger("bench")
    lines.propagate = False
    log_to(io.StringIO(), logger="bench")
    listeners = (nothing,)

    def an_operation() -> None:
        with context.operation("upload", sample="S1"):
            pass

    return {
        "call of an empty function": nothing,
        "`context.current()`": context.current,
        "`context.correlation_id()`": context.correlation_id,
        "`with context.operation(…)`": an_operation,
        "`wanted(())`, nobody listens": lambda: wanted(()),
        "`emit((), event)`, nobody listens": lambda: emit((), event),
        "making an event": lambda: Happened(at=1.0, attempt=1),
        "making and emitting to one listener": lambda: emit(listeners, Happened(at=1.0, attempt=1)),
        "`metrics.success()`": lambda: metrics.success("upload"),
        "`metrics.failure()`, one rule": lambda: metrics.failure("scan", "OSError"),
        "a JSON log line": lambda: lines.info("sent %d bytes", 7),
        "`redact_text()`, nothing to hide": lambda: redact_text(HARMLESS),
        "`redact_text()`, a password": lambda: redact_text(HARMFUL),
    }


def once(fn: Callable[[], object]) -> float:
    """Nanoseconds a call, over at least 20 ms."""
    count, took = 16, 0.0
    while took < SECONDS:
        count *= 2
        # The processor's time, so that what else the machine does counts less.
        began = time.process_time()
        for _ in range(count):
            fn()
        took = time.process_time() - began
    return took / count * 1e9


def main() -> None:
    """Measure and write the table."""
    measured: dict[str, list[float]] = {}
    made = cases()
    with context.operation("bench", correlation_id="bench-1"):
        for _ in range(ROUNDS):
            for name, fn in made.items():
                measured.setdefault(name, []).append(once(fn))
    with subscribe(nothing):
        told = median(once(lambda: emit((), Happened(at=1.0, attempt=1))) for _ in range(ROUNDS))
    rows = {name: median(times) for name, times in measured.items()}
    rows["making and emitting to one subscriber"] = told
    base = rows["call of an empty function"]
    lines = [f"| {name} | {value:,.0f} | {value / base:.1f} |" for name, value in rows.items()]
    head = (
        f"CPython {platform.python_version()}, medians of {ROUNDS} rounds in turn; ns of processor time.\n\n"
    )
    table = "\n".join(["| what | ns | × an empty call |", "| --- | ---: | ---: |", *lines])
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(f"# What observing costs\n\n{head}{table}\n")
    print(RESULTS.read_text())


if __name__ == "__main__":
    main()
