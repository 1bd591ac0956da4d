"""A notification, its severity, and the channels that carry it."""

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
"""The most characters of a title and of a text, and the most fields."""


class Severity(enum.IntEnum):
    """How much a notification matters. Critical ones are exempt from the rate."""

    INFO = 10
    WARNING = 20
    ERROR = 30
    CRITICAL = 40

    @classmethod
    def named(cls, name: str) -> Severity:
        """The severity with that name, in any case. Raises KeyError for an unknown name."""
        return cls[name.upper()]

    @classmethod
    def of(cls, given: object) -> Severity:
        """``given`` itself, or the severity with that name or number. Raises UsageError for anything else."""
        try:
            return cls.named(given) if isinstance(given, str) else cls(given)  # type: ignore[arg-type]
        except (KeyError, ValueError):
            names = ", ".join(one.name.lower() for one in cls)
            raise wrong("severity", given, f"a Severity: {names}") from None


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to tell. ``key`` identifies its subject: the same key is not told again for some time.

    ``repeated`` counts how often the key came since it was last told; ``held_back`` counts other
    notifications that the rate kept from being told. ``at`` is in seconds since the epoch.
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
        """A notice as it leaves the machine: bounded, without secrets, in text that every channel takes.

        Raises UsageError for an unknown severity.
        """
        # The title goes on one line: in a mail, a line break would begin another header.
        line = " ".join(_travelling(title).split())[:TITLE]
        some = list(fields.items())[:FIELDS]
        plain = {_travelling(name): _travelling(value)[:TITLE] for name, value in some}
        name = line if key is None else str(key)
        return cls(line, _travelling(text)[:TEXT], Severity.of(severity), name, plain, at)

    def body(self) -> str:
        """Text and fields as plain text, and the numbers of repetitions and of notifications held back."""
        lines = [self.text] if self.text else []
        lines += [f"{name}: {value}" for name, value in self.fields.items()]
        if self.repeated:
            lines.append(f"This came {self.repeated} more times since it was last told.")
        if self.held_back:
            lines.append(f"{self.held_back} other notifications were held back by the rate.")
        return "\n".join(lines)


def _travelling(value: object) -> str:
    """Convert to text that every channel can carry.

    A file name that is not UTF-8 contains lone surrogates, and a mail with these is never sent. An escape
    sequence would reach the reader's terminal, and servers refuse NUL.
    """
    text = redact_text(str(value)).encode(errors="backslashreplace").decode()
    return _CONTROLS.sub(lambda found: repr(found[0])[1:-1], text)


# All but tab and line breaks.
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


class Channel(Protocol):
    """Carries notifications. It is called on a thread that is not the job's, and may raise any error."""

    @property
    def name(self) -> str:
        """The channel's name in the log; without secrets."""

    @property
    def least(self) -> Severity:
        """The lowest severity that it carries."""

    def send(self, notification: Notice) -> None:
        """Carry it, within a bounded time. May raise any error."""


@dataclass(frozen=True, slots=True)
class NotifierStatistics:
    """Counters since the notifier was made. ``dropped`` counts notifications for which there was no room."""

    accepted: int = 0
    delivered: int = 0
    failed: int = 0
    repeated: int = 0
    held_back: int = 0
    dropped: int = 0
