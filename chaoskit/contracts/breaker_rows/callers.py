"""What callers and listeners see of a breaker, and which outcomes it counts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st

from chaoskit.contracts.breaker_adapter import BreakerAdapter, BreakerPlan, Edge, Subject
from chaoskit.contracts.breaker_rows.doubles import (
    FAILURES,
    VALUE,
    Broken,
    Excluded,
    drive,
    fails,
    is_let_through,
    ops,
    seen,
    trip,
)
from chaoskit.contracts.report import Row, demand

__all__ = ["CALLERS"]


def own_error(adapter: BreakerAdapter, example: tuple[int, int]) -> None:
    """B1: each failing call raises the backend's error, even a probe and the call that opens the breaker."""
    failures, probes = example
    with adapter.world() as world:
        subject = adapter.make(BreakerPlan(failures=failures))
        # The first round opens the breaker; each later one is a probe that fails.
        for round_ in range(1 + probes):
            for n in range(failures if round_ == 0 else 1):
                error = Broken(n)
                try:
                    subject.call(fails(error))
                except BaseException as caught:
                    demand(
                        caught is error,
                        f"call {n + 1} of {failures} raised {caught!r}, not its own {error!r}",
                    )
                else:
                    raise AssertionError(f"call {n + 1} of {failures} raised nothing, not its own {error!r}")
            world.advance(10.0)


def neutral(*kinds: str) -> Callable[[BreakerAdapter, Any], None]:
    """B4, B5: callers of other operations see the same with and without the neutral ones."""

    def check(adapter: BreakerAdapter, example: tuple[int, list[str]]) -> None:
        failures, steps = example
        with adapter.world() as world:
            subject = adapter.make(
                BreakerPlan(failures=failures, ignore=(Excluded,) if "ignored" in kinds else ())
            )
            log = drive(subject, world, steps, 10.0)
        # Waiting is not a call, so it has no entry in the log.
        calls = [step for step in steps if step != "wait"]
        got = [saw for step, saw in zip(calls, log, strict=True) if step not in kinds]
        kept = [step for step in steps if step not in kinds]
        with adapter.world() as world:
            # In a fresh world: the second run must not inherit the clock of the first.
            want = drive(adapter.make(BreakerPlan(failures=failures)), world, kept, 10.0)
        demand(got == want, f"{steps} (threshold {failures}): the others saw {got}; without {kinds}: {want}")

    return check


def interrupts(adapter: BreakerAdapter, example: tuple[int, list[str]]) -> None:
    """B5: Ctrl-C, exit and a cancelled task don't count, and free the place of a probe."""
    neutral("ctrl-c", "exit")(adapter, example)
    if "async" in adapter.features:
        asyncio.run(_cancelled_probe(adapter, example[0]))


async def _cancelled_probe(adapter: BreakerAdapter, failures: int) -> None:
    async def fail() -> None:
        raise Broken

    with adapter.world() as world:
        subject = adapter.make(BreakerPlan(failures=failures))
        # One failure short of the threshold: if the cancellation counted, the breaker would open.
        for _ in range(failures - 1):
            await _swallow(subject.acall(fail))
        await _cancel(subject)
        demand(await _reaches(subject), "a cancelled task counted as a failure")
        for _ in range(failures):
            await _swallow(subject.acall(fail))
        world.advance(10.0)
        await _cancel(subject)
        demand(await _reaches(subject), "a cancelled probe kept its place or opened the breaker")


async def _cancel(subject: Subject) -> None:
    entered = asyncio.Event()

    async def hang() -> None:
        entered.set()
        await asyncio.Event().wait()

    task = asyncio.ensure_future(subject.acall(hang))
    # A breaker that rejects never enters the backend, so waiting only for that would hang.
    waiting = asyncio.ensure_future(entered.wait())
    # Whichever comes first: the call has entered the backend, or it was rejected.
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return
    raise AssertionError("cancellation did not come through")


async def _swallow(work: Any) -> None:
    try:
        await work
    except Exception:
        pass


async def _reaches(subject: Subject) -> bool:
    async def answer() -> object:
        return VALUE

    try:
        return await subject.acall(answer) is VALUE
    except Exception as error:
        demand(subject.is_rejection(error), repr(error))
        return False


def eras(adapter: BreakerAdapter, example: tuple[int, str, str]) -> None:
    """B6: the result of a call that began before the breaker last changed state does not change the state."""
    failures, stage, late = example
    # Half-open lasts longer than one probe only if several are needed and one failure is enough to open.
    if not {"probes", "strict-probes"} <= adapter.features and stage == "half-open":
        stage = "open"
    with adapter.world() as world:
        subject = adapter.make(BreakerPlan(failures=failures, probes=2 if stage == "half-open" else 1))

        def slow() -> Any:
            # The calls inside this one stand for calls of other threads while it runs: same order, no race.
            trip(subject, failures)
            if stage != "open":
                world.advance(10.0)
                demand(is_let_through(subject), "no probe was let through after the open period")
            # One failure short of the threshold, so that the late one would reach it.
            if stage == "closed":
                trip(subject, failures - 1)
            if late == "fail":
                raise Broken
            return VALUE

        seen(subject, slow)
        what = f"a call from an earlier era came back ({late}) while {stage}"
        # The state itself is not accessible, but the next caller shows it.
        if stage == "open":
            demand(not is_let_through(subject), f"{what} and closed it")
        elif late == "fail":
            demand(is_let_through(subject), f"{what} and opened it")
        else:
            seen(subject, fails(Broken()))
            demand(not is_let_through(subject), f"{what}, and one more failure no longer opens it")


def raising_listener(adapter: BreakerAdapter, example: tuple[int, list[str]]) -> None:
    """B10: every caller sees the same with a listener that always raises as with a good one."""
    failures, steps = example

    def bad(edge: Edge) -> None:
        raise RuntimeError("the listener's own trouble")

    # Both logs from the same steps, so that any effect of the listener shows as a difference.
    logs = []
    for listener in (bad, lambda edge: None):
        with adapter.world() as world:
            subject = adapter.make(BreakerPlan(failures=failures, on_edge=listener))
            try:
                logs.append(drive(subject, world, steps, 10.0))
            except RuntimeError as error:
                raise AssertionError(f"a caller saw the listener's error: {error!r}") from error
    demand(logs[0] == logs[1], f"{steps}: callers saw {logs[0]}; with a good listener {logs[1]}")


_LEGAL_EDGES = frozenset(
    {("closed", "open"), ("open", "half-open"), ("half-open", "open"), ("half-open", "closed")}
)


def edges(adapter: BreakerAdapter, example: tuple[int, list[str]]) -> None:
    """B13: the edges that a listener hears of are legal, follow each other, and come once each."""
    failures, steps = example
    told: list[Edge] = []
    with adapter.world() as world:
        subject = adapter.make(BreakerPlan(failures=failures, on_edge=told.append))
        log = drive(subject, world, steps, 10.0)
    at = "closed"
    # Each edge begins where the one before it ended, and the first one at closed.
    for edge in told:
        demand(edge in _LEGAL_EDGES, f"{steps}: {edge} is not a legal edge; told {told}")
        demand(edge[0] == at, f"{steps}: {edge} was told while {at}; told {told}")
        at = edge[1]
    # Legal edges in a legal order could still be made up, or lack a whole cycle.
    opened = sum(edge == ("closed", "open") for edge in told)
    demand(opened == _model_openings(failures, steps), f"{steps}: callers saw {log}, the listener {told}")


def _model_openings(failures: int, steps: Sequence[str]) -> int:
    """How often a breaker with one probe goes from closed to open in ``steps``, by definition."""
    # A second implementation of the rule, short enough to be checked by reading it.
    state, streak, opened = "closed", 0, 0
    for step in steps:
        if step == "wait":
            state = "half-open" if state == "open" else state
        elif state == "half-open":
            state, streak = ("closed", 0) if step == "ok" else ("open", 0)
        elif state == "closed":
            streak = streak + 1 if step == "fail" else 0
            if streak >= failures:
                state, streak, opened = "open", 0, opened + 1
    return opened


CALLERS: tuple[Row, ...] = (
    Row(
        "B1",
        "The call that trips sees its own error.",
        own_error,
        st.tuples(FAILURES, st.integers(0, 3)),
    ),
    Row(
        "B4",
        "Ignored errors are neutral in every state.",
        neutral("ignored"),
        ops("ignored"),
        needs=frozenset({"ignore"}),
    ),
    Row(
        "B5",
        "Cancellation and Ctrl-C are neutral and give the probe back.",
        interrupts,
        ops("ctrl-c", "exit"),
    ),
    Row(
        "B6",
        "A result from an earlier era never changes the state.",
        eras,
        st.tuples(
            st.integers(2, 5),
            st.sampled_from(["open", "half-open", "closed"]),
            st.sampled_from(["ok", "fail"]),
        ),
    ),
    Row(
        "B10",
        "A raising listener cannot disable the breaker or hide a value.",
        raising_listener,
        ops(),
        needs=frozenset({"listeners"}),
    ),
    Row(
        "B13",
        "The state follows only legal edges, and each edge is reported once.",
        edges,
        ops(),
        needs=frozenset({"listeners"}),
    ),
)
