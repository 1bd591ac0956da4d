"""What is told, how badly it matters, and what carries it."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from chaoskit.core.errors import wrong
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

    @classmethod
    def of(cls, given: object) -> Severity:
        """``given`` itself, or the one of that name or number. Raises UsageError for another."""
        try:
            return cls.named(given) if isinstance(given, str) else cls(given)  # type: ignore[arg-type]
        except (KeyError, ValueError):
            names = ", ".join(one.name.lower() for one in cls)
            raise wrong("severity", given, f"a Severity: {names}") from None


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
        """Bounded, without secrets and in characters that travel, as it leaves the machine.

        Raises UsageError for an unknown severity.
        """
        # One line: a line break in a title would begin a second header of a mail.
        line = " ".join(_travelling(title).split())[:TITLE]
        some = list(fields.items())[:FIELDS]
        plain = {_travelling(name): _travelling(value)[:TITLE] for name, value in some}
        name = line if key is None else str(key)
        return cls(line, _travelling(text)[:TEXT], Severity.of(severity), name, plain, at)

    def body(self) -> str:
        """Text and fields as plain text, with what was left out."""
        lines = [self.text] if self.text else []
        lines += [f"{name}: {value}" for name, value in self.fields.items()]
        if self.repeated:
            lines.append(f"This came {self.repeated} more times since it was last told.")
        if self.held_back:
            lines.append(f"{self.held_back} other notifications were held back by the rate.")
        return "\n".join(lines)


def _travelling(value: object) -> str:
    """As text that every channel can carry.

    The name of a file need not be UTF-8, and then has halves of surrogate pairs in it, at which a mail is
    never sent; an escape sequence would reach the terminal of its reader, and NUL is refused on the way.
    """
    text = redact_text(str(value)).encode(errors="backslashreplace").decode()
    return _CONTROLS.sub(lambda found: repr(found[0])[1:-1], text)


# All but tab and line breaks.
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


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
