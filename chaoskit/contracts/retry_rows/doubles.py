"""The functions that the retry rows call, and helpers that read how a call ended."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import strategies as st

__all__ = ["LAZY", "LIMITS", "SECONDS", "SMALL", "Failing", "eager", "function", "lazy", "outcome", "shows"]

SECONDS = st.floats(0.001, 5.0)
LIMITS = st.integers(1, 6)
SMALL = st.integers(0, 4)


class Failing:
    """A function that raises ``error(n)`` in its first ``failures`` calls, then returns its argument."""

    def __init__(self, failures: float, error: Callable[[int], BaseException] = ConnectionError) -> None:
        self.failures, self.error = failures, error
        self.calls = 0

    def __call__(self, value: Any = None) -> Any:
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error(self.calls)
        return value


def function(work: Callable[..., Any]) -> Callable[..., Any]:
    """A plain function around ``work``, since some libraries accept no other callable."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return work(*args, **kwargs)

    return call


def outcome(fn: Callable[..., Any], *args: Any) -> tuple[str, Any]:
    """``("value", v)`` or ``("error", e)``; KeyboardInterrupt and SystemExit are errors here."""
    try:
        return "value", fn(*args)
    except BaseException as error:
        return "error", error


def shows(raised: BaseException, original: BaseException) -> bool:
    """Return True if ``original`` is ``raised`` itself, or one of its causes."""
    # By identity, not by ``in``: errors may define __eq__, and the chain may be a cycle.
    seen: set[int] = set()
    link: BaseException | None = raised
    while link is not None and id(link) not in seen:
        if link is original:
            return True
        seen.add(id(link))
        link = link.__cause__
    return False


@contextmanager
def eager() -> Iterator[None]:
    """Switch between threads as often as the interpreter can, to provoke races."""
    before = sys.getswitchinterval()
    # Most examples are shorter than the default of 5 ms, so their threads would run one after the other.
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


LAZY = ("async def", "lambda", "object with a call")
"""The forms in which an async function may be given."""


def lazy(kind: str, ran: list[bool]) -> Callable[..., Any]:
    """An async function in the form ``kind``. Calling it does no work yet; running its coroutine is noted."""

    async def plain(*args: Any) -> bool:
        ran.append(True)
        return False

    class WithCall:
        async def __call__(self, *args: Any) -> bool:
            return await plain()

    shapes: dict[str, Callable[..., Any]] = dict(
        zip(LAZY, (plain, lambda *args: plain(), WithCall()), strict=True)
    )
    return shapes[kind]
