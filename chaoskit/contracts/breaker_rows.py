"""The B rows that need one thread: what callers see, what counts, time, settings, edges, windows.

Each row is a Hypothesis strategy for its examples and a check of one example, which raises
``AssertionError`` with what was seen.
"""

from __future__ import annotations

import abc
import asyncio
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from chaoskit.contracts.breaker_adapter import Adapter, Edge, Plan, Subject, World
from chaoskit.contracts.breaker_size import deep_size
from chaoskit.contracts.report import Row, demand


class Broken(ConnectionError):
    """The other side is down."""


class Excluded(LookupError):
    """Says nothing about the other side."""


VALUE = object()
FAILURES = st.integers(1, 5)


def fails(error: BaseException) -> Callable[[], Any]:
    """A backend that raises ``error``."""

    def backend() -> Any:
        raise error

    return backend


def answers() -> Any:
    """A backend that is well."""
    return VALUE


def seen(subject: Subject, fn: Callable[[], Any]) -> str:
    """What the caller of ``fn`` gets: ``value``, ``error`` (the backend's own), or ``rejected``."""
    try:
        value = subject.call(fn)
    except BaseException as error:
        if subject.is_rejection(error):
            return "rejected"
        if isinstance(error, Broken | Excluded | KeyboardInterrupt | SystemExit):
            return "error"
        raise
    demand(value is VALUE, f"the backend's value came back as {value!r}")
    return "value"


def is_let_through(subject: Subject) -> bool:
    """Whether a call that succeeds reaches the backend now."""
    return seen(subject, answers) == "value"


def trip(subject: Subject, failures: int) -> None:
    """Fail ``failures`` times in a row."""
    for _ in range(failures):
        # What the caller sees here is the business of B1.
        try:
            subject.call(fails(Broken()))
        except Exception as error:
            demand(isinstance(error, Broken) or subject.is_rejection(error), repr(error))


def drive(subject: Subject, world: World, ops: Sequence[str], open_for: float) -> list[str]:
    """Do ``ops`` in order; return what each caller saw."""
    backends = {
        "ok": answers,
        "fail": fails(Broken()),
        "ignored": fails(Excluded()),
        "ctrl-c": fails(KeyboardInterrupt()),
        "exit": fails(SystemExit(3)),
    }
    log = []
    for op in ops:
        if op == "wait":
            world.advance(open_for)
        else:
            log.append(seen(subject, backends[op]))
    return log


def ops(*kinds: str) -> st.SearchStrategy[tuple[int, list[str]]]:
    """A threshold, and operations that are likely to cross it."""
    steps = st.sampled_from(["ok", "fail", "fail", "wait", *kinds])
    return st.tuples(st.integers(1, 3), st.lists(steps, min_size=1, max_size=25))


# -- B1 ------------------------------------------------------------------------------------------


def own_error(adapter: Adapter, example: tuple[int, int]) -> None:
    """Every failing call, the tripping one and a failing probe included, raises the backend's own error."""
    failures, probes = example
    with adapter.world() as world:
        subject = adapter.make(Plan(failures=failures))
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


# -- B4, B5 --------------------------------------------------------------------------------------


def neutral(*kinds: str) -> Callable[[Adapter, Any], None]:
    """Leaving the neutral operations out changes nothing of what the callers of the others see."""

    def check(adapter: Adapter, example: tuple[int, list[str]]) -> None:
        failures, steps = example
        with adapter.world() as world:
            subject = adapter.make(Plan(failures=failures, ignore=(Excluded,) if "ignored" in kinds else ()))
            log = drive(subject, world, steps, 10.0)
        calls = [step for step in steps if step != "wait"]
        got = [saw for step, saw in zip(calls, log, strict=True) if step not in kinds]
        kept = [step for step in steps if step not in kinds]
        with adapter.world() as world:
            want = drive(adapter.make(Plan(failures=failures)), world, kept, 10.0)
        demand(got == want, f"{steps} (threshold {failures}): the others saw {got}; without {kinds}: {want}")

    return check


def interrupts(adapter: Adapter, example: tuple[int, list[str]]) -> None:
    """Ctrl-C, exit and a cancelled task count neither way and give a probe's place back."""
    neutral("ctrl-c", "exit")(adapter, example)
    if "async" in adapter.features:
        asyncio.run(_cancelled_probe(adapter, example[0]))


async def _cancelled_probe(adapter: Adapter, failures: int) -> None:
    async def fail() -> None:
        raise Broken

    with adapter.world() as world:
        subject = adapter.make(Plan(failures=failures))
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
    waiting = asyncio.ensure_future(entered.wait())
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


# -- B6 ------------------------------------------------------------------------------------------


def eras(adapter: Adapter, example: tuple[int, str, str]) -> None:
    """A call that began before the breaker changed finds nothing to change when it comes back."""
    failures, stage, late = example
    if not {"probes", "strict-probes"} <= adapter.features and stage == "half-open":
        stage = "open"
    with adapter.world() as world:
        subject = adapter.make(Plan(failures=failures, probes=2 if stage == "half-open" else 1))

        def slow() -> Any:
            # The calls inside this one stand for those of other threads while it runs.
            trip(subject, failures)
            if stage != "open":
                world.advance(10.0)
                demand(is_let_through(subject), "no probe was let through after the open period")
            if stage == "closed":
                trip(subject, failures - 1)
            if late == "fail":
                raise Broken
            return VALUE

        seen(subject, slow)
        what = f"a call from an earlier era came back ({late}) while {stage}"
        if stage == "open":
            demand(not is_let_through(subject), f"{what} and closed it")
        elif late == "fail":
            demand(is_let_through(subject), f"{what} and opened it")
        else:
            seen(subject, fails(Broken()))
            demand(not is_let_through(subject), f"{what}, and one more failure no longer opens it")


# -- B8 ------------------------------------------------------------------------------------------


def wall_clock(adapter: Adapter, example: tuple[float, str]) -> None:
    """The open period lasts as long as it lasts, whatever the wall clock and the time zone do."""
    step, zone = example
    with adapter.world() as world:
        subject = adapter.make(Plan(failures=1))
        trip(subject, 1)
        with _zone(zone):
            world.step(step)
            demand(
                not is_let_through(subject), f"a wall clock step of {step} s to {zone} ended the open period"
            )
            world.advance(10.0)
            demand(
                is_let_through(subject),
                f"a wall clock step of {step} s to {zone} made the open period longer",
            )


@contextmanager
def _zone(name: str) -> Iterator[None]:
    before = os.environ.get("TZ")
    try:
        _set_zone(name)
        yield
    finally:
        _set_zone(before)


def _set_zone(name: str | None) -> None:
    if name is None:
        os.environ.pop("TZ", None)
    else:
        os.environ["TZ"] = name
    if hasattr(time, "tzset"):
        time.tzset()


# -- B9 ------------------------------------------------------------------------------------------


def zero_and_none(adapter: Adapter, example: tuple[str, Any]) -> None:
    """A setting of zero or None is refused, or does what it says."""
    setting, value = example
    if setting == "probes" and "probes" not in adapter.features:
        return
    with adapter.world() as world:
        plan = replace(Plan(failures=1), **{setting: value})
        try:
            subject = adapter.make(plan)
        except Exception:
            return
        # A breaker that takes the value may still refuse it when it is first used.
        try:
            _HONOURED[setting](subject, world, value)
        except TypeError:
            return


def _failures_honoured(subject: Subject, world: World, value: Any) -> None:
    before = 0
    while before < 50 and seen(subject, fails(Broken())) == "error":
        before += 1
    demand(
        before in (0, 1, 50), f"failures={value!r} opened after {before} failures: a default took its place"
    )


def _open_for_honoured(subject: Subject, world: World, value: Any) -> None:
    trip(subject, 1)
    if value is None:
        world.advance(10 * 365 * 86400.0)
        demand(not is_let_through(subject), "open_for=None came to an end: a default took its place")
    else:
        demand(is_let_through(subject), "open_for=0 did not end at once: a default took its place")


def _probes_honoured(subject: Subject, world: World, value: Any) -> None:
    trip(subject, 1)
    world.advance(10.0)
    demand(not is_let_through(subject), f"probes={value!r} let a probe through: a default took its place")


_HONOURED: dict[str, Callable[[Subject, World, Any], None]] = {
    "failures": _failures_honoured,
    "open_for": _open_for_honoured,
    "probes": _probes_honoured,
}


# -- B10 -----------------------------------------------------------------------------------------


def raising_listener(adapter: Adapter, example: tuple[int, list[str]]) -> None:
    """With a listener that always raises, every caller sees what it sees without one."""
    failures, steps = example

    def bad(edge: Edge) -> None:
        raise RuntimeError("the listener's own trouble")

    logs = []
    for listener in (bad, lambda edge: None):
        with adapter.world() as world:
            subject = adapter.make(Plan(failures=failures, on_edge=listener))
            try:
                logs.append(drive(subject, world, steps, 10.0))
            except RuntimeError as error:
                raise AssertionError(f"a caller saw the listener's error: {error!r}") from error
    demand(logs[0] == logs[1], f"{steps}: callers saw {logs[0]}; with a good listener {logs[1]}")


# -- B11 -----------------------------------------------------------------------------------------


class Plain(Exception):
    """An ordinary exception class."""


class Abstract(Exception, metaclass=abc.ABCMeta):
    """One with the metaclass that people use."""


class _Liar(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return False


class Lying(Exception, metaclass=_Liar):
    """One whose metaclass denies its instances; ``except`` catches it all the same."""


class LyingChild(Lying):
    """A subclass of that; ``isinstance`` with its base asks the metaclass."""


class _Odd(type):
    def __eq__(cls, other: object) -> bool:
        raise RuntimeError("comparing classes")

    __hash__ = None  # type: ignore[assignment]


class Unhashable(Exception, metaclass=_Odd):
    """One that can neither be compared nor put in a set."""


class PlainChild(Plain):
    """A subclass of an excluded class."""


class AbstractChild(Abstract):
    """A subclass of an excluded class with a metaclass."""


_PAIRS: list[tuple[type[Exception], type[Exception]]] = [
    (Plain, Plain),
    (Plain, PlainChild),
    (Abstract, Abstract),
    (Abstract, AbstractChild),
    (Lying, Lying),
    (Lying, LyingChild),
    (Unhashable, Unhashable),
]


def exclusions(adapter: Adapter, example: tuple[int, tuple[type[Exception], type[Exception]]]) -> None:
    """An excluded class, whatever its metaclass, and its subclasses never open the breaker."""
    failures, (excluded, raised) = example
    with adapter.world():
        subject = adapter.make(Plan(failures=failures, ignore=(excluded,)))
        for _ in range(2 * failures):
            error = raised()
            try:
                subject.call(fails(error))
            except BaseException as caught:
                demand(caught is error, f"excluding {excluded.__name__}, {raised.__name__} led to {caught!r}")
        demand(
            is_let_through(subject), f"excluding {excluded.__name__}, {raised.__name__} opened the breaker"
        )
        trip(subject, failures)
        demand(not is_let_through(subject), f"excluding {excluded.__name__} keeps other errors from counting")


# -- B12 -----------------------------------------------------------------------------------------


def count_window(adapter: Adapter, example: tuple[int, int, float, list[bool]]) -> None:
    """A window over calls trips just when a recount of the last calls says so, in bounded memory."""
    size, minimum, rate, outcomes = example
    minimum = min(minimum, size)
    with adapter.world():
        subject = adapter.make(Plan(window_calls=size, failure_rate=rate, minimum_calls=minimum))
        last: deque[bool] = deque(maxlen=size)
        for n, failed in enumerate(outcomes):
            saw = seen(subject, fails(Broken()) if failed else answers)
            demand(
                saw != "rejected", f"call {n} of {outcomes} was rejected below the rate {rate}: {list(last)}"
            )
            last.append(failed)
            if len(last) >= minimum and sum(last) / len(last) >= rate:
                demand(seen(subject, answers) == "rejected", f"{list(last)} reaches {rate} and did not trip")
                return
            totals = subject.totals()
            demand(totals in (None, (len(last), sum(last))), f"totals {totals}, recount {list(last)}")
        _bounded(subject, size)


def _bounded(subject: Subject, size: int) -> None:
    for _ in range(2 * size):
        seen(subject, answers)
    before = deep_size(subject.raw)
    for _ in range(10 * size):
        seen(subject, answers)
    grown = deep_size(subject.raw) - before
    demand(grown <= 256, f"{10 * size} more calls made a window of {size} calls {grown} bytes larger")


def time_window(adapter: Adapter, example: tuple[float, list[tuple[float, bool]]]) -> None:
    """The totals of a window over seconds equal a recount, but for calls at its far edge (a tenth)."""
    seconds, steps = example
    with adapter.world() as world:
        subject = adapter.make(Plan(window_seconds=seconds, failure_rate=1.0, minimum_calls=1_000_000))
        now, calls = 0.0, []
        for gap, failed in steps:
            world.advance(gap * seconds)
            now += gap * seconds
            seen(subject, fails(Broken()) if failed else answers)
            calls.append((now, failed))
            _recounted(subject.totals(), now, seconds, calls)


def _recounted(totals: Any, now: float, seconds: float, calls: list[tuple[float, bool]]) -> None:
    if totals is None:
        return
    # A millionth of the window for the rounding of sums of floats.
    slack = seconds * 1e-6
    surely = [failed for at, failed in calls if now - at < 0.9 * seconds - slack]
    perhaps = [failed for at, failed in calls if now - at <= seconds + slack]
    demand(
        len(surely) <= totals[0] <= len(perhaps), f"{totals[0]} calls; recount {len(surely)}..{len(perhaps)}"
    )
    demand(sum(surely) <= totals[1] <= sum(perhaps), f"{totals[1]} failures; {sum(surely)}..{sum(perhaps)}")


def windows(adapter: Adapter, example: tuple[Any, Any]) -> None:
    """Both kinds of window, where there are both."""
    count_window(adapter, example[0])
    if "time-window" in adapter.features:
        time_window(adapter, example[1])


# -- B13 -----------------------------------------------------------------------------------------

LEGAL_EDGES = frozenset(
    {("closed", "open"), ("open", "half-open"), ("half-open", "open"), ("half-open", "closed")}
)


def edges(adapter: Adapter, example: tuple[int, list[str]]) -> None:
    """The edges that a listener is told of are legal, follow on each other, and each comes once."""
    failures, steps = example
    told: list[Edge] = []
    with adapter.world() as world:
        subject = adapter.make(Plan(failures=failures, on_edge=told.append))
        log = drive(subject, world, steps, 10.0)
    at = "closed"
    for edge in told:
        demand(edge in LEGAL_EDGES, f"{steps}: {edge} is no legal edge; told {told}")
        demand(edge[0] == at, f"{steps}: {edge} was told while {at}; told {told}")
        at = edge[1]
    opened = sum(edge == ("closed", "open") for edge in told)
    demand(opened == _model_openings(failures, steps), f"{steps}: callers saw {log}, the listener {told}")


def _model_openings(failures: int, steps: Sequence[str]) -> int:
    """How often a breaker with one probe goes from closed to open in ``steps``, by its definition."""
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


_STEPS = st.floats(0, 1.5, allow_nan=False).map(lambda gap: round(gap, 3))
_COUNTED = st.tuples(
    st.integers(1, 12),
    st.integers(1, 12),
    st.sampled_from([0.1, 0.25, 0.3, 0.5, 0.7, 1.0]),
    st.lists(st.booleans()),
)
_TIMED = st.tuples(
    st.sampled_from([10.0, 60.0, 300.0]), st.lists(st.tuples(_STEPS, st.booleans()), max_size=30)
)

SINGLE: tuple[Row, ...] = (
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
        "B8",
        "Wall clock and time zone do not matter.",
        wall_clock,
        st.tuples(
            st.floats(-1e6, 1e6).map(lambda s: round(s, 1)),
            st.sampled_from(["UTC", "Asia/Kolkata", "Pacific/Apia"]),
        ),
    ),
    Row(
        "B9",
        "Zero and None are honoured or refused, never replaced by a default.",
        zero_and_none,
        st.tuples(st.sampled_from(sorted(_HONOURED)), st.sampled_from([0, None])),
    ),
    Row(
        "B10",
        "A raising listener cannot disable the breaker or hide a value.",
        raising_listener,
        ops(),
        needs=frozenset({"listeners"}),
    ),
    Row(
        "B11",
        "Exclusions work for any exception class, those with a metaclass too.",
        exclusions,
        st.tuples(FAILURES, st.sampled_from(_PAIRS)),
        needs=frozenset({"ignore-classes"}),
    ),
    Row(
        "B12",
        "Window memory is bounded; aggregates equal a recount after any sequence.",
        windows,
        st.tuples(_COUNTED, _TIMED),
        needs=frozenset({"window"}),
    ),
    Row(
        "B13",
        "The state follows only legal edges, and each edge is reported once.",
        edges,
        ops(),
        needs=frozenset({"listeners"}),
    ),
)
