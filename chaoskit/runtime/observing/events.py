"""Events: a frozen record for every decision of a strategy.

A strategy defines its events beside itself, as subclasses of :class:`Event`, and tells them by
:func:`~chaoskit.runtime.observing.observers.emit`. Building a record costs more than finding no
listener, so a hot path asks :func:`~chaoskit.runtime.observing.observers.wanted` first.
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
    """What every event says. ``at`` is in seconds of the emitting strategy's monotonic clock.

    ``correlation_id`` is filled in from the context in force. A subclass is a frozen, slotted
    dataclass too and sets ``name``, which is promised to stay the same: ``retry.scheduled``.

    An event with a ``level`` is worth a line in the log of a program that has set up nothing. Most have none:
    what is normal, or ends in an error that the caller sees anyway, would only be noise.
    """

    name: ClassVar[str] = "event"
    level: ClassVar[int | None] = None

    at: float
    correlation_id: str | None = field(default_factory=correlation_id)

    @property
    def log_level(self) -> int | None:
        """The level at which this event is logged by default; None if it is not."""
        return self.level

    def to_dict(self) -> dict[str, Any]:
        """``event`` (the name) and every field, as values that JSON can hold, bounded and without secrets."""
        return {"event": self.name, **{f.name: _plain(getattr(self, f.name), f.name) for f in fields(self)}}


def _plain(value: Any, name: str) -> Any:
    if isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, BaseException):
        # Type and text alone: a traceback may show values that must not be logged.
        return {"type": type(value).__qualname__, "message": DEFAULT.message(value)}
    return DEFAULT.plain(value, name)
