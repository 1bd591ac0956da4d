"""The decisions of a retry, as events.

They hold text and not the error itself: an observer that keeps its events must not keep the arguments of
every failed call alive through tracebacks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from chaoskit.runtime.log import WARNING
from chaoskit.runtime.observing.events import Event
from chaoskit.runtime.retrying.history import RetryContext

__all__ = [
    "BudgetExhausted",
    "HookFailed",
    "RetriesExhausted",
    "RetryEvent",
    "RetryScheduled",
    "RetrySucceeded",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryEvent(Event):
    """``policy`` and ``function`` are names; ``attempts`` is the number of attempts so far."""

    policy: str
    function: str
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryScheduled(RetryEvent):
    """An attempt failed, and another follows in ``wait`` seconds; ``quiet`` ones are not worth a warning."""

    name: ClassVar[str] = "retry.scheduled"

    wait: float
    error_type: str
    error: str
    category: str | None
    rule: str | None
    quiet: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySucceeded(RetryEvent):
    """A later attempt succeeded. A call whose first attempt succeeds emits no event."""

    name: ClassVar[str] = "retry.succeeded"

    context: RetryContext


@dataclass(frozen=True, slots=True, kw_only=True)
class RetriesExhausted(RetryEvent):
    """The call ends with the last error, for a ``reason``: see :mod:`chaoskit.runtime.retrying.course`."""

    name: ClassVar[str] = "retry.exhausted"

    reason: str
    error_type: str
    error: str
    context: RetryContext

    @property
    def log_level(self) -> int | None:
        """A warning, except for errors that are not to be retried: those are left to the caller."""
        return None if self.reason == "not-retryable" and self.attempts == 1 else WARNING


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetExhausted(RetryEvent):
    """A retry was due but the shared budget was used up; RetriesExhausted follows."""

    name: ClassVar[str] = "retry.budget_exhausted"

    balance: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HookFailed(RetryEvent):
    """A hook, or the repair step, raised an error. A hook's error has no other effect."""

    name: ClassVar[str] = "retry.hook_failed"

    hook: str
    error_type: str
    error: str
