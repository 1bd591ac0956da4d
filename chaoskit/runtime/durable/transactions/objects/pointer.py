"""Layout ``pointer`` in an object store: members under keys of their generation, and an object that names it.

================================  ========================================================================
``data/ID@NONCE/NAME``            a member; never changed
``manifest/ID@NONCE.json``        the record of a transaction; names the one before it
``CURRENT``                       the record of the last one, replaced under its ETag: the decision
================================  ========================================================================

A recovery rewrites ``CURRENT`` before it removes stages that were begun and never decided. A writer that was
suspended for so long then fails on the ETag, and cannot publish members that were removed.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace

from chaoskit.runtime.durable.transactions.contents import TransactionFiles
from chaoskit.runtime.durable.transactions.objects.stage import ObjectStage, decide, opened_object
from chaoskit.runtime.durable.transactions.objects.store import NotAsExpected, ObjectStore, content, read
from chaoskit.runtime.durable.transactions.places import PlaceOptions, Reached, TransactionRecovery
from chaoskit.runtime.durable.transactions.records import (
    TransactionConflict,
    TransactionMember,
    TransactionReceipt,
)
from chaoskit.runtime.failures.taxonomy import TransactionError

__all__ = ["CURRENT", "PointerObjects"]

CURRENT = "CURRENT"
DATA, MANIFEST = "data/", "manifest/"
NONE_YET = TransactionReceipt("@none", "@none", "pointer", (), number=0)
"""What a recovery writes to ``CURRENT`` before the first commit, so that writers then fail on the ETag."""


class PointerObjects:
    """A prefix of an object store. A stage is abandoned ``abandoned`` seconds after its last upload."""

    def __init__(self, store: ObjectStore, options: PlaceOptions) -> None:
        self._store, self._options = store, options

    def known(self, id: str) -> TransactionReceipt | None:
        """The receipt of this id if it was committed, else None."""
        attempts = {info.key for info in self._store.list(f"{MANIFEST}{id}@")}
        if not attempts:
            return None
        return next((one for one in self._chain(self._current()[0]) if _manifest(one) in attempts), None)

    def begin(self, id: str) -> ObjectStage:
        """Create a stage, on top of what is published now."""
        return ObjectStage(self._store, DATA, id, base=self._current()[1], reserved="")

    def prepare(self, stage: ObjectStage) -> None:
        """Check that all members are in the store."""
        stage.prepare()

    def commit(self, stage: ObjectStage, reached: Reached) -> TransactionReceipt:
        """Replace ``CURRENT``.

        Raises:
            TransactionConflict: since this transaction began, another was published or a recovery ran;
                nothing was decided.
            OutcomeUnknown: the store does not answer whether the transaction was decided.
        """
        receipt = self.known(stage.id)
        if receipt is not None:
            return receipt
        before, etag = self._current()
        if etag == stage.base:
            receipt = self._receipt(stage, before)
            encoded = receipt.encode()
            # The record comes first: a generation named by CURRENT must still be known once it is replaced.
            self._store.put(_manifest(receipt), content(encoded))
            etag = decide(
                stage, self._store, CURRENT, encoded, lambda data: data == encoded, if_match=stage.base
            )
            if etag is not None:
                reached("published")
                with contextlib.suppress(Exception):
                    self._sweep(receipt)
                    reached("cleaned")
                return receipt
            # Another was faster, unless only the answer was lost, and the other followed this transaction.
            receipt = self.known(stage.id)
            if receipt is not None:
                reached("published")
                return receipt
            # Each record differs from all earlier ones, and so does its ETag. So a request that is still on
            # its way can never meet its condition again.
            stage.asked = False
        raise TransactionConflict(
            f"{self._store}{CURRENT} was replaced since the transaction {stage.id!r} began"
        )

    def discard(self, stage: ObjectStage) -> tuple[str, ...]:
        """Remove a stage that was not decided; return its place if that failed."""
        with contextlib.suppress(Exception):
            # The request for a decision may still arrive. Only a recovery can rule that out.
            if not stage.asked:
                stage.remove()
                self._store.delete(f"{MANIFEST}{stage.generation}.json")
                return ()
            now = self._current()[0]
            if now is not None and now.generation == stage.generation:
                return ()
        return (f"{self._store}{stage.prefix}",)

    def recover(self) -> TransactionRecovery:
        """Remove abandoned stages, and members that were replaced longer than the grace ago."""
        now, etag = self._current()
        before = self._options.clock.time() - self._options.abandoned
        kept = {receipt.generation for receipt in self._chain(now)}
        seen: dict[str, float] = {}
        for folder in (DATA, MANIFEST):
            for info in self._store.list(folder):
                generation = info.key.removeprefix(folder).split("/")[0].removesuffix(".json")
                if generation not in kept:
                    seen[generation] = max(info.modified, seen.get(generation, 0.0))
        old = [generation for generation, at in seen.items() if at <= before]
        running = [generation.partition("@")[0] for generation in seen if generation not in old]
        if old and not self._fence(now, etag):
            # Another recovery, or a commit, was faster. The next recovery will find the same stages.
            old = []
        for generation in old:
            for info in list(self._store.list(f"{DATA}{generation}/")):
                self._store.delete(info.key)
            self._store.delete(f"{MANIFEST}{generation}.json")
        self._store.abort_uploads(DATA, before)
        removed = [*old, *(self._sweep(now) if now is not None else ())]
        aborted = dict.fromkeys(generation.partition("@")[0] for generation in old)
        return TransactionRecovery(aborted=tuple(aborted), running=tuple(running), removed=tuple(removed))

    def newest(self) -> tuple[TransactionReceipt | None, Mapping[str, TransactionMember], TransactionFiles]:
        """The members of the generation that is published now; later commits don't change them."""
        receipt = self._current()[0]
        if receipt is not None and receipt.generation == NONE_YET.generation:
            receipt = None
        members = {} if receipt is None else {member.name: member for member in receipt.members}
        prefix = f"{DATA}{receipt.generation if receipt else ''}/"
        opener = functools.partial(opened_object, self._store, prefix)
        return receipt, members, TransactionFiles(members, opener, str(self._store))

    def _current(self) -> tuple[TransactionReceipt | None, str | None]:
        found = self._store.open(CURRENT)
        if found is None:
            return None, None
        receipt = TransactionReceipt.decode(read(found))
        if receipt is None:
            raise TransactionError(
                f"{self._store}{CURRENT} is damaged; expected the record of a transaction",
                hint="Copy the newest object below manifest/ over it.",
            )
        return receipt, found[1]

    def _receipt(self, stage: ObjectStage, before: TransactionReceipt | None) -> TransactionReceipt:
        previous = None if before is None or before.generation == NONE_YET.generation else before.generation
        return TransactionReceipt(
            stage.id,
            stage.generation,
            "pointer",
            tuple(stage.members.values()),
            number=1 if before is None else before.number + 1,
            previous=previous,
            at=self._options.clock.time(),
        )

    def _fence(self, now: TransactionReceipt | None, etag: str | None) -> bool:
        """Rewrite ``CURRENT`` with the same meaning: every writer that has read it must then begin again."""
        same = now or NONE_YET
        data = replace(same, fence=same.fence + 1).encode()
        try:
            self._store.put(CURRENT, content(data), if_absent=etag is None, if_match=etag)
        except NotAsExpected:
            return False
        return True

    def _chain(self, receipt: TransactionReceipt | None) -> Iterator[TransactionReceipt]:
        """The committed transactions, newest first."""
        while receipt is not None:
            yield receipt
            if receipt.previous is None:
                return
            key = f"{MANIFEST}{receipt.previous}.json"
            found = self._store.open(key)
            receipt = None if found is None else TransactionReceipt.decode(read(found))
            if receipt is None:
                raise TransactionError(
                    f"{self._store}{key} is missing or damaged; expected the record of a transaction",
                    hint="Without it, committed transactions can't be told from others. Restore it.",
                )

    def _sweep(self, receipt: TransactionReceipt) -> list[str]:
        """Remove members that were replaced longer than the grace ago; keep the records."""
        over = []
        newer = receipt
        # Read lazily, up to the first generation whose members are gone, not through the whole history.
        for older in itertools.islice(self._chain(receipt), 1, None):
            keys = [info.key for info in self._store.list(f"{DATA}{older.generation}/")]
            if not keys and older.members:
                break
            if self._options.clock.time() - newer.at >= self._options.grace:
                over.append((older.generation, keys))
            newer = older
        # The oldest first: after a crash in between, the next sweep still reaches the rest.
        for _, keys in reversed(over):
            for key in keys:
                self._store.delete(key)
        return [generation for generation, _ in over]


def _manifest(receipt: TransactionReceipt) -> str:
    return f"{MANIFEST}{receipt.generation}.json"
