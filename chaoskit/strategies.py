"""Hypothesis strategies for testing code that uses the runtime, and policies of your own.

Needs Hypothesis: ``pip install chaoskit[contracts]``.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from chaoskit.core.errors import wrong
from chaoskit.core.extras import missing as _missing_extra
from chaoskit.core.schedule import Schedule
from chaoskit.faults import FaultSet, default
from chaoskit.faults.corrupt import formats
from chaoskit.faults.corrupt.examples import examples
from chaoskit.runtime.clock import VirtualClock
from chaoskit.runtime.failures import taxonomy
from chaoskit.runtime.retrying.backoff import (
    EQUAL,
    FULL,
    NONE,
    Backoff,
    Exponential,
    band,
)
from chaoskit.runtime.retrying.backoffs import Constant, Decorrelated, Linear
from chaoskit.runtime.retrying.policy import RetryPolicy
from chaoskit.session.worlds import Data, DrawnWorld, Prepare

try:
    from hypothesis import note
    from hypothesis import strategies as st
except ModuleNotFoundError as _error:
    raise _missing_extra(_error, "hypothesis", "contracts", "chaoskit.strategies") from None

__all__ = [
    "Answers",
    "backoffs",
    "breaker_options",
    "clocks",
    "damage",
    "errors",
    "jitters",
    "retry_policies",
    "answers",
    "world",
    "worlds",
]

# Not PartialFailure: an ExceptionGroup, which cannot be made without errors.
_CLASSES = tuple(
    cls
    for cls in (getattr(taxonomy, name) for name in taxonomy.__all__)
    if isinstance(cls, type)
    and issubclass(cls, taxonomy.ResilienceError)
    and cls is not taxonomy.PartialFailure
)
_PLAIN = (
    ConnectionError,
    ConnectionResetError,
    TimeoutError,
    MemoryError,
    ValueError,
    RuntimeError,
    KeyError,
)
_ERRNOS = (errno.ENOSPC, errno.EIO, errno.EACCES, errno.EMFILE, errno.ESTALE, errno.ECONNREFUSED, errno.EINTR)


@dataclass
class Answers:
    """A function whose calls end as ``outcomes`` say: errors are raised, other values returned.

    The last one is repeated forever. ``calls`` counts the calls.
    """

    outcomes: tuple[Any, ...]
    calls: int = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        outcome = self.outcomes[min(self.calls, len(self.outcomes) - 1)]
        self.calls += 1
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


def errors() -> st.SearchStrategy[Exception]:
    """Errors as programs meet them: plain ones, OSErrors with an errno, and those of the taxonomy."""
    plain = st.builds(lambda cls, text: cls(text), st.sampled_from(_PLAIN), st.text(max_size=10))
    os_errors = st.builds(lambda number: OSError(number, "x"), st.sampled_from(_ERRNOS))
    ours: st.SearchStrategy[Exception] = st.builds(lambda cls: cls("x", at=0.0), st.sampled_from(_CLASSES))
    return st.one_of(plain, os_errors, ours)


def answers(values: st.SearchStrategy[Any] | None = None, *, length: int = 8) -> st.SearchStrategy[Answers]:
    """Functions that fail some of the time: see :class:`Answers`; at most ``length`` different outcomes."""
    # One value against every kind of error: about half of the calls fail.
    outcomes = st.one_of(st.just("value") if values is None else values, errors())
    return st.lists(outcomes, min_size=1, max_size=length).map(lambda found: Answers(tuple(found)))


def clocks() -> st.SearchStrategy[VirtualClock]:
    """Virtual clocks with any start, in seconds; the wall clock is anywhere between 1970 and 2100."""
    return st.builds(VirtualClock, st.floats(0, 1e6), st.floats(0, 4.1e9))


def jitters() -> st.SearchStrategy[Any]:
    """None, full, equal, and bands of every width."""
    return st.one_of(st.sampled_from([NONE, FULL, EQUAL]), st.floats(0, 1).map(band))


@st.composite
def backoffs(draw: st.DrawFn, *, cap: float = 100_000.0) -> Backoff:
    """Backoffs of every kind with waits from zero to ``cap`` seconds."""
    most = draw(st.floats(0.001, cap))
    # Within the cap: a policy refuses an initial wait above it, and that is not what users test.
    initial = draw(st.floats(0, most))
    jitter = draw(jitters())
    kinds: list[Callable[[], Backoff]] = [
        lambda: Constant(initial, jitter),
        lambda: Linear(initial, initial / 2, most, jitter),
        lambda: Exponential(initial, most, draw(st.floats(1, 10)), jitter),
        lambda: Decorrelated(most / 10, most),
    ]
    return draw(st.sampled_from(kinds))()


@st.composite
def retry_policies(draw: st.DrawFn, /, **fixed: Any) -> RetryPolicy:
    """Policies that retry every ``Exception``, at most ten times; ``fixed`` options are kept as given."""
    options: dict[str, Any] = {
        "on": Exception,
        "attempts": draw(st.integers(1, 10)),
        "wait": draw(backoffs()),
        "deadline": draw(st.none() | st.floats(0.001, 1e5)),
        "quiet": draw(st.integers(0, 3)),
        "clock": VirtualClock(),
    }
    return RetryPolicy(**{**options, **fixed})


@st.composite
def breaker_options(draw: st.DrawFn) -> dict[str, Any]:
    """Keyword arguments for ``CircuitBreaker``: counting failures in a row, or a rate over a window."""
    common = {
        "open_for": draw(st.floats(0.1, 1000)),
        "probes": draw(st.integers(1, 4)),
        "clock": VirtualClock(),
    }
    if draw(st.booleans()):
        return {**common, "failures": draw(st.integers(1, 10))}
    rate = draw(st.floats(0.01, 1.0))
    return {
        **common,
        "failures": None,
        "failure_rate": rate,
        "window_calls": draw(st.integers(1, 50)),
        "minimum_calls": 1,
    }


def damage(format: str, data: bytes | None = None) -> st.SearchStrategy[bytes]:
    """Draw damaged files of a format: structural damages, or up to three small edits anywhere.

    They shrink towards the first structural damage, and towards few and short edits.

    Args:
        format: one of ``chaoskit.faults.corrupt.formats.names()``, such as ``"zip"`` or ``"csv"``.
        data: the good file; by default a small one of that format.

    Raises:
        UsageError: there is no such format, or ``data`` is of another.
    """
    if format not in formats.names():
        raise wrong("format", format, f"one of {', '.join(sorted(formats.names()))}")
    # A small file: a large one gives more places to damage, and the same damages.
    good = examples().get(format) if data is None else data
    if good is None:
        raise wrong("data", data, f"a good file: there is no example of {format}")
    if formats.format_of(good) != format:
        raise wrong("data", good[:20], f"a {format} file; it looks like {formats.format_of(good)}")
    # Not the lazy ones: Hypothesis draws hundreds, and each bomb takes its time.
    structural = [made.make for _, made in formats.damages(good) if not made.lazy]
    edit = st.tuples(st.sampled_from(_EDITS), st.integers(0, max(0, len(good) - 1)), st.integers(1, 512))
    # Few: after many edits a parser fails at the first of them.
    edits = st.lists(edit, min_size=1, max_size=3).map(lambda drawn: _edited(good, drawn))
    return st.sampled_from(structural).map(lambda make: make()) | edits


_EDITS = ("flip", "cut", "zero", "repeat")


def _edited(data: bytes, edits: list[tuple[str, int, int]]) -> bytes:
    for kind, at, length in edits:
        at %= max(1, len(data))
        head, part, tail = data[:at], data[at : at + length], data[at + length :]
        if kind == "flip" and part:
            data = head + bytes([part[0] ^ 1 << length % 8]) + data[at + 1 :]
        elif kind == "cut":
            data = head
        elif kind == "zero":
            data = head + bytes(len(part)) + tail
        else:
            data = head + part * 2 + tail
    return data


def worlds(
    data: st.SearchStrategy[Data], faults: FaultSet | None = None, *, prepare: Prepare | None = None
) -> st.SearchStrategy[DrawnWorld[Data]]:
    """Data and a schedule together: an input, and one fault at one call that the workload makes with it.

    ``world.run(workload)`` calls ``workload(world.path, world.data)`` twice, each time in another process:
    without faults, to learn which calls it makes with this data, and then under the schedule that is drawn.
    Both are made simpler together: towards simpler data, no fault, and an earlier call. First
    ``prepare(path, data)`` fills the directory of each run. ``faults`` defaults to ``faults.default()``.

    A failing example prints a line for ``@example`` that repeats it: see :func:`world`. Use
    ``@settings(deadline=None)``, since an example takes two forks.

    Raises:
        UsageError: if ``faults`` is not a set of faults.
    """
    asked = default() if faults is None else faults
    if not isinstance(asked, FaultSet):
        raise wrong("faults", faults, "a set of faults such as faults.disk()")

    @st.composite
    def drawn(draw: st.DrawFn) -> DrawnWorld[Data]:
        value, later = draw(data), draw(st.data())

        def choose(schedules: Sequence[str]) -> int:
            number = later.draw(st.integers(0, len(schedules) - 1), label="schedule")
            note(f"@example(world({value!r}, {schedules[number]!r}))")
            return number

        return DrawnWorld(value, asked, choose, prepare=prepare)

    return drawn()


def world(data: Data, schedule: str, *, prepare: Prepare | None = None) -> DrawnWorld[Data]:
    """The world with these data and this schedule, for ``@example``: a failing example prints such a line.

    ``prepare`` as in :func:`worlds`.

    Raises:
        ScheduleError: for a text that is not a schedule; ``world.run`` raises it for one that names a call
            that does not happen.
    """
    return DrawnWorld(data, FaultSet(), lambda schedules: 0, prepare=prepare, replay=Schedule.parse(schedule))
