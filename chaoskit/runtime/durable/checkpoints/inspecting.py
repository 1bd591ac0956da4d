"""What concerns all checkpoints of a pipeline: listing, counting, verifying and clearing them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from chaoskit.core.errors import wrong
from chaoskit.runtime.durable.checkpoints.records import CheckpointRecord, check_status, record_of
from chaoskit.runtime.durable.checkpoints.sources import Outputs
from chaoskit.runtime.durable.store.protocol import DamagedRecord, Kind, Page, Storage

__all__ = ["CheckpointStatistics", "CheckpointVerification", "clear", "statistics", "verify", "walk"]

PAGE = 500
# Without "running": removing such a record takes a worker's claim away, so the caller has to name it.
RESTING = ("pending", "completed", "failed", "dead")


@dataclass(frozen=True, slots=True)
class CheckpointStatistics:
    """Numbers of checkpoints. ``oldest_pending``: when the oldest pending one was written, or None."""

    total: int = 0
    by_status: Mapping[str, int] = field(default_factory=dict)
    oldest_pending: float | None = None


@dataclass(frozen=True, slots=True)
class CheckpointVerification:
    """The result of a verification. ``artefacts`` holds (scope, key, path, what is wrong)."""

    checked: int = 0
    damaged: tuple[DamagedRecord, ...] = ()
    artefacts: tuple[tuple[str, str, str, str], ...] = ()

    @property
    def ok(self) -> bool:
        """True if every record could be read and every artefact is unchanged."""
        return not self.damaged and not self.artefacts

    def to_dict(self) -> dict[str, Any]:
        """All fields and ``ok``, as values that JSON can hold."""
        return {**asdict(self), "ok": self.ok}


def walk(
    store: Storage,
    kind: Kind,
    *,
    scope: str | None = None,
    status: str | Sequence[str] | None = None,
) -> Iterator[CheckpointRecord]:
    """The checkpoints that match, a page at a time."""
    for page in _pages(store, kind, scope=scope, status=status):
        yield from map(record_of, page.records)


def statistics(store: Storage, kind: Kind) -> CheckpointStatistics:
    """The numbers as they are now."""
    counted = store.count(kind)
    oldest = store.oldest(kind, status="pending") if counted.get("pending") else None
    return CheckpointStatistics(sum(counted.values()), counted, oldest)


def verify(store: Storage, kind: Kind, outputs: Outputs | None) -> CheckpointVerification:
    """Read all records and, unless ``outputs`` is None, all artefacts of completed ones."""
    checked = 0
    damaged: list[DamagedRecord] = []
    wrongs: list[tuple[str, str, str, str]] = []
    for page in _pages(store, kind):
        checked += len(page.records) + len(page.damaged)
        damaged += page.damaged
        for one in map(record_of, page.records):
            if outputs is None or one.status != "completed":
                continue
            for artefact in one.artefacts:
                trouble = outputs.damage(artefact)
                if trouble:
                    wrongs.append((one.scope, one.key, artefact.path, trouble))
    return CheckpointVerification(checked, tuple(damaged), tuple(wrongs))


def clear(
    store: Storage,
    kind: Kind,
    *,
    scope: str | None,
    status: str | Sequence[str] | None,
    older_than: float | None,
    dry_run: bool,
) -> int:
    """Remove or count the records that match. Running ones match only if ``status`` names them.

    Raises:
        UsageError: there is no such status, or the age is negative.
    """
    if older_than is not None and not older_than >= 0:
        raise wrong("older_than", older_than, "seconds, at least zero")
    asked = RESTING if status is None else (status,) if isinstance(status, str) else tuple(status)
    states = [check_status(one) for one in asked]
    before = None if older_than is None else store.now() - older_than
    gone = 0
    if dry_run:
        for page in _pages(store, kind, scope=scope, status=states, before=before):
            # Damaged ones count too, since a purge removes records without reading them.
            gone += len(page.records) + len(page.damaged)
        return gone
    while True:
        some = store.write(
            lambda tx: tx.purge(kind, scope=scope, status=states, updated_before=before, limit=PAGE)
        )
        gone += some
        if some < PAGE:
            return gone


def _pages(
    store: Storage,
    kind: Kind,
    *,
    scope: str | None = None,
    status: str | Sequence[str] | None = None,
    before: float | None = None,
) -> Iterator[Page]:
    after = None
    while True:
        page = store.find(kind, scope=scope, status=status, updated_before=before, after=after, limit=PAGE)
        yield page
        after = page.next
        if after is None:
            return
