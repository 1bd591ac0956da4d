"""What other strategies cost, beside the loop by hand: a bulkhead, a pipeline, a rejection, an import.

    python benchmarks/calls.py [--write]

All are called in turn, in many short rounds, and timed by the thread's own processor time; an import is
timed by the processor time of a new interpreter, less that of an empty program. ``--write`` puts the table
into ``benchmarks/results/calls.md``. Exits with 1 if a gate is missed.
"""

from __future__ import annotations

import functools
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chaoskit.runtime import Bulkhead, CircuitBreaker, Constant, Pipeline, RateLimiter, retry

ROUNDS, CALLS = 40, 1500
NAMES = "retry, RetryPolicy, CircuitBreaker, BreakerOpen, classify"


def work(x: int = 1) -> int:
    return x


def fail() -> None:
    raise OSError


def by_hand() -> int | None:
    for attempt in range(3):
        try:
            return work(1)
        except OSError:
            if attempt == 2:
                raise
    return None


def rejecting(breaker: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Callable[[], None]:
    """A call that the open breaker rejects."""
    guarded = breaker(fail)
    try:
        guarded()
    except OSError:
        pass

    def call() -> None:
        try:
            guarded()
        except Exception:
            pass

    return call


def contestants() -> dict[str, Callable[[], Any]]:
    pipeline = Pipeline(
        retry=retry(on=OSError, wait=Constant(0.0)),
        rate_limiter=RateLimiter(1e9, burst=10**9),
        bulkhead=Bulkhead(8),
        breaker=CircuitBreaker(),
        deadline=60,
    )
    found: dict[str, Callable[[], Any]] = {
        "hand-written loop": by_hand,
        "bulkhead with a free place": Bulkhead(8)(work),
        "pipeline of five, decorated": pipeline(work),
        "pipeline of five, call()": functools.partial(pipeline.call, work),
        "rejection by an open breaker": rejecting(CircuitBreaker(failures=1, name="open")),
    }
    try:
        import circuitbreaker
    except ImportError:
        return found
    found["rejection by circuitbreaker"] = rejecting(
        circuitbreaker.CircuitBreaker(failure_threshold=1, name="calls")
    )
    return found


def measure() -> dict[str, float]:
    """Median nanoseconds of a call."""
    rounds: dict[str, list[float]] = {}
    candidates = contestants()
    for _ in range(ROUNDS):
        for name, call in candidates.items():
            begun = time.thread_time_ns()
            for _ in range(CALLS):
                call()
            rounds.setdefault(name, []).append((time.thread_time_ns() - begun) / CALLS)
    return {name: statistics.median(took) for name, took in rounds.items()}


def import_cpu(code: str, times: int = 15) -> float:
    """The least milliseconds of processor time that a new interpreter takes for ``code``.

    The first run compiles and is not counted: an installed package is compiled already.
    """
    took = []
    with tempfile.TemporaryDirectory() as compiled:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": compiled}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for _ in range(times + 1):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run([sys.executable, "-c", code], check=True, env=environment)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            took.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    return min(took[1:]) * 1e3


def table(found: dict[str, float], imported: float) -> tuple[list[str], list[str]]:
    """The lines of the table, and the gates that are missed."""
    loop, theirs = found["hand-written loop"], found.get("rejection by circuitbreaker", 0.0)
    gates = [
        ("bulkhead with a free place", found["bulkhead with a free place"] / loop, "× the loop", 6.0),
        (
            "pipeline of five, call()",
            found["pipeline of five, call()"] / found["pipeline of five, decorated"],
            "× the decorated form",
            1.3,
        ),
        ("rejection by an open breaker", found["rejection by an open breaker"] / 1e3, "µs", 2.0),
        (f"import of {NAMES}", imported, "ms", 40.0),
    ]
    if theirs:
        ratio = found["rejection by an open breaker"] / theirs
        gates.append(("rejection by an open breaker", ratio, "× circuitbreaker's", 1.0))
    lines = ["| | measured | gate |", "|---|---|---|"]
    lines += [f"| {name} | {value:.2f} {unit} | {gate:g} |" for name, value, unit, gate in gates]
    over = [(name, value, unit, gate) for name, value, unit, gate in gates if value > gate]
    missed = [f"{name}: {value:.2f} {unit}, the gate is {gate:g}" for name, value, unit, gate in over]
    return lines, missed


def main() -> int:
    """Measure, print, write if asked; 1 if a gate is missed."""
    imported = import_cpu(f"from chaoskit.runtime import {NAMES}") - import_cpu("pass")
    lines, missed = table(measure(), imported)
    text = "\n".join([f"## CPython {platform.python_version()}", "", *lines, ""])
    print(text)
    if "--write" in sys.argv:
        _write(text)
    for line in missed:
        print(line)
    return bool(missed)


def _write(text: str) -> None:
    path = Path(__file__).parent / "results" / "calls.md"
    head = "# What calls and imports cost\n\nMade by `python benchmarks/calls.py --write`.\n\n"
    parts = path.read_text().split("\n## ")[1:] if path.exists() else []
    minor = text.split("\n")[0].rsplit(".", 1)[0]
    kept = [f"## {part}".rstrip() + "\n" for part in parts if not f"## {part}".startswith(minor)]
    path.write_text(head + "\n".join(sorted([*kept, text])))


if __name__ == "__main__":
    sys.exit(main())
