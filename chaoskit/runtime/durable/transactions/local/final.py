"""Layout ``final``: members have their own names in a directory that holds other files too.

The decision is a journal, written completely or not at all. After that every member is put in its place, and
if a crash interrupts this, the next transaction or recovery continues it. So all or nothing holds once a
recovery has run; until then a reader may see some members new and others old.

A member is *linked* beside its target and then renamed over it; it is not renamed out of the stage. Otherwise
the stage might become durable without the member before the target's directory has it, and a power loss would
remove it from both. A damaged journal counts as finished: it was complete when it was decided, so the damage
can only come from a power loss that half undid its removal.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from chaoskit.runtime.durable.files.directories import make_directories
from chaoskit.runtime.durable.files.leftovers import clean_leftovers
from chaoskit.runtime.durable.files.names import unfinished_name
from chaoskit.runtime.durable.files.renaming import identity, rename
from chaoskit.runtime.durable.files.swapping import remove_tree
from chaoskit.runtime.durable.files.syncing import sync_directory
from chaoskit.runtime.durable.files.writing import open_atomic, write_file
from chaoskit.runtime.durable.transactions.contents import PIECE, TransactionFiles, digest_of
from chaoskit.runtime.durable.transactions.local.absent import check_absent
from chaoskit.runtime.durable.transactions.local.stage import LocalStage, opened
from chaoskit.runtime.durable.transactions.local.workspace import Workspace, id_of
from chaoskit.runtime.durable.transactions.places import PlaceOptions, Reached, TransactionRecovery
from chaoskit.runtime.durable.transactions.records import (
    TransactionMember,
    TransactionReceipt,
    newest_members,
)
from chaoskit.runtime.failures.stored import OutcomeUnknown
from chaoskit.runtime.failures.taxonomy import TransactionError

__all__ = ["RESERVED", "FinalDirectory"]

RESERVED = ".transactions"
"""The hidden directory. It is inside the target, which may be a mounted disk: links don't cross disks."""


class FinalDirectory:
    """``target`` is a directory, created if necessary; members replace files of the same name."""

    def __init__(self, target: Path, options: PlaceOptions) -> None:
        self._target, self._options = target, options
        self._work = Workspace(target / RESERVED, options)

    def known(self, id: str) -> TransactionReceipt | None:
        """The receipt of this id if it was committed, else None; it is durable when this returns."""
        if not any(id_of(_parsed(name)[0]) == id for name in self._work.names()):
            return None
        with self._work.locked():
            self._finish_all()
            return self._committed(id)

    def begin(self, id: str) -> LocalStage:
        """Create a stage."""
        return LocalStage(self._work, id, base=None, reserved=RESERVED)

    def prepare(self, stage: LocalStage) -> None:
        """Make all members durable."""
        stage.prepare()

    def commit(self, stage: LocalStage, reached: Reached) -> TransactionReceipt:
        """Write the journal, then put every member in its place.

        Raises:
            OutcomeUnknown: decided, or perhaps decided; the next recovery finishes it.
            TransactionError: an earlier transaction can't be finished; nothing of this one was decided.
            DiskFull, OSError: nothing was decided.
        """
        with self._work.locked():
            problems, _ = self._finish_all()
            if problems:
                raise TransactionError(" ".join(problems))
            receipt = self._committed(stage.id)
            if receipt is not None:
                return receipt
            receipt = TransactionReceipt(
                stage.id,
                stage.generation,
                "final",
                tuple(stage.members.values()),
                number=1 + max((_parsed(name)[1] for name in self._work.names()), default=0),
                at=self._options.clock.time(),
            )
            # The decision. OutcomeUnknown passes unchanged: the journal then exists, and may survive.
            write_file(self._journal(stage.generation), receipt.encode(), durability=self._options.durability)
            reached("decided")
            try:
                self._place(receipt)
                self._close(receipt)
            except Exception as error:
                raise OutcomeUnknown(
                    f"the transaction {stage.id!r} is decided, but not all of it is in place: {error}",
                    hint=f"Run recover_transactions({str(self._target)!r}), or the same transaction again.",
                    operation_id=stage.id,
                ) from error
            reached("published")
        stage.close()
        if remove_tree(stage.folder):
            reached("cleaned")
        return receipt

    def discard(self, stage: LocalStage) -> tuple[str, ...]:
        """Remove a stage unless it was decided; return its path if that failed."""
        stage.close()
        journal = self._journal(stage.generation)
        with contextlib.suppress(OSError):
            # With lstat, not exists: an error other than "no such file" must not look like "not decided".
            try:
                os.lstat(journal)
            except FileNotFoundError:
                if remove_tree(stage.folder):
                    return ()
            else:
                return ()
        return (str(stage.folder),)

    def recover(self) -> TransactionRecovery:
        """Finish what was decided; remove stages of processes that have died."""
        if not self._work.names():
            return TransactionRecovery()
        aborted, running, removed = {}, {}, []
        with self._work.locked():
            problems, completed = self._finish_all()
            names = self._work.names()
            committed = {generation for generation, number in map(_parsed, names) if number}
            for name in names:
                id = id_of(name)
                if id is None or f"{name}.journal" in names:
                    continue
                if name not in committed and not self._work.abandoned(name):
                    running[id] = True
                elif remove_tree(self._work.folder / name):
                    removed.append(name)
                    if name not in committed:
                        aborted[id] = True
            parents = {(self._target / one).parent for one in newest_members(self._receipts())}
        for folder in (self._work.folder, self._target, *sorted(parents)):
            with contextlib.suppress(FileNotFoundError):
                clean_leftovers(folder)
        return TransactionRecovery(
            tuple(completed), tuple(aborted), tuple(running), tuple(removed), tuple(problems)
        )

    def newest(self) -> tuple[TransactionReceipt | None, Mapping[str, TransactionMember], TransactionFiles]:
        """All members of all transactions, each as the last transaction left it.

        Raises:
            TransactionError: a transaction is decided and not finished, so old and new members may be mixed.
        """
        receipts = list(self._receipts())
        committed = {receipt.generation for receipt in receipts}
        for name in self._work.names():
            open_ = name.endswith(".journal") and self._work.read(self._work.folder / name)
            if open_ and open_.generation not in committed:
                raise TransactionError(
                    f"the transaction {open_.id!r} of {str(self._target)!r} is decided and not finished",
                    hint="Wait until it is, or run recover_transactions() if its process has died.",
                )
        members = newest_members(receipts)
        where = f"{str(self._target)!r}"
        files = TransactionFiles(members, functools.partial(opened, self._target), where)
        return max(receipts, key=lambda one: one.number, default=None), members, files

    def _journal(self, generation: str) -> Path:
        return self._work.folder / f"{generation}.journal"

    def _receipts(self) -> Iterable[TransactionReceipt]:
        for name in self._work.names():
            if _parsed(name)[1]:
                receipt = self._work.read(self._work.folder / name)
                if receipt is not None:
                    yield receipt

    def _committed(self, id: str) -> TransactionReceipt | None:
        for name in self._work.names():
            generation, number = _parsed(name)
            if number and id_of(generation) == id:
                return self._work.read(self._work.folder / name)
        return None

    def _record(self, receipt: TransactionReceipt) -> Path:
        # With the number in the name, a listing is enough to find the next number and the committed ids.
        return self._work.folder / f"{receipt.generation}.{receipt.number}.json"

    def _place(self, receipt: TransactionReceipt) -> None:
        """Put the members in place for the first time, as links to the staged files, which are synced."""
        stage = self._work.stage(receipt.generation)
        for member in receipt.members:
            target = self._target / member.name
            self._make(target.parent)
            link = unfinished_name(target)
            try:
                os.link(stage / member.name, link)
            except OSError:
                # Either a share lost the answer to a call that took effect, or the file system has no hard
                # links, and the member has to be copied.
                if identity(link) != identity(stage / member.name):
                    self._copy(stage / member.name, target)
                    continue
            rename(link, target)
        if self._options.sync:
            for folder in {(self._target / member.name).parent for member in receipt.members}:
                sync_directory(folder)

    def _copy(self, source: Path, target: Path) -> None:
        with (
            open(source, "rb") as content,
            open_atomic(target, durability=self._options.durability) as file,
        ):
            while piece := content.read(PIECE):
                file.write(piece)

    def _make(self, folder: Path) -> None:
        if self._options.sync:
            make_directories(folder)
        else:
            os.makedirs(folder, exist_ok=True)

    def _close(self, receipt: TransactionReceipt) -> None:
        """Record that all is in place, then remove the journal. The other order could lose the receipt."""
        self._work.write(self._record(receipt), receipt)
        journal = self._journal(receipt.generation)
        try:
            os.unlink(journal)
        except OSError:
            if os.path.lexists(journal):
                raise
        # Synced before the stage is removed: if a power loss brought the journal back, it would need its
        # members.
        self._work.sync()

    def _finish_all(self) -> tuple[list[str], list[str]]:
        """Finish the open journals of other processes; return the problems, and the completed ids."""
        problems, completed = [], []
        names = self._work.names()
        for name in names:
            if not name.endswith(".journal"):
                continue
            receipt = self._work.read(self._work.folder / name)
            if receipt is None:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._work.folder / name)
                self._work.sync()
                continue
            if self._work.read(self._record(receipt)) is None:
                trouble = self._place_again(receipt)
                if trouble:
                    problems.append(trouble)
                    continue
                completed.append(receipt.id)
            self._close(receipt)
        return problems, completed

    def _place_again(self, receipt: TransactionReceipt) -> str:
        """Put the members in place after a crash; return what prevents that, or an empty text.

        They are copied: a link may already be in place, and linking again would change nothing. If syncing
        that place failed before, only a new change can make it durable.
        """
        stage = self._work.stage(receipt.generation)
        for member in receipt.members:
            source, target = stage / member.name, self._target / member.name
            try:
                with open(source, "rb") as file:
                    found = digest_of(file)
            except FileNotFoundError:
                check_absent(source)
                found = None
            if found != (member.size, member.checksum):
                return (
                    f"The transaction {receipt.id!r} is decided, but its staged {str(source)!r} is missing or"
                    f" damaged. Put the file with {member.checksum} there and recover; or remove"
                    f" {str(self._journal(receipt.generation))!r} to give it up as it is."
                )
            self._make(target.parent)
            self._copy(source, target)
        return ""


def _parsed(name: str) -> tuple[str, int]:
    """The generation in a name, and the number if it is the name of a receipt, otherwise 0."""
    stem, dot, number = name.removesuffix(".json").rpartition(".")
    if dot and name.endswith(".json") and number.isdigit():
        return stem, int(number)
    return name.removesuffix(".journal"), 0
