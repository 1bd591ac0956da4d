"""The rows for a whole program: accepted functions are run, a signal ends every wait, stopped work is found.

A2 and A3 of :mod:`chaoskit.contracts.retry` are about a retry. These rows ask the same of everything in a
library that takes functions or waits, and A5 of everything that works.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import threading
import warnings
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from chaoskit.contracts.program_adapter import ChaoskitProgram, ProgramAdapter, StoppedWork, Taker, Wait
from chaoskit.contracts.report import Row, demand
from chaoskit.contracts.retry_rows.doubles import LAZY, lazy
from chaoskit.contracts.retry_rows.observers import errors_logged
from chaoskit.contracts.virtual import RecordingClock, run
from chaoskit.runtime.stop import Stop

__all__ = ["ROWS", "ChaoskitProgram", "ProgramAdapter", "StoppedWork", "Taker", "Wait"]

GLANCE = 0.05
"""Seconds within which a signal must end a task's wait."""


def _given(take: Taker, fn: Callable[..., Any]) -> None:
    value = take(fn)
    if inspect.iscoroutinefunction(take):
        asyncio.run(value)


def accepted_is_run(adapter: ProgramAdapter, kind: str) -> None:
    """A2: an async function is awaited, refused or reported wherever it is given, never taken for a value."""
    silent: list[str] = []
    with warnings.catch_warnings():
        # A coroutine that was never awaited is what this row looks for; Python's warning would repeat it.
        warnings.simplefilter("ignore")
        for place, take in adapter.takers.items():
            control: list[bool] = []
            _given(take, lambda *args, seen=control: seen.append(True))
            demand(control, f"{place} does not run a plain function either: nothing can be said about it")
            ran: list[bool] = []
            with errors_logged() as logged:
                try:
                    _given(take, lazy(kind, ran))
                except Exception:
                    # Refused when it was given, or when its result was seen: it was not taken for a value.
                    continue
            if not ran and not logged:
                silent.append(place)
        # Some coroutines are held by the error that refused them. Collected here, while warnings are off.
        gc.collect()
    demand(not silent, f"as {', '.join(silent)} a function ({kind}) was accepted, and never run")


def signal_ends_waits(adapter: ProgramAdapter, when: float) -> None:
    """A3: one signal ends every wait: a task's within 50 ms, a thread's long before its time-out."""
    for kind, wait in adapter.waits.items():
        stop = Stop()
        if inspect.iscoroutinefunction(wait):
            late = _task_late(wait, stop, when)
            demand(late <= GLANCE, f"{kind}: the wait went on for {late:.3g} s after the signal")
        else:
            ended = _thread_ended(wait, stop, adapter.patience)
            demand(ended, f"{kind}: the wait had not ended {adapter.patience:g} s after the signal")


def _task_late(wait: Wait, stop: threading.Event, when: float) -> float:
    clock = RecordingClock()

    async def main() -> float:
        begun = asyncio.Event()
        task = asyncio.ensure_future(wait(stop, begun.set, clock))
        await begun.wait()
        await asyncio.sleep(when)
        stop.set()
        at = clock.monotonic()
        await asyncio.wait([task], timeout=1000.0)
        if not task.done():
            task.cancel()
            await asyncio.wait([task])
            return 1000.0
        task.result()
        return clock.monotonic() - at

    return run(clock, main)


def _thread_ended(wait: Wait, stop: threading.Event, patience: float) -> bool:
    waiting = threading.Event()
    errors: list[BaseException] = []

    def work() -> None:
        try:
            wait(stop, waiting.set, RecordingClock())
        except BaseException as error:
            errors.append(error)
            waiting.set()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    waiting.wait(patience)
    stop.set()
    thread.join(patience)
    if errors:
        raise errors[0]
    return not thread.is_alive()


def stopped_is_found(adapter: ProgramAdapter, count: int) -> None:
    """A5: work that was cancelled, abandoned or stopped never counts as done, and is found by name."""
    names = [f"unit {n}" for n in range(count)]
    for how, stop in adapter.works.items():
        seen = stop(names)
        demand(not seen.done, f"{how}: {sorted(seen.done)} count as done")
        lost = set(names) - seen.found
        demand(not lost, f"{how}: {sorted(lost)} are nowhere to be found")


ROWS = (
    Row(
        "A2",
        "what is accepted is run",
        accepted_is_run,
        st.sampled_from(LAZY),
        frozenset({"takers"}),
    ),
    Row(
        "A3",
        "one signal ends every wait",
        signal_ends_waits,
        st.floats(0.0, 29.0),
        frozenset({"waits"}),
    ),
    Row(
        "A5",
        "stopped work is not done, and not lost",
        stopped_is_found,
        st.integers(0, 5),
        frozenset({"works"}),
    ),
)
