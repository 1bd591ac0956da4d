"""What is told, how badly it matters, and what carries it."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from chaoskit.runtime.redact import redact_text

__all__ = ["Channel", "Notice", "NotifierStatistics", "Severity"]

TITLE, TEXT, FIELDS = 200, 4000, 20
"""Characters of a title and of a text, and fields, that are carried."""


class Severity(enum.IntEnum):
    """How badly it matters. A critical one is never held back by a rate."""

    INFO = 10
    WARNING = 20
    ERROR = 30
    CRITICAL = 40

    @classmethod
    def named(cls, name: str) -> Severity:
        """The severity of that name, in any case. Raises KeyError for another."""
        return cls[name.upper()]


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to tell. ``key`` says what it is about: the same key soon again is not told again.

    ``repeated`` counts how often it came since it was last told; ``held_back`` how many others a rate has
    kept from being told. ``at`` is seconds since the epoch.
    """

    title: str
    text: str = ""
    severity: Severity = Severity.WARNING
    key: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    at: float = 0.0
    repeated: int = 0
    held_back: int = 0

    @classmethod
    def of(
        cls, title: str, text: str, severity: Severity, key: str | None, fields: Mapping[str, Any], at: float
    ) -> Notice:
        """With everything bounded and without secrets, as it leaves the machine."""
        # One line: a line break in a title would begin a second header of a mail.
        line = " ".join(_told(title).split())[:TITLE]
        some = list(fields.items())[:FIELDS]
        plain = {_told(str(name)): _told(str(value))[:TITLE] for name, value in some}
        return cls(line, _told(text)[:TEXT], severity, line if key is None else str(key), plain, at)

    def body(self) -> str:
        """Text and fields as plain text, with what was left out."""
        lines = [self.text] if self.text else []
        lines += [f"{name}: {value}" for name, value in self.fields.items()]
        if self.repeated:
            lines.append(f"This came {self.repeated} more times since it was last told.")
        if self.held_back:
            lines.append(f"{self.held_back} other notifications were held back by the rate.")
        return "\n".join(lines)


def _told(text: str) -> str:
    """Without secrets, and in characters that a mail can have: a name of a file need not be UTF-8."""
    return redact_text(text).encode(errors="backslashreplace").decode()


class Channel(Protocol):
    """Carries notifications. Called from the notifier's thread alone; any error is tolerated."""

    @property
    def name(self) -> str:
        """For the log; without secrets."""

    @property
    def least(self) -> Severity:
        """What matters less is not carried."""

    def send(self, notification: Notice) -> None:
        """Carry it, within a bounded time. Raises whatever happens."""


@dataclass(frozen=True, slots=True)
class NotifierStatistics:
    """Numbers since the notifier was made. ``dropped``: there was no room in the queue."""

    accepted: int = 0
    delivered: int = 0
    failed: int = 0
    repeated: int = 0
    held_back: int = 0
    dropped: int = 0
