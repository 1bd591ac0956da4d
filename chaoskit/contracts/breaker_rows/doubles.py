"""The backends that the breaker rows call, and what a caller gets to see of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st

from chaoskit.contracts.breaker_adapter import BreakerWorld, Subject
from chaoskit.contracts.report import demand


class Broken(ConnectionError):
    """The failure of a backend that is down."""


class Excluded(LookupError):
    """An error that says nothing about the health of the backend."""


VALUE = object()
"""What every healthy backend returns: equal to nothing else, so that no breaker can make it up."""
FAILURES = st.integers(1, 5)


def fails(error: BaseException) -> Callable[[], Any]:
    """A backend that raises ``error``."""

    def backend() -> Any:
        raise error

    return backend


def answers() -> Any:
    """A backend that is healthy."""
    return VALUE


def seen(subject: Subject, fn: Callable[[], Any]) -> str:
    """What the caller of ``fn`` gets: ``value``, ``error`` (the backend's own), or ``rejected``.

    Raises whatever else comes out of the breaker, and AssertionError for a value that is not the backend's.
    """
    try:
        value = subject.call(fn)
    except BaseException as error:
        if subject.is_rejection(error):
            return "rejected"
        if isinstance(error, Broken | Excluded | KeyboardInterrupt | SystemExit):
            return "error"
        # Neither the backend's nor a rejection: an error of the breaker itself, which fails the row.
        raise
    demand(value is VALUE, f"the backend's value came back as {value!r}")
    return "value"


def is_let_through(subject: Subject) -> bool:
    """A call that succeeds reaches the backend now; a closed breaker counts it."""
    return seen(subject, answers) == "value"


def trip(subject: Subject, failures: int) -> None:
    """Fail ``failures`` times in a row."""
    for _ in range(failures):
        # A breaker that raises its own error for the call that trips it fails B1, and B1 alone.
        try:
            subject.call(fails(Broken()))
        except Exception as error:
            demand(isinstance(error, Broken) or subject.is_rejection(error), repr(error))


def drive(subject: Subject, world: BreakerWorld, ops: Sequence[str], open_for: float) -> list[str]:
    """Do ``ops`` in order; return what each caller saw. ``open_for`` is what "wait" lets pass, in seconds."""
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
    # "fail" twice: with even odds few examples would ever reach a threshold of three in a row.
    steps = st.sampled_from(["ok", "fail", "fail", "wait", *kinds])
    return st.tuples(st.integers(1, 3), st.lists(steps, min_size=1, max_size=25))
