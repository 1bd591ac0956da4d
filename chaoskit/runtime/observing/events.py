"""Events: a frozen record for every decision of a strategy.

Each strategy defines its events in its own package, as subclasses of :class:`Event`, and emits them with
:func:`~chaoskit.runtime.observing.observers.emit`. Building a record costs more than finding that there is no
listener, so a hot path calls :func:`~chaoskit.runtime.observing.observers.wanted` first.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from chaoskit.runtime.context import correlation_id
from chaoskit.runtime.redact import DEFAULT

__all__ = ["Event"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """The fields of all events. ``at`` is in seconds of the emitting strategy's monotonic clock.

    ``correlation_id`` is filled in from the context in force. A subclass is also a frozen, slotted dataclass
    and sets ``name`` (such as ``retry.scheduled``), which is guaranteed to stay the same.

    An event with a ``level`` is logged even in a program that has set up nothing. Most have none: normal
    events, and those that end in an error for the caller anyway, would only be noise.
    """

    name: ClassVar[str] = "event"
    level: ClassVar[int | None] = None

    at: float
    correlation_id: str | None = field(default_factory=correlation_id)

    @property
    def log_level(self) -> int | None:
        """The level at which this event is logged by default; None if it is not logged."""
        return self.level

    def to_dict(self) -> dict[str, Any]:
        """``event`` (the name) and every field as JSON types, bounded and without secrets."""
        return {"event": self.name, **{f.name: _plain(getattr(self, f.name), f.name) for f in fields(self)}}


def _plain(value: Any, name: str) -> Any:
    if isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, BaseException):
        # Only type and text: a traceback may show values that must not be logged.
        return {"type": type(value).__qualname__, "message": DEFAULT.message(value)}
    return DEFAULT.plain(value, name)
