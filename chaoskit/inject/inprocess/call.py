"""One call of Python code, as its wrapper understands it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from chaoskit.core.operation import Detail


class CannotStrike(Exception):
    """The call is made without the fault; the argument says why."""


def as_result(value: Any) -> int:
    """What the system call returned when Python returns ``value``."""
    return value if isinstance(value, int) else len(value) if isinstance(value, bytes) else 0


@dataclass(slots=True)
# Mutable and unchecked, since one is made for every call of a workload.
class PythonCall:
    """One call that concerns a workload's directory, or its time, or its peers.

    ``family``, ``target`` and ``second`` are as in :class:`chaoskit.core.operation.Operation`; ``name`` is
    that of the system call behind the function. ``do`` makes the call; ``detail`` returns what is known
    before it. ``part`` transfers only so many bytes, of the ``length`` that it would transfer. ``names`` are
    the file names for its errors. ``after`` completes the detail once the call has succeeded, and tracks open
    files.
    """

    family: str
    target: str
    name: str
    do: Callable[[], Any]
    detail: Callable[[], Detail]
    second: str | None = None
    part: Callable[[int], Any] | None = None
    length: int = 0
    names: tuple[Any, ...] = ()
    after: Callable[[Any, Any], Any] | None = None
    result: Callable[[Any], int] = as_result
    retried: bool = False
    """True if Python repeats the call when a signal interrupts it (PEP 475)."""
    damage: Callable[[str, Any], Any] | None = None
    """Damages the file about to be opened, by a label; returns the condition that notices the first read."""
    silence: Callable[[], Any] | None = None
    """Begins a connection that is never answered, for a socket that does not wait."""
    timeout: float | None = None
    """Seconds that a connection waits for an answer; None forever."""
    lasts: bool = False
    """True if it only waits, while other threads continue."""

    def error(self, number: int, text: str) -> OSError:
        """The error that Python would raise for this call."""
        names = [os.fspath(name) if hasattr(name, "__fspath__") else name for name in self.names]
        if len(names) > 1:
            return OSError(number, text, names[0], None, names[1])
        return OSError(number, text, *names)
