"""The checkpoints of one pipeline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from chaoskit.core.errors import wrong
from chaoskit.runtime import kinds
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
from chaoskit.runtime.numbers import is_number, is_whole

__all__ = ["MISSING", "Checkpoints"]

MISSING: Any = object()
"""The sentinel for "no default" in ``load``, where None is a valid default."""


class Checkpoints(ClosedOnExit):
    """The steps of a pipeline, kept in a store by (scope, key): done, in progress, and left to do.

    A step that is recorded as completed never runs again, unless its source has changed. Every other step
    runs at least once. Each start is counted before it happens, and after ``attempts`` starts without a
    result the step becomes a dead letter. ``lease``, in seconds, matters only for workers on other machines:
    on this machine a worker keeps its claims until it dies.
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
        """Use the given store, or open the one in the file ``target`` (in a directory: ``checkpoints.db``).

        Paths of artefacts and sources below ``base`` are recorded relative to it; by default it is the
        directory of the store. ``durability`` applies only to a store that is opened here.

        Raises:
            UsageError: a limit, a name or ``target`` is not valid, or the store has another durability.
            ResilienceError: the store cannot be opened.
        """
        if attempts is not None and not (is_whole(attempts) and attempts >= 1):
            raise wrong("attempts", attempts, "at least 1, or None for no limit")
        if not (is_number(lease) and lease > 0):
            raise wrong("lease", lease, "seconds, more than zero")
        if not kinds.text("pipeline", pipeline):
            raise wrong("pipeline", pipeline, "a name")
        kinds.path("base", base, optional=True)
        kinds.instance("letters", letters, DeadLetters, optional=True)
        self._owned = not isinstance(target, Store)
        self._store = _opened(target, durability)
        self._kind = kind_of(pipeline)
        store = self._store.path
        # The directory of a store that is a file; otherwise the working directory, as for any relative path.
        home = Path(base) if base is not None else store.parent if store is not None else Path.cwd()
        outputs = Outputs(home, store)
        self._terms = Terms(
            self._store, self._kind, pipeline, attempts, lease, outputs, letters or DeadLetters(self._store)
        )
        self._renewal = Renewal(self._terms)

    @property
    def store(self) -> Storage:
        """The store that holds the checkpoints."""
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
        """Record ``value`` as completed, or as ``status`` says, and replace any older checkpoint.

        ``status`` may also be ``"pending"`` or ``"failed"``. A pending checkpoint can be claimed at once. If
        a worker holds a claim on it, that claim ends, and its next write raises ``LeaseLost``. ``source`` is
        read before this returns.

        Raises:
            CheckpointError: the store cannot hold the value, or it is too large; nothing was changed.
            UsageError: the key, scope or status is not valid.
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
            KeyError: there is no such checkpoint, and no ``default`` was given.
            RecordCorrupt, StoreTooNew: the checkpoint exists and cannot be read.
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
        """Everything recorded about a checkpoint; None if there is none.

        Raises:
            RecordCorrupt, StoreTooNew: the checkpoint exists and cannot be read.
        """
        found = self._store.get(self._kind, key, scope=scope)
        return None if found is None else record_of(found)

    def is_completed(
        self, key: str, *, scope: str = "", source: Source | None = None, verify_checksum: bool = False
    ) -> bool:
        """True if the step was completed, from this source, and its artefacts still exist.

        A source counts as unchanged if its size and times are. With ``verify_checksum`` the source and every
        artefact are read and compared with their checksums.

        Raises:
            RecordCorrupt, StoreTooNew: the checkpoint exists and cannot be read.
        """
        found = self.record(key, scope=scope)
        if found is None or found.status != "completed":
            return False
        # Without either argument the source is not checked: a stat for each file would cost time.
        if (source is not None or verify_checksum) and not is_same(
            source, found.source, read=verify_checksum, base=self._terms.outputs.base
        ):
            return False
        return not any(self._terms.outputs.damage(one, read=verify_checksum) for one in found.artefacts)

    def claim(self, key: str, *, scope: str = "", source: Source | None = None) -> Claim | None:
        """The right to work on ``key``, or None if it cannot be claimed now.

        A step cannot be claimed if it is completed (from this source), another worker has it, it is not due,
        or its attempts are used up; in the last case it becomes a dead letter. A key without a checkpoint
        gets one. The attempt is counted, durably, before this returns.

        Raises:
            ResilienceError: the store's; nothing is claimed then.
        """
        # Outside the transaction: reading the source may take long, and the correlation id is in the context
        # of the caller, which another thread that runs the transaction does not have.
        new = CheckpointContent(source=self._fingerprint(source), correlation_id=correlation_id())
        return self._claim(key, scope, new, again=False)

    def reclaim(self, key: str, *, scope: str = "") -> Claim | None:
        """As :meth:`claim`, but completed and dead steps can be claimed too, to be done again."""
        return self._claim(key, scope, CheckpointContent(correlation_id=correlation_id()), again=True)

    def claim_next(self, scope: str | None = "", limit: int = 1) -> list[Claim]:
        """Claim up to ``limit`` steps that are due or whose worker died, the longest due first.

        ``scope`` None means any scope. A step without attempts left becomes a dead letter, and the next one
        is taken in its place.

        Raises:
            ResilienceError: the store's; nothing is claimed then.
        """
        terms = self._terms

        def work(tx: Tx) -> list[ClaimedRecord]:
            held: list[ClaimedRecord] = []
            # In a loop, since steps that become dead letters leave places free: steps that are out of
            # attempts must not keep the caller from the ones behind them.
            while len(held) < limit:
                found = tx.claim(terms.kind, lease=terms.lease, scope=scope, limit=limit - len(held))
                if not found:
                    break
                held += [one for record in found if (one := admit(tx, terms, record)) is not None]
            return held

        return [Claim(terms, one, self._renewal, self._submit) for one in self._take(work)]

    def pending(self, *, scope: str | None = None) -> Iterator[CheckpointRecord]:
        """The steps that wait to be claimed, by (scope, key), without damaged ones.

        They are read in pages, and no transaction is open between two pages.
        """
        return walk(self._store, self._kind, scope=scope, status="pending")

    def failed(self, *, scope: str | None = None) -> Iterator[CheckpointRecord]:
        """The steps that failed: ``failed`` ones can be claimed again by name, ``dead`` ones cannot."""
        return walk(self._store, self._kind, scope=scope, status=("failed", "dead"))

    def completed(self, *, scope: str | None = None) -> Iterator[CheckpointRecord]:
        """The steps that are done. Their sources may have changed since, which ``is_completed`` checks."""
        return walk(self._store, self._kind, scope=scope, status="completed")

    def in_progress(self, *, scope: str | None = None) -> Iterator[CheckpointRecord]:
        """The steps that are claimed. Some of their workers may have died."""
        return walk(self._store, self._kind, scope=scope, status=RUNNING)

    def clear(
        self,
        *,
        scope: str | None = None,
        status: str | Sequence[str] | None = None,
        older_than: float | None = None,
        dry_run: bool = False,
    ) -> int:
        """Remove the checkpoints that match all arguments; return how many.

        ``older_than`` is in seconds since the last write. Running steps are left alone unless ``status``
        names them. With ``dry_run`` the checkpoints are only counted.

        Raises:
            UsageError: there is no such status, or ``older_than`` is negative.
        """
        return clear(
            self._store, self._kind, scope=scope, status=status, older_than=older_than, dry_run=dry_run
        )

    def forget(self, keys: Sequence[str], *, scope: str = "") -> int:
        """Remove these checkpoints in one transaction, whatever their statuses; return how many existed."""
        kind = self._kind
        return self._store.write(lambda tx: sum(tx.delete(kind, key, scope=scope) for key in keys))

    def statistics(self) -> CheckpointStatistics:
        """The number of checkpoints by status, and the time of the oldest pending one."""
        return statistics(self._store, self._kind)

    def verify(self, *, outputs: bool = True) -> CheckpointVerification:
        """Read every checkpoint and, with ``outputs``, every artefact; report what is damaged."""
        return verify(self._store, self._kind, self._terms.outputs if outputs else None)

    def batch(self, keys: Sequence[str], *, scope: str = "", window: int = 64) -> CheckpointBatch:
        """Work through ``keys`` with one commit for each ``window`` of them: see :class:`CheckpointBatch`."""
        return CheckpointBatch(self._terms, self._renewal, keys, scope=scope, window=window)

    def close(self) -> None:
        """Release the claims that are still held, and close the store if it was opened here."""
        # Claims end by themselves only when their process does, and this one lives on.
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
        """Run a write that claims. If its answer is lost, ask the store what it claimed.

        Claims that this process does not know of would be held until it ends.
        """
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
                f"the claim of {claim.key!r} (fence {claim.fence}) is no longer valid; expected to hold"
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
        # The store's durability is fixed. To accept another one would be a promise that the store breaks.
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
