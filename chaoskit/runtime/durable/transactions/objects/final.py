"""Layout ``final`` in an object store: members under their own keys, among other objects.

=====================================  ===================================================================
``NAME``                               a member
``.transactions/data/ID@NONCE/NAME``   a staged member
``.transactions/journal``              the decision; one at a time, since it is written only if absent
``.transactions/receipts/ID@NONCE.N``  transaction number N is finished
``.transactions/aborted/ID@NONCE``     a recovery has abandoned this stage
=====================================  ===================================================================

Several processes may finish one journal at once. Each first notes which object is at a member's place, then
checks that the journal is still open, and overwrites only the object that it noted. So a process that was
suspended in between cannot undo a later transaction, whose write changed the ETag. (The exception is a later
transaction that put back exactly the old bytes.)
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping
from typing import IO

from chaoskit.runtime.durable.transactions.contents import TransactionFiles, digest_of
from chaoskit.runtime.durable.transactions.objects.stage import (
    ObjectStage,
    decide,
    generation_in,
    opened_object,
)
from chaoskit.runtime.durable.transactions.objects.store import NotAsExpected, ObjectStore, content, read
from chaoskit.runtime.durable.transactions.places import PlaceOptions, Reached, TransactionRecovery
from chaoskit.runtime.durable.transactions.records import (
    TransactionConflict,
    TransactionMember,
    TransactionReceipt,
    newest_members,
)
from chaoskit.runtime.failures.stored import OutcomeUnknown, StoreBusy
from chaoskit.runtime.failures.taxonomy import TransactionError

__all__ = ["RESERVED", "FinalObjects"]

RESERVED = ".transactions"
DATA, JOURNAL = f"{RESERVED}/data/", f"{RESERVED}/journal"
RECEIPTS, ABORTED = f"{RESERVED}/receipts/", f"{RESERVED}/aborted/"
GIVEN_UP = "@recovery"
"""The id in a journal that abandons stages. No transaction can have this id."""
TRIES = 8
"""How many times to try when other processes are faster in writing a journal or a member."""


class FinalObjects:
    """A prefix of an object store. Members replace objects of the same name."""

    def __init__(self, store: ObjectStore, options: PlaceOptions) -> None:
        self._store, self._options = store, options

    def known(self, id: str) -> TransactionReceipt | None:
        """The receipt of this id if it was committed, else None. Finishes an open journal first."""
        self._finish_open()
        return self._committed(id)

    def begin(self, id: str) -> ObjectStage:
        """Create a stage."""
        return ObjectStage(self._store, DATA, id, base=None, reserved=RESERVED)

    def prepare(self, stage: ObjectStage) -> None:
        """Check that all members are in the store."""
        stage.prepare()

    def commit(self, stage: ObjectStage, reached: Reached) -> TransactionReceipt:
        """Write the journal, then every member to its place.

        Raises:
            StoreBusy: other processes were faster at every attempt; nothing was decided.
            TransactionConflict: a recovery has abandoned the stage; nothing was decided.
            OutcomeUnknown: decided, or perhaps decided; the next recovery finishes it.
        """
        for _ in range(TRIES):
            self._finish_open()
            receipt = self._committed(stage.id)
            if receipt is not None:
                return receipt
            receipt = TransactionReceipt(
                stage.id,
                stage.generation,
                "final",
                tuple(stage.members.values()),
                number=1 + max((_number(info.key) for info in self._store.list(RECEIPTS)), default=0),
                at=self._options.clock.time(),
            )
            etag = decide(
                stage,
                self._store,
                JOURNAL,
                receipt.encode(),
                lambda data: generation_in(data) == stage.generation,
                if_match=None,
            )
            if etag is None:
                # Either another journal is in the way, or ours was written and a recovery has finished it.
                # If an answer was lost, our request may still be on its way, and succeed once the key is
                # free again.
                stage.asked = stage.unsure
                continue
            self._finish_ours(stage, receipt, etag, reached)
            return receipt
        text = (
            f"{self._store}{JOURNAL} belonged to another transaction at each of {TRIES} attempts; expected it"
            " to be free. Try again later."
        )
        raise OutcomeUnknown(text, operation_id=stage.id) if stage.unsure else StoreBusy(text)

    def discard(self, stage: ObjectStage) -> tuple[str, ...]:
        """Remove a stage that was not decided; return its place if that failed."""
        with contextlib.suppress(Exception):
            if not stage.asked:
                stage.remove()
                return ()
        return (f"{self._store}{stage.prefix}",)

    def recover(self) -> TransactionRecovery:
        """Finish the open journal; abandon and remove stages that were idle for too long."""
        completed = self._finish_open()
        before = self._options.clock.time() - self._options.abandoned
        finished = {info.key.removeprefix(RECEIPTS).rpartition(".")[0] for info in self._store.list(RECEIPTS)}
        seen: dict[str, float] = {}
        for info in self._store.list(DATA):
            generation = info.key.removeprefix(DATA).split("/")[0]
            seen[generation] = max(info.modified, seen.get(generation, 0.0))
        removed = [generation for generation in seen if generation in finished]
        for generation in removed:
            self._remove(generation)
        old = [name for name, at in seen.items() if name not in finished and at <= before]
        running = [name.partition("@")[0] for name in seen if name not in finished and name not in old]
        # Abandoning stages is decided like a transaction: while its journal is open, no stage can be decided;
        # afterwards, the stages that it names cannot. Otherwise a suspended writer could decide a stage whose
        # members were removed.
        if old and not self._give_up(old):
            old = []
        self._store.abort_uploads(DATA, before)
        return TransactionRecovery(
            tuple(completed),
            tuple(dict.fromkeys(name.partition("@")[0] for name in old)),
            tuple(running),
            tuple(removed + old),
        )

    def newest(self) -> tuple[TransactionReceipt | None, Mapping[str, TransactionMember], TransactionFiles]:
        """All members of all transactions, each as the last transaction left it.

        Raises:
            TransactionError: a transaction is decided and not finished, so old and new may be mixed.
        """
        journal, _ = self._journal()
        if journal is not None and journal.id != GIVEN_UP and not self._void(journal):
            raise TransactionError(
                f"the transaction {journal.id!r} of {self._store} is decided and not finished",
                hint="Wait until it is, or run recover_transactions() if its process has died.",
            )
        receipts = []
        for info in self._store.list(RECEIPTS):
            receipt = self._read(info.key)
            if receipt is not None:
                receipts.append(receipt)
        members = newest_members(receipts)
        opener = functools.partial(opened_object, self._store, "")
        last = max(receipts, key=lambda one: one.number, default=None)
        return last, members, TransactionFiles(members, opener, str(self._store))

    def _read(self, key: str) -> TransactionReceipt | None:
        found = self._store.open(key)
        return None if found is None else TransactionReceipt.decode(read(found))

    def _committed(self, id: str) -> TransactionReceipt | None:
        for info in self._store.list(f"{RECEIPTS}{id}@"):
            return self._read(info.key)
        return None

    def _journal(self) -> tuple[TransactionReceipt | None, str]:
        found = self._store.open(JOURNAL)
        if found is None:
            return None, ""
        receipt = TransactionReceipt.decode(read(found))
        if receipt is None:
            raise TransactionError(
                f"{self._store}{JOURNAL} is damaged; expected the record of a transaction",
                hint="Look at what is below .transactions/data/, then delete the journal.",
            )
        return receipt, found[1]

    def _void(self, journal: TransactionReceipt) -> bool:
        """True if a recovery abandoned this stage before it was decided."""
        return self._store.head(ABORTED + journal.generation) is not None

    def _finish_ours(
        self, stage: ObjectStage, receipt: TransactionReceipt, etag: str, reached: Reached
    ) -> None:
        """Finish the transaction that was just decided."""
        try:
            if self._void(receipt):
                self._close(etag)
                raise TransactionConflict(
                    f"the transaction {stage.id!r} was idle for so long that a recovery has given it up"
                )
            reached("decided")
            self._finish(receipt, etag)
        except TransactionConflict:
            raise
        except Exception as error:
            raise OutcomeUnknown(
                f"the transaction {stage.id!r} is decided, but not all of it is in place: {error}",
                hint="Run recover_transactions() on the target, or the same transaction again.",
                operation_id=stage.id,
            ) from error
        reached("published")
        with contextlib.suppress(Exception):
            self._remove(stage.generation)
            reached("cleaned")

    def _finish_open(self) -> list[str]:
        """Finish the open journal, if there is one; return the id that was completed, in a list."""
        journal, etag = self._journal()
        if journal is None:
            return []
        if journal.id == GIVEN_UP:
            self._finish_giving_up(journal, etag)
            return []
        if self._void(journal):
            self._close(etag)
            return []
        self._finish(journal, etag)
        self._remove(journal.generation)
        return [journal.id]

    def _finish(self, journal: TransactionReceipt, etag: str) -> None:
        for member in journal.members:
            if not self._place(journal, member):
                # Another process has finished the journal: the receipt exists, and nothing is left to do.
                return
        key = f"{RECEIPTS}{journal.generation}.{journal.number}"
        with contextlib.suppress(NotAsExpected):
            self._store.put(key, content(journal.encode()), if_absent=True)
        self._close(etag)

    def _place(self, journal: TransactionReceipt, member: TransactionMember) -> bool:
        """Copy one member to its place; return False if the journal is no longer open.

        Raises:
            StoreBusy: other processes wrote to that place before every attempt.
            TransactionError: the staged member is missing or damaged.
        """
        for _ in range(TRIES):
            there = self._store.open(member.name)
            if there is not None and _is(there[0], member):
                return True
            # In this order: the object seen above must be older than the journal that is seen here.
            now, etag = self._journal()
            if now is None or now.generation != journal.generation:
                return False
            staged = self._store.open(f"{DATA}{journal.generation}/{member.name}")
            if staged is None or not _is(staged[0], member, close=False):
                # Another process may just have finished the journal and removed the stage. Then the journal
                # is gone too.
                if self._journal()[1] != etag:
                    return False
                raise TransactionError(
                    f"the transaction {journal.id!r} is decided, but its staged {member.name!r} is missing or"
                    " damaged. Upload it again, or delete the journal to give it up as it is."
                )
            with staged[0] as file, contextlib.suppress(NotAsExpected):
                match = None if there is None else there[1]
                self._store.put(member.name, file, if_absent=there is None, if_match=match)
        raise StoreBusy(f"{self._store}{member.name} was written by others {TRIES} times")

    def _close(self, etag: str) -> None:
        """Delete the journal if it is still this one."""
        with contextlib.suppress(NotAsExpected):
            self._store.delete(JOURNAL, if_match=etag)

    def _remove(self, generation: str) -> None:
        for info in list(self._store.list(f"{DATA}{generation}/")):
            self._store.delete(info.key)

    def _give_up(self, generations: list[str]) -> bool:
        """Decide that these stages will never be committed, and remove them.

        Returns False if another journal was in the way; nothing was decided then.
        """
        members = tuple(TransactionMember(name, 0, "") for name in generations)
        at = self._options.clock.time()
        journal = TransactionReceipt(GIVEN_UP, f"{GIVEN_UP}{at}", "final", members, at=at)
        try:
            etag = self._store.put(JOURNAL, content(journal.encode()), if_absent=True)
        except NotAsExpected:
            return False
        self._finish_giving_up(journal, etag)
        return True

    def _finish_giving_up(self, journal: TransactionReceipt, etag: str) -> None:
        # Mark all stages before removing any: from then on a journal for one of them is void.
        for member in journal.members:
            self._store.put(ABORTED + member.name, content(b""))
        for member in journal.members:
            self._remove(member.name)
        self._close(etag)


def _is(file: IO[bytes], member: TransactionMember, *, close: bool = True) -> bool:
    """Return True if a file has the content of a member. Closes the file, or rewinds it."""
    same = digest_of(file) == (member.size, member.checksum)
    if close:
        file.close()
    else:
        file.seek(0)
    return same


def _number(key: str) -> int:
    return int(key.rpartition(".")[2])
