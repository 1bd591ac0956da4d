"""The cost of a healthy call through a circuit breaker, beside other libraries and a hand-written loop.

``python benchmarks/breaker.py [OUTPUT.md]``. All are measured in one process, in turns: in each of the
rounds every candidate gets one short run, so that what else the machine does hits all alike. Reported
is the median of the rounds, and the median of the ratios to the hand-written loop of the same round.
Counted is the thread's own processor time,
since nothing here waits. A gate that does not hold makes the exit status 1.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import platform
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from chaoskit.runtime import CircuitBreaker

ROUNDS = 101
CALLS = 2_000
PEERS = {"pybreaker": "pybreaker", "circuitbreaker": "circuitbreaker", "aiobreaker": "aiobreaker"}
PEERS["interlock"] = "interlock-cb"

HAND = "hand-written loop"
CONSECUTIVE = "chaoskit, consecutive failures"
GATES = {
    CONSECUTIVE: 1.5,
    "chaoskit, window of 100 calls, slow calls": 6.0,
    "chaoskit, window of 60 s, slow calls": 6.0,
    "async: chaoskit, consecutive failures": 1.5,
}
"""From the contract: at most so many times the hand-written loop of the same kind."""


def work(x: int) -> int:
    """The call that is protected."""
    return x


async def awork(x: int) -> int:
    """The same for tasks."""
    return x


def hand(x: int) -> int | None:
    """What people write instead of using a library."""
    for attempt in range(3):
        try:
            return work(x)
        except ConnectionError:
            if attempt == 2:
                raise
    return None


async def ahand(x: int) -> int | None:
    """The same for tasks."""
    for attempt in range(3):
        try:
            return await awork(x)
        except ConnectionError:
            if attempt == 2:
                raise
    return None


def windowed(**window: float) -> CircuitBreaker:
    """A breaker that counts everything there is to count."""
    return CircuitBreaker(failure_rate=0.5, slow_rate=0.5, slow_after=1.0, **window)  # type: ignore[arg-type]


def sync_candidates() -> dict[str, Callable[[int], Any]]:
    """Everything that protects a sync function."""
    direct = CircuitBreaker().call
    found: dict[str, Callable[[int], Any]] = {
        HAND: hand,
        CONSECUTIVE: CircuitBreaker()(work),
        "chaoskit, the same by call()": lambda x: direct(work, x),
        "chaoskit, window of 100 calls, slow calls": windowed(window_calls=100)(work),
        "chaoskit, window of 60 s, slow calls": windowed(window_seconds=60.0)(work),
    }
    for name in PEERS:
        add = globals()[f"with_{name}"]
        try:
            found[f"{name} {importlib.metadata.version(PEERS[name])}"] = add(work)
        except ImportError:
            print(f"{name} is not installed: left out", file=sys.stderr)
    return found


def async_candidates() -> dict[str, Callable[[int], Any]]:
    """Everything that protects an async function."""
    found: dict[str, Callable[[int], Any]] = {
        f"async: {HAND}": ahand,
        f"async: {CONSECUTIVE}": CircuitBreaker()(awork),
        "async: chaoskit, window of 100 calls, slow calls": windowed(window_calls=100)(awork),
    }
    for name in ("circuitbreaker", "aiobreaker", "interlock"):
        try:
            found[f"async: {name}"] = globals()[f"with_{name}"](awork)
        except ImportError:
            pass
    return found


def with_pybreaker(fn: Any) -> Any:
    """pybreaker's decorator."""
    import pybreaker

    return pybreaker.CircuitBreaker()(fn)


def with_circuitbreaker(fn: Any) -> Any:
    """circuitbreaker's decorator."""
    import circuitbreaker

    return circuitbreaker.CircuitBreaker(name="bench")(fn)


def with_aiobreaker(fn: Any) -> Any:
    """aiobreaker's decorator."""
    import aiobreaker

    return aiobreaker.CircuitBreaker()(fn)


def with_interlock(fn: Any) -> Any:
    """interlock's decorator: a window of 100 calls and slow calls, which is all it has."""
    import interlock

    return interlock.CircuitBreaker(name="bench")(fn)


def run(fn: Callable[[int], Any]) -> float:
    """Nanoseconds for one call of ``fn``, over one short run."""
    started = time.thread_time_ns()
    for _ in range(CALLS):
        fn(1)
    return (time.thread_time_ns() - started) / CALLS


def arun(fn: Callable[[int], Any]) -> float:
    """The same, awaited in a running event loop."""

    async def loop() -> float:
        started = time.thread_time_ns()
        for _ in range(CALLS):
            await fn(1)
        return (time.thread_time_ns() - started) / CALLS

    return asyncio.run(loop())


def measure(candidates: dict[str, Callable[[int], Any]], run: Callable[..., float]) -> dict[str, list[float]]:
    """Nanoseconds of every round, by candidate; the first round warms up and is dropped."""
    rounds: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(ROUNDS + 1):
        for name, fn in candidates.items():
            rounds[name].append(run(fn))
    return {name: figures[1:] for name, figures in rounds.items()}


def ratios(rounds: dict[str, list[float]]) -> dict[str, tuple[float, float]]:
    """Median nanoseconds and median ratio to the first candidate, by candidate."""
    base = next(iter(rounds.values()))
    return {
        name: (statistics.median(own), statistics.median(a / b for a, b in zip(own, base, strict=True)))
        for name, own in rounds.items()
    }


def table(found: dict[str, tuple[float, float]]) -> str:
    """The result as Markdown."""
    lines = [
        f"CPython {platform.python_version()}, {platform.machine()}; "
        f"{ROUNDS} rounds of {CALLS} calls each, in turns.",
        "",
        "| healthy call through | ns | × hand-written loop | gate |",
        "|---|--:|--:|--:|",
    ]
    for name, (nanoseconds, ratio) in found.items():
        gate = f"≤ {GATES[name]:g}" if name in GATES else ""
        lines.append(f"| {name} | {nanoseconds:.0f} | {ratio:.2f} | {gate} |")
    return "\n".join(lines)


def main() -> int:
    """Measure, print, append to the file named on the command line; 1 if a gate does not hold."""
    found = {**ratios(measure(sync_candidates(), run)), **ratios(measure(async_candidates(), arun))}
    text = table(found)
    print(text)
    if len(sys.argv) > 1:
        with open(sys.argv[1], "a", encoding="utf-8") as output:
            output.write(f"\n{text}\n")
    broken = [name for name, gate in GATES.items() if found[name][1] > gate]
    for name in broken:
        print(
            f"gate broken: {name} costs {found[name][1]:.2f} × the loop, at most {GATES[name]}",
            file=sys.stderr,
        )
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main())
