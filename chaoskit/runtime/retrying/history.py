"""The failures of one retried call, kept as text."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import Any

__all__ = ["FailedAttempt", "AttemptLog", "RetryContext", "shown"]

# A policy without a limit on attempts may run for months; the newest failures matter most.
KEPT = 100


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """An attempt that failed at ``at``, in seconds since the epoch.

    ``wait`` is the pause after it, in seconds, or None if no attempt followed.
    """

    attempt: int
    error_type: str
    message: str
    at: float
    wait: float | None

    def to_dict(self) -> dict[str, Any]:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.at))
        return {
            "attempt": self.attempt,
            "type": self.error_type,
            "message": self.message,
            "timestamp": stamp,
            "wait": self.wait,
        }


@dataclass(frozen=True, slots=True)
class RetryContext:
    """The failures of one call: the newest 100, oldest first."""

    failures: tuple[FailedAttempt, ...]
    attempts: int
    exhausted: bool

    def to_dict(self) -> dict[str, Any]:
        return {
            "attempts": self.attempts,
            "exhausted": self.exhausted,
            "failures": [failure.to_dict() for failure in self.failures],
        }


class AttemptLog:
    """Collects the newest failures of one call."""

    __slots__ = ("_failures",)

    def __init__(self) -> None:
        self._failures: deque[FailedAttempt] = deque(maxlen=KEPT)

    def add(self, attempt: int, error: BaseException, at: float, wait: float | None) -> None:
        self._failures.append(FailedAttempt(attempt, type(error).__qualname__, shown(error), at, wait))

    def context(self, attempts: int, exhausted: bool) -> RetryContext:
        return RetryContext(tuple(self._failures), attempts, exhausted)


def shown(error: BaseException) -> str:
    """``str(error)``, even of an error whose ``__str__`` raises."""
    try:
        return str(error)
    except Exception as failure:
        return f"<{type(failure).__name__} while it was turned into text>"
