"""The public form of a dead letter, and the form of its record."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from chaoskit.core.errors import UsageError, wrong
from chaoskit.runtime.durable.dead_letters.origins import Origin
from chaoskit.runtime.durable.recorded import fingerprint
from chaoskit.runtime.durable.store.protocol import Kind, Record
from chaoskit.runtime.failures.base import PermanentError

__all__ = [
    "DEAD",
    "DeadLetter",
    "DeadLetterStatistics",
    "Failed",
    "RedriveLimit",
    "RedrivePlan",
    "letter_of",
    "pipeline_of",
]

DEAD = Kind("dead letter")
UNRESOLVED = ("open", "redriven")


class RedriveLimit(PermanentError):
    """The letter was redriven too often, or fails in the same way each time; nothing was changed."""

    default_hint = "Fix the cause first; then redrive it with force."


@dataclass(frozen=True, slots=True)
class Failed:
    """One final failure, as reported. Two reports of the same failure have the same name and number.

    Raises:
        UsageError: the pipeline or the run id is empty.
    """

    pipeline: str
    run_id: str
    error: Mapping[str, Any]
    payload: Any
    attempts: int
    history: Sequence[Mapping[str, Any]] = ()
    session: str = ""
    subject: str = ""
    correlation_id: str | None = None
    redrive: int = 0
    origin: Origin | None = None

    def __post_init__(self) -> None:
        if not self.pipeline or not self.run_id:
            raise wrong("pipeline, run_id", (self.pipeline, self.run_id), "two names that are not empty")

    @property
    def number(self) -> tuple[int, int]:
        """(redrive, attempts): greater for each failure of a run than for the one before."""
        return (self.redrive, self.attempts)

    def name(self, *more: object) -> str:
        """The id of its letter. ``more`` distinguishes several letters of one run."""
        scope = "" if self.origin is None else self.origin.scope
        # From what identifies the run, and nothing random, so that two workers that report the same failure
        # name the same letter.
        text = "\0".join(map(str, (self.pipeline, scope, self.run_id, *more)))
        # The pipeline comes first: it is the letter's scope, so the id alone finds the letter and shows a
        # person where it belongs. 16 digits are few enough to compare by eye.
        return f"{self.pipeline}:{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    def value(self, **more: Any) -> dict[str, Any]:
        """The value of its record."""
        return {
            "run_id": self.run_id,
            "error": dict(self.error),
            "payload": self.payload,
            "attempts": self.attempts,
            "number": list(self.number),
            "history": [dict(one) for one in self.history],
            "session": self.session,
            "subject": self.subject,
            "correlation_id": self.correlation_id,
            "origin": None if self.origin is None else asdict(self.origin),
            "fingerprint": fingerprint(self.error),
            "redrives": 0,
            "same": 1,
            "poison": False,
            "resolved": None,
            **more,
        }


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One run that failed for good. Times are in seconds since the epoch.

    ``status`` is ``"open"``, ``"redriven"`` (put back, and not known to have succeeded) or ``"resolved"``.
    ``poison`` is True if its redrives failed in the same way too often. ``resolved_by``, ``resolved_at`` and
    ``notes`` say how it was resolved.
    """

    id: str
    pipeline: str
    run_id: str
    status: str
    error: Mapping[str, Any]
    payload: Any
    attempts: int
    history: tuple[Mapping[str, Any], ...]
    session: str
    subject: str
    correlation_id: str | None
    redrives: int
    poison: bool
    created: float
    updated: float
    origin: Origin | None = None
    resolved_by: str | None = None
    resolved_at: float | None = None
    notes: str = ""

    @property
    def resolved(self) -> bool:
        """True if a person, or a later success, has resolved it."""
        return self.status == "resolved"

    def to_dict(self) -> dict[str, Any]:
        """All fields, as values that JSON can hold."""
        return {**asdict(self), "history": list(self.history)}


@dataclass(frozen=True, slots=True)
class DeadLetterStatistics:
    """Numbers of letters. ``by_pipeline`` has one for each status.

    ``oldest`` is when the oldest unresolved letter was written, in seconds since the epoch; None without one.
    ``damaged`` counts the letters that cannot be read; the other numbers leave them out.
    """

    total: int = 0
    unresolved: int = 0
    poison: int = 0
    oldest: float | None = None
    by_pipeline: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    damaged: int = 0


@dataclass(frozen=True, slots=True)
class RedrivePlan:
    """The ids of the letters that ``redrive_all`` put back, or would, and of those it left, with why."""

    redriven: tuple[str, ...]
    left: Mapping[str, str]
    dry_run: bool


def pipeline_of(id: str) -> str:
    """The pipeline that an id names.

    Raises:
        UsageError: ``id`` is not the id of a dead letter.
    """
    pipeline, colon, rest = id.rpartition(":")
    if not (colon and pipeline and rest):
        raise UsageError(
            f"{id!r} is not the id of a dead letter; expected PIPELINE:DIGITS, as find() and the command"
            " 'recovery list' show it."
        )
    return pipeline


def letter_of(record: Record) -> DeadLetter:
    """The letter that a record holds."""
    value, resolved = record.value, record.value["resolved"] or {}
    return DeadLetter(
        id=record.key,
        pipeline=record.scope,
        run_id=value["run_id"],
        status=record.status,
        error=value["error"],
        payload=value["payload"],
        attempts=value["attempts"],
        history=tuple(value["history"]),
        session=value["session"],
        subject=value["subject"],
        correlation_id=value["correlation_id"],
        redrives=value["redrives"],
        poison=value["poison"],
        created=record.created,
        updated=record.updated,
        origin=None if value["origin"] is None else Origin(**value["origin"]),
        resolved_by=resolved.get("by"),
        resolved_at=resolved.get("at"),
        notes=resolved.get("notes", ""),
    )
