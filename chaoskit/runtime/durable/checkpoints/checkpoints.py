"""The checkpoints of one pipeline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from chaoskit.core.errors import wrong
from chaoskit.runtime.closing import ClosedOnExit
from chaoskit.runtime.context import correlation_id
from chaoskit.runtime.durable.checkpoints.answers import claimed_by, settle
from chaoskit.runtime.durable.checkpoints.batch import CheckpointBatch
from chaoskit.runtime.durable.checkpoints.claims import Claim, End
from chaoskit.runtime.durable.checkpoints.inspecting import (
    CheckpointStatistics,
    CheckpointVerification,
    clear,
    statistics,
    verify,
    walk,
)
from chaoskit.runtime.durable.checkpoints.records import (
    CheckpointContent,
    CheckpointRecord,
    check_status,
    kind_of,
    record_of,
)
from chaoskit.runtime.durable.checkpoints.renewal import Renewal
from chaoskit.runtime.durable.checkpoints.sources import (
    Checksum,
    Fingerprint,
    Outputs,
    Source,
    fingerprint_of,
    is_same,
)
from chaoskit.runtime.durable.checkpoints.transitions import ClaimedRecord, Terms, admit, start
from chaoskit.runtime.durable.dead_letters.letters import DeadLetters
from chaoskit.runtime.durable.levels import Durability
from chaoskit.runtime.durable.store.asking import was_committed
from chaoskit.runtime.durable.store.protocol import RUNNING, Storage, Tx
from chaoskit.runtime.durable.store.store import Store
from chaoskit.runtime.failures.base import ResilienceError
from chaoskit.runtime.failures.stored import LeaseLost, OutcomeUnknown

__all__ = ["MISSING", "Checkpoints"]

MISSING: Any = object()
"""Stands for "no default" in ``load``, where None is a default like any other."""


class Checkpoints(ClosedOnExit):
    """What a pipeline has done, is doing and has to do, by (scope, key), in a store.

    A step that is recorded as completed never runs again, unless its source has changed. One that is not
    runs at least once; each start is counted before it happens, and after ``attempts`` starts without a
    result it is a dead letter. ``lease`` seconds matter for workers on other machines alone: one on this
    machine owns what it has claimed for as long as it lives.
    """

    def __init__(
        self,
        target: Store | Path | str,
        *,
        pipeline: str = "default",
        attempts: int | None = None,
        lease: float = 60.0,
        durability: Durability | None = None,
        base: Path | str | None = None,
        letters: DeadLetters | None = None,
    ) -> None:
        """Use the store, or open the one in the file ``target`` (in a directory: ``checkpoints.db``).

        ``base`` is where artefacts lie, and the sources whose paths are to be relative; by default the
        directory of the store. ``durability`` is for a store that is opened here.

        Raises:
            UsageError: a limit, a name or a target that cannot be; a store with another durability.
            ResilienceError: the store cannot be opened.
        """
        if attempts is not None and attempts < 1:
            raise wrong("attempts", attempts, "at least 1, or None for no limit")
        if not lease > 0:
            raise wrong("lease", lease, "seconds, more than zero")
        if not pipeline:
            raise wrong("pipeline", pipeline, "a name")
        self._owned = not isinstance(target, Store)
        self._store = _opened(target, durability)
        self._kind = kind_of(pipeline)
        store = self._store.path
        # Beside the store, if it has a place; else where the program runs, as for every other name of a file.
        home = Path(base) if base is not None else store.parent if store is not None else Path.cwd()
        outputs = Outputs(home, store)
        self._terms = Terms(
            self._store, self._kind, pipeline, attempts, lease, outputs, letters or DeadLetters(self._store)
        )
        self._renewal = Renewal(self._terms)

    @property
    def store(self) -> Storage:
        """The store in which they are."""
        return self._store

    def save(
        self,
        key: str,
        value: Any = None,
        *,
        scope: str = "",
        status: str = "completed",
        metadata: Mapping[str, Any] | None = None,
        source: Source | None = None,
        tx: Tx | None = None,
    ) -> None:
        """Record ``value`` whatever was there: completed, unless ``status`` is ``"pending"`` or ``"failed"``.

        What is pending may be claimed at once. A claim that is held on it ends: the one that holds it raises
        ``LeaseLost``. ``source`` is read now.

        Raises:
            CheckpointError: the value cannot be kept, or is too large; nothing was changed.
            UsageError: a key, scope or status that cannot be.
        """
        state = check_status(status, saved=True)
        text = CheckpointContent(
            value, metadata or {}, self._fingerprint(source), correlation_id=correlation_id()
        ).encoded()
        due = (self._store.now() if tx is None else tx.now) if state == "pending" else None
        if tx is None:
            self._store.put(self._kind, key, text, scope=scope, status=state, due=due)
        else:
            tx.put(self._kind, key, text, scope=scope, status=state, due=due)

    def load(self, key: str, *, scope: str = "", default: Any = MISSING) -> Any:
        """The value of a checkpoint, whatever its status.

        Raises:
            KeyError: there is none, and no ``default``.
            RecordCorrupt, StoreTooNew: it is there and cannot be read.
        """
        found = self.record(key, scope=scope)
        if found is not None:
            return found.value
        if default is MISSING:
            raise KeyError(
                f"no checkpoint {key!r} in scope {scope!r} of pipeline {self._terms.pipeline!r}; expected one"
                " that was saved. Pass default= if it may be missing."
            )
        return default

    def record(self, key: str, *, scope: str = "") -> CheckpointRecord | None:
        """All that is known of a checkpoint, or None.

        Raises:
            RecordCorrupt, StoreTooNew: it is there and cannot be read.
        """
        found = self._store.get(self._kind, key, scope=scope)
        return None if found is None else record_of(found)

    def is_completed(
        self, key: str, *, scope: str = "", source: Source | None = None, verify_checksum: bool = False
    ) -> bool:
        """True if it was completed, from this source, and what it made is there.

        A source whose size and times are as they were counts as unchanged. With ``verify_checksum`` the
        source and every artefact are read, and have to be what they were.

        Raises:
            RecordCorrupt, StoreTooNew: it is there and cannot be read.
        """
        found = self.record(key, scope=scope)
        if found is None or found.status != "completed":
            return False
        # Without either the caller did not ask about the source, and a stat of each file would not be free.
        if (source is not None or verify_checksum) and not is_same(
            source, found.source, read=verify_checksum, base=self._terms.outputs.base
        ):
            return False
        return not any(self._terms.outputs.damage(one, read=verify_checksum) for one in found.artefacts)

    def claim(self, key: str, *, scope: str = "", source: Source | None = None) -> Claim | None:
        """The right to work on ``key``, or None if it cannot be claimed now.

        Not to be had: it is completed (from this source), another worker has it, it is not due, or its
        attempts are used up; then it is a dead letter from now on. A key that is not there is made. The
        attempt is counted, durably, before this returns.

        Raises:
            ResilienceError: the store's, and then nothing is claimed.
        """
        # Read before the claim and outside of any lock; the correlation id is that of the caller's context,
        # which the transaction does not have.
        new = CheckpointContent(source=self._fingerprint(source), correlation_id=correlation_id())
        return self._claim(key, scope, new, again=False)

    def reclaim(self, key: str, *, scope: str = "") -> Claim | None:
        """As :meth:`claim`, also of what is completed or dead: it is done again."""
        return self._claim(key, scope, CheckpointContent(correlation_id=correlation_id()), again=True)

    def claim_next(self, scope: str | None = "", limit: int = 1) -> list[Claim]:
        """Up to ``limit`` claims of what is due or whose worker died, the longest due first.

        ``scope`` None means any. What has no attempt left becomes a dead letter, and the next one is taken.

        Raises:
            ResilienceError: the store's, and then nothing is claimed.
        """
        terms = self._terms

        def work(tx: Tx) -> list[ClaimedRecord]:
            held: list[ClaimedRecord] = []
            # Again, because those that are buried make room: a poisonous step must not stand in front of
            # the others.
            while len(held) < limit:
                found = tx.claim(terms.kind, lease=terms.lease, scope=scope, limit=limit - len(held))
                if not found:
                    break
                held += [one for record in found if (one := admit(tx, terms, record)) is not None]
            return held

        return [Claim(terms, one, self._renewal, self._submit) for one in self._take(work)]

    def pending(self, *, scope: str | None = None) -> Iterator[CheckpointRecord]:
        """What waits to be claimed, by (scope, key). No read is held open; damaged records are left out."""
        return walk(self._store, self._kind, scope=scope, status="pending")

    def failed(self, *, scope: str | None = None) -> Iterator[CheckpointRecord]:
        """What failed: it may be claimed again by name, or is dead."""
        return walk(self._store, self._kind, scope=scope, status=("failed", "dead"))

    def completed(self, *, scope: str | None = None) -> Iterator[CheckpointRecord]:
        """What is done, also if its source has changed since: ``is_completed`` looks."""
        return walk(self._store, self._kind, scope=scope, status="completed")

    def in_progress(self, *, scope: str | None = None) -> Iterator[CheckpointRecord]:
        """What is claimed; the workers of some may have died since."""
        return walk(self._store, self._kind, scope=scope, status=RUNNING)

    def clear(
        self,
        *,
        scope: str | None = None,
        status: str | Sequence[str] | None = None,
        older_than: float | None = None,
        dry_run: bool = False,
    ) -> int:
        """Remove what matches all that is given (``older_than`` seconds since it was written); how many.

        What runs is left alone unless ``status`` names it. With ``dry_run`` they are counted only.

        Raises:
            UsageError: there is no such status.
        """
        return clear(
            self._store, self._kind, scope=scope, status=status, older_than=older_than, dry_run=dry_run
        )

    def forget(self, keys: Sequence[str], *, scope: str = "") -> int:
        """Remove these checkpoints in one transaction, whatever their status; how many there were."""
        kind = self._kind
        return self._store.write(lambda tx: sum(tx.delete(kind, key, scope=scope) for key in keys))

    def statistics(self) -> CheckpointStatistics:
        """How many there are of each status, and how old the oldest pending one is."""
        return statistics(self._store, self._kind)

    def verify(self, *, outputs: bool = True) -> CheckpointVerification:
        """Read every checkpoint and, unless told otherwise, every artefact; what is not as it was."""
        return verify(self._store, self._kind, self._terms.outputs if outputs else None)

    def batch(self, keys: Sequence[str], *, scope: str = "", window: int = 64) -> CheckpointBatch:
        """Work through ``keys`` with one commit for each ``window`` of them: see :class:`CheckpointBatch`."""
        return CheckpointBatch(self._terms, self._renewal, keys, scope=scope, window=window)

    def close(self) -> None:
        """Give back the claims that are held, and close the store if it was opened here."""
        # This process lives on, and with it the owner: what it still held could not be claimed by others.
        self._renewal.stop()
        for claim in self._renewal.claims():
            if isinstance(claim, Claim):
                with suppress(ResilienceError):
                    claim.release()
        if self._owned:
            self._store.close()

    def _claim(self, key: str, scope: str, new: CheckpointContent, *, again: bool) -> Claim | None:
        terms, text = self._terms, new.encoded()

        def work(tx: Tx) -> list[ClaimedRecord]:
            held = start(tx, terms, key, scope, new, text, again=again)
            return [] if held is None else [held]

        found = self._take(work)
        return Claim(terms, found[0], self._renewal, self._submit) if found else None

    def _take(self, work: Any) -> list[ClaimedRecord]:
        """Claim, and find what was claimed if the answer was lost: else it would be held for ever."""
        try:
            held: list[ClaimedRecord] = self._store.write(work)
            return held
        except OutcomeUnknown as unknown:
            if not was_committed(self._store, unknown):
                raise
            return claimed_by(self._store, self._kind, str(unknown.operation_id))

    def _submit(self, claim: Claim, end: End, urgent: bool) -> None:
        if not settle(self._store, end, urgent=urgent):
            claim.lost.set()
            raise LeaseLost(
                f"the claim of {claim.key!r} (fence {claim.fence}) is not valid any more; expected to hold"
                " it. Nothing was recorded."
            )

    def _fingerprint(self, source: Source | None) -> Fingerprint | None:
        if source is None:
            return None
        if not isinstance(source, Checksum):
            self._terms.outputs.refuse(Path(source))
        return fingerprint_of(source, self._terms.outputs.base)


def _opened(target: Store | Path | str, durability: Durability | None) -> Store:
    if isinstance(target, Store):
        # Durability belongs to the store. To accept another one here would promise what it does not keep.
        if durability not in (None, target.durability):
            raise wrong(
                "durability", durability, f"that of the store, {target.durability!r}", "Leave it out."
            )
        return target
    if not isinstance(target, str | Path):
        raise wrong("target", target, "an open store, or the path of one")
    path = target
    if "://" not in str(target) and Path(target).is_dir():
        path = Path(target) / "checkpoints.db"
    return Store.open(path, durability=durability or "power-loss")
