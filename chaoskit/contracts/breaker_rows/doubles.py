"""The backends that the breaker rows call, and what a caller sees of them."""

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
"""The value that every healthy backend returns. It equals nothing else, so no breaker can make it up."""
FAILURES = st.integers(1, 5)


def fails(error: BaseException) -> Callable[[], Any]:
    """A backend that raises ``error``."""

    def backend() -> Any:
        raise error

    return backend


def answers() -> Any:
    """A healthy backend."""
    return VALUE


def seen(subject: Subject, fn: Callable[[], Any]) -> str:
    """What the caller of ``fn`` gets: ``value``, ``error`` (the backend's own), or ``rejected``.

    Raises any other error of the breaker, and AssertionError if the value is not the backend's.
    """
    try:
        value = subject.call(fn)
    except BaseException as error:
        if subject.is_rejection(error):
            return "rejected"
        if isinstance(error, Broken | Excluded | KeyboardInterrupt | SystemExit):
            return "error"
        # Neither the backend's error nor a rejection: the breaker itself failed, and so does the row.
        raise
    demand(value is VALUE, f"the backend's value came back as {value!r}")
    return "value"


def is_let_through(subject: Subject) -> bool:
    """Return True if a call reaches the backend now. It succeeds, and a closed breaker counts it."""
    return seen(subject, answers) == "value"


def trip(subject: Subject, failures: int) -> None:
    """Fail ``failures`` times in a row."""
    for _ in range(failures):
        # If a breaker raises another error for the call that opens it, that must fail B1 and no other row.
        try:
            subject.call(fails(Broken()))
        except Exception as error:
            demand(isinstance(error, Broken) or subject.is_rejection(error), repr(error))


def drive(subject: Subject, world: BreakerWorld, ops: Sequence[str], open_for: float) -> list[str]:
    """Do ``ops`` in order; return what each caller saw. "wait" lets ``open_for`` seconds pass."""
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
    """A threshold, and operations that are likely to reach it."""
    # "fail" twice: with equal chances few examples would have three failures in a row.
    steps = st.sampled_from(["ok", "fail", "fail", "wait", *kinds])
    return st.tuples(st.integers(1, 3), st.lists(steps, min_size=1, max_size=25))
