"""The public form of a checkpoint, and the form in which a record holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, TypeAlias, get_args

from chaoskit.core.errors import wrong
from chaoskit.runtime.durable.checkpoints.sources import Artefact, Fingerprint
from chaoskit.runtime.durable.dead_letters.origins import FORGIVEN
from chaoskit.runtime.durable.store.codec import MAX_PAYLOAD, Encoded, encode
from chaoskit.runtime.durable.store.protocol import Kind, Record
from chaoskit.runtime.failures.taxonomy import CheckpointError

__all__ = [
    "PREFIX",
    "CheckpointRecord",
    "CheckpointContent",
    "Status",
    "check_status",
    "kind_of",
    "record_of",
]

PREFIX = "checkpoint:"
"""Begins the kind of a pipeline's checkpoints; the pipeline's name follows."""
HISTORY = 20
"""How many failures a checkpoint remembers: the newest ones."""
SHORT = 300
"""Characters of each message in the history."""
ROOM = 128 << 10
"""Bytes kept free for an error and the history: 20,000 characters of 6 bytes each in the worst case."""

Status: TypeAlias = Literal["pending", "running", "completed", "failed", "dead"]


def kind_of(pipeline: str) -> Kind:
    """The kind of record that holds the checkpoints of a pipeline."""
    return Kind(PREFIX + pipeline)


def check_status(name: str, *, saved: bool = False) -> Status:
    """Return ``name`` if it is a status; with ``saved``, if it is one that ``save`` can set.

    Raises:
        UsageError: it is not such a status.
    """
    known = ("pending", "completed", "failed") if saved else get_args(Status)
    for one in known:
        if name == one:
            return one  # type: ignore[no-any-return]
    raise wrong("status", name, f"one of {', '.join(map(repr, known))}")


@dataclass(frozen=True, slots=True)
class CheckpointContent:
    """The value of a checkpoint's record."""

    value: Any = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    source: Fingerprint | None = None
    artefacts: tuple[Artefact, ...] = ()
    progress: Any = None
    error: Mapping[str, Any] | None = None
    history: tuple[Mapping[str, Any], ...] = ()
    forgiven: int = 0
    letter: str | None = None
    correlation_id: str | None = None

    @classmethod
    def of(cls, record: Record) -> CheckpointContent:
        """The content of a record."""
        kept = dict(record.value)
        source = kept.pop("source")
        return cls(
            source=None if source is None else Fingerprint(**source),
            artefacts=tuple(Artefact(**one) for one in kept.pop("artefacts")),
            history=tuple(kept.pop("history")),
            forgiven=kept.pop(FORGIVEN),
            **kept,
        )

    def encoded(self) -> Encoded:
        """The text that the store keeps. It always leaves room to record a failure later.

        Raises:
            CheckpointError: the store cannot hold one of the values, or all of them are too large.
        """
        return _with_room(self._plain())

    def completed(self, value: Any, artefacts: tuple[Artefact, ...]) -> Encoded:
        """As :meth:`encoded`, with a result (None keeps the value), its artefacts, and no failure.

        Raises:
            CheckpointError: the store cannot hold one of the values, or all of them are too large.
        """
        # Without replace(): every step of a batch comes through here, and replace() would double its cost.
        plain = self._plain()
        if value is not None:
            plain["value"] = value
        plain["artefacts"] = [asdict(one) for one in artefacts]
        plain["error"] = plain["letter"] = None
        return _with_room(plain)

    def failed(self, attempt: int, error: Mapping[str, Any], at: float) -> CheckpointContent:
        """The content with one more failure."""
        seen = {"attempt": attempt, "type": error["type"], "message": error["message"][:SHORT], "at": at}
        return replace(self, error=error, history=(*self.history, seen)[-HISTORY:])

    def recorded(self) -> Encoded:
        """As :meth:`encoded`, after a failure: the text may use the room that was left for recording it."""
        return encode(self._plain())

    def _plain(self) -> dict[str, Any]:
        return {
            "value": self.value,
            "metadata": dict(self.metadata),
            "source": None if self.source is None else self.source.to_value(),
            "artefacts": [asdict(one) for one in self.artefacts],
            "progress": self.progress,
            "error": self.error,
            "history": list(self.history),
            FORGIVEN: self.forgiven,
            "letter": self.letter,
            "correlation_id": self.correlation_id,
        }


def _with_room(plain: dict[str, Any]) -> Encoded:
    text = encode(plain)
    # A character has at most 4 bytes, so most checkpoints need not be encoded a second time to measure them.
    if len(text) > (MAX_PAYLOAD - ROOM) // 4 and len(text.encode()) > MAX_PAYLOAD - ROOM:
        raise CheckpointError(
            f"the checkpoint is {len(text.encode()):,} bytes as JSON; expected at most"
            f" {MAX_PAYLOAD - ROOM:,}. Keep large state with Snapshots, or in a file that is an artefact."
        )
    return text


@dataclass(frozen=True, slots=True)
class CheckpointRecord:
    """One checkpoint as it was read. Times are in seconds since the epoch.

    ``status`` is ``"pending"``, ``"running"``, ``"completed"``, ``"failed"`` (may be tried again) or
    ``"dead"`` (its attempts are used up; ``letter`` is the id of its dead letter). ``attempts`` counts the
    starts that count towards the limit. ``due`` is when it may be claimed or, while it runs, when its lease
    ends. ``error`` is the last failure: type, message, chain, traceback.
    """

    key: str
    scope: str
    pipeline: str
    status: str
    value: Any
    metadata: Mapping[str, Any]
    attempts: int
    fence: int
    owner: str | None
    due: float | None
    created: float
    updated: float
    source: Fingerprint | None = None
    artefacts: tuple[Artefact, ...] = ()
    progress: Any = None
    error: Mapping[str, Any] | None = None
    history: tuple[Mapping[str, Any], ...] = ()
    letter: str | None = None
    correlation_id: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """All fields, as values that JSON can hold."""
        return asdict(self)


def record_of(record: Record) -> CheckpointRecord:
    """The checkpoint that a record holds."""
    content = CheckpointContent.of(record)
    return CheckpointRecord(
        key=record.key,
        scope=record.scope,
        pipeline=record.kind.removeprefix(PREFIX),
        status=record.status,
        value=content.value,
        metadata=content.metadata,
        attempts=record.attempts - content.forgiven,
        fence=record.fence,
        owner=record.owner,
        due=record.due,
        created=record.created,
        updated=record.updated,
        source=content.source,
        artefacts=content.artefacts,
        progress=content.progress,
        error=content.error,
        history=content.history,
        letter=content.letter,
        correlation_id=content.correlation_id,
    )
