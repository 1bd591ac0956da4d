"""What a retry costs, beside the loop that everybody writes into the function, and beside other libraries.

    python benchmarks/retry.py [--write]

Every contestant does the same work in turn, in many short rounds, so that noise of the machine meets all
alike; the figure is the median over the rounds of its time divided by the hand-written loop's in the same
round. Time is the thread's own processor time: what other programs take meanwhile does not count.
``--write`` puts the table into ``benchmarks/results/retry.md``. Exits with 1 if a gate is missed.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import importlib
import itertools
import logging
import platform
import statistics
import sys
import time
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from chaoskit.runtime import TRANSIENT_ERRORS, Constant, RetryBudget, retry

ROUNDS = 60
CALLS = 3000

GATES = {
    ("success, sync", "chaoskit, bare"): 1.5,
    ("success, async", "chaoskit, bare"): 1.5,
    ("success, sync", "chaoskit, budget and deadline"): 3.0,
    ("success, async", "chaoskit, budget and deadline"): 3.0,
    ("one failure, no wait", "chaoskit, bare"): 6.0,
    ("one failure, no wait", "chaoskit, by category"): 12.0,
}
# What must not cost much more than the same policy as a decorator.
CALL = 1.3
# What must not cost much more than the loop that does by hand what a deadline and a budget have to do.
# On CPython 3.13 and later that loop alone costs more than three times the plain one: the gate above.
LIMITED, BY_HAND = "chaoskit, budget and deadline", "the same, with clock, count and scope"
OVER_BY_HAND = 1.5

Contestants = dict[str, Callable[..., Any]]


def answer(x: int) -> int:
    return x


async def aanswer(x: int) -> int:
    return x


class Flaky:
    """Fails at every other call."""

    def __init__(self) -> None:
        self.turn = False

    def __call__(self, x: int) -> int:
        self.turn = not self.turn
        if self.turn:
            raise ConnectionError
        return x


def by_hand(fn: Callable[..., Any]) -> Callable[..., Any]:
    """The loop that everybody writes, around the call itself: nothing is passed on that need not be."""

    def call(x: int) -> Any:
        for attempt in range(3):
            try:
                return fn(x)
            except ConnectionError:
                if attempt == 2:
                    raise
        return None

    return call


def by_hand_async(fn: Callable[..., Any]) -> Callable[..., Any]:
    async def call(x: int) -> Any:
        for attempt in range(3):
            try:
                return await fn(x)
            except ConnectionError:
                if attempt == 2:
                    raise
        return None

    return call


def by_hand_limited(fn: Callable[..., Any]) -> Callable[..., Any]:
    """The same with the least that a deadline and a budget need: clock, count, and a scope for the callee."""
    count, scope = itertools.count().__next__, ContextVar[list[float | None]]("by_hand_limited")

    def call(x: int) -> Any:
        scope.set(until := [time.monotonic() + 60.0])
        count()
        for attempt in range(3):
            try:
                value = fn(x)
            except ConnectionError:
                if attempt == 2:
                    raise
            else:
                until[0] = None
                return value
        return None

    return call


def by_hand_limited_async(fn: Callable[..., Any]) -> Callable[..., Any]:
    count, scope = itertools.count().__next__, ContextVar[list[float | None]]("by_hand_limited_async")

    async def call(x: int) -> Any:
        scope.set(until := [time.monotonic() + 60.0])
        count()
        for attempt in range(3):
            try:
                value = await fn(x)
            except ConnectionError:
                if attempt == 2:
                    raise
            else:
                until[0] = None
                return value
        return None

    return call


def ours(fn: Callable[..., Any]) -> Contestants:
    bare = retry(on=ConnectionError, wait=Constant(0.0))
    full = retry(bare, budget=RetryBudget(), deadline=60.0)
    made = {"chaoskit, bare": bare(fn), "chaoskit, budget and deadline": full(fn)}
    if not asyncio.iscoroutinefunction(fn):
        made["chaoskit, policy.call"] = functools.partial(bare.call, fn)
    return made


def others(fn: Callable[..., Any]) -> Contestants:
    """What is installed of the libraries; each with three attempts and no wait."""
    found: Contestants = {}
    for name, build in OTHERS.items():
        try:
            found[f"{name} {_version(name)}"] = build(importlib.import_module(name), fn)
        except ImportError:
            pass
    return found


def _version(name: str) -> str:
    from importlib.metadata import version

    return version(name)


OTHERS: dict[str, Callable[[Any, Callable[..., Any]], Callable[..., Any]]] = {
    "tenacity": lambda t, fn: t.retry(
        retry=t.retry_if_exception_type(ConnectionError), stop=t.stop_after_attempt(3), wait=t.wait_none()
    )(fn),
    "stamina": lambda s, fn: _stamina(s, fn),
    "backoff": lambda b, fn: b.on_exception(
        b.constant, ConnectionError, max_tries=3, interval=0, jitter=None
    )(fn),
    "redress": lambda r, fn: _redress(r, fn),
}


def _stamina(s: Any, fn: Callable[..., Any]) -> Callable[..., Any]:
    # Its log lines, one for each retry, would cost more than the retry.
    s.instrumentation.set_on_retry_hooks([])
    decorator = s.retry(
        on=ConnectionError, attempts=3, timeout=None, wait_initial=0, wait_max=0, wait_jitter=0
    )
    wrapped: Callable[..., Any] = decorator(fn)
    return wrapped


def _redress(r: Any, fn: Callable[..., Any]) -> Callable[..., Any]:
    options = {"classifier": r.default_classifier, "strategy": lambda context: 0.0, "max_attempts": 3}
    if asyncio.iscoroutinefunction(fn):
        apolicy = r.AsyncPolicy(retry=r.AsyncRetry(**options))

        async def acall(*args: Any) -> Any:
            return await apolicy.call(lambda: fn(*args))

        return acall
    policy = r.Policy(retry=r.Retry(**options))
    return lambda *args: policy.call(lambda: fn(*args))


def sync_seconds(fn: Callable[..., Any], calls: int) -> float:
    begun = time.thread_time()
    if isinstance(fn, functools.partial):
        # policy.call as it is written: the partial would cost a third of what is measured.
        call, (target,) = fn.func, fn.args
        for _ in range(calls):
            call(target, 1)
    else:
        for _ in range(calls):
            fn(1)
    return time.thread_time() - begun


def async_seconds(fn: Callable[..., Any], calls: int) -> float:
    async def main() -> float:
        begun = time.thread_time()
        for _ in range(calls):
            await fn(1)
        return time.thread_time() - begun

    return asyncio.run(main())


def measure(
    contestants: Contestants, seconds: Callable[[Callable[..., Any], int], float]
) -> dict[str, float]:
    """The median ratio of each to the first, round by round; "ns" is what the first takes for a call."""
    calls = {
        name: CALLS if "chaoskit" in name or "hand" in name or "scope" in name else CALLS // 20
        for name in contestants
    }
    ratios: dict[str, list[float]] = {name: [] for name in contestants}
    base: list[float] = []
    gc.collect()
    gc.disable()
    for _ in range(ROUNDS):
        took = {name: seconds(fn, calls[name]) / calls[name] for name, fn in contestants.items()}
        base.append(took["hand-written loop"])
        for name, one in took.items():
            ratios[name].append(one / base[-1])
    gc.enable()
    return {**{name: statistics.median(r) for name, r in ratios.items()}, "ns": statistics.median(base) * 1e9}


def run() -> dict[str, dict[str, float]]:
    limited = {BY_HAND: by_hand_limited(answer)}
    sync = {"hand-written loop": by_hand(answer), **limited, **ours(answer), **others(answer)}
    by_hand_too = {"hand-written loop": by_hand_async(aanswer), BY_HAND: by_hand_limited_async(aanswer)}
    tried = {**by_hand_too, **ours(aanswer), **others(aanswer)}
    failing = {"hand-written loop": by_hand(Flaky()), **_failing()}
    return {
        "success, sync": measure(sync, sync_seconds),
        "success, async": measure(tried, async_seconds),
        "one failure, no wait": measure(failing, sync_seconds),
    }


def _failing() -> Contestants:
    by_category = retry(on=TRANSIENT_ERRORS, wait=Constant(0.0))
    found: Contestants = {"chaoskit, bare": ours(Flaky())["chaoskit, bare"]}
    found["chaoskit, by category"] = by_category(Flaky())

    def flaky() -> Callable[..., Any]:
        work = Flaky()

        def call(x: int) -> int:
            return work(x)

        return call

    for name in list(others(answer)):
        found[name] = others(flaky())[name]
    return found


def table(results: dict[str, dict[str, float]]) -> list[str]:
    names = list(dict.fromkeys(name for case in results.values() for name in case if name != "ns"))
    lines = ["| | " + " | ".join(results) + " |", "|---|" + "---|" * len(results)]
    for name in names:
        cells = [_cell(results[case].get(name), GATES.get((case, name))) for case in results]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    nanoseconds = " | ".join(f"{results[case]['ns']:.0f} ns" for case in results)
    return [*lines, f"| (one call of the loop) | {nanoseconds} |"]


def _cell(ratio: float | None, gate: float | None) -> str:
    if ratio is None:
        return ""
    return f"{ratio:.2f}" + (f" (gate {gate})" if gate else "")


def missed(results: dict[str, dict[str, float]]) -> list[str]:
    return [
        f"{name}, {case}: {results[case][name]:.2f} × the loop, the gate is {gate}"
        for (case, name), gate in GATES.items()
        if results[case][name] > gate
    ] + _dear(results["success, sync"])


def _dear(success: dict[str, float]) -> list[str]:
    pairs = {
        "policy.call: {:.2f} × the decorated function": ("chaoskit, policy.call", "chaoskit, bare", CALL),
        "budget and deadline: {:.2f} × the loop that does the same": (LIMITED, BY_HAND, OVER_BY_HAND),
    }
    ratios = {said: (success[ours] / success[theirs], gate) for said, (ours, theirs, gate) in pairs.items()}
    return [
        f"{said.format(ratio)}, the gate is {gate}" for said, (ratio, gate) in ratios.items() if ratio > gate
    ]


def main() -> int:
    logging.disable()  # libraries that log every retry would be measured by their handlers
    results = run()
    title = f"## CPython {platform.python_version()}"
    text = "\n".join([title, "", *table(results), ""])
    print(text)
    if "--write" in sys.argv:
        _write(title, text)
    for line in missed(results):
        print(line)
    return bool(missed(results))


def _write(title: str, text: str) -> None:
    """Replace this version's part of the table of results, or add it."""
    path = Path(__file__).parent / "results" / "retry.md"
    path.parent.mkdir(exist_ok=True)
    head = (
        "# What a retry costs\n\nMultiples of a hand-written loop, medians of interleaved rounds; "
        "made by `python benchmarks/retry.py --write`.\n\nThe second row is the least that a deadline and a "
        "budget need: the clock is read, a call counted, and a context variable set for the callee. "
        "Where it is above the gate, the gate is out of reach.\n\n"
    )
    parts = path.read_text().split("\n## ")[1:] if path.exists() else []
    minor = title.rsplit(".", 1)[0]
    kept = [f"## {part}".rstrip() + "\n" for part in parts if not f"## {part}".startswith(minor)]
    path.write_text(head + "\n".join(sorted([*kept, text])))


if __name__ == "__main__":
    sys.exit(main())
