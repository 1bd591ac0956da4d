"""Layout ``pointer``: the target is a link, and a commit points it to another directory.

At every moment, also after a crash, a reader sees all of a transaction or nothing of it. The decision is the
rename of a link, and the directory that it points to never changes afterwards. Each record names the one
before it, which shows without a second write which transactions were committed and which were only begun.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from chaoskit.core.errors import wrong
from chaoskit.runtime.durable.files.leftovers import clean_leftovers
from chaoskit.runtime.durable.files.names import check_length, unfinished_name
from chaoskit.runtime.durable.files.renaming import rename
from chaoskit.runtime.durable.files.staging import sync_published
from chaoskit.runtime.durable.files.swapping import remove_tree
from chaoskit.runtime.durable.transactions.contents import TransactionFiles
from chaoskit.runtime.durable.transactions.local.absent import check_absent
from chaoskit.runtime.durable.transactions.local.stage import LocalStage, opened
from chaoskit.runtime.durable.transactions.local.workspace import Workspace, id_of
from chaoskit.runtime.durable.transactions.places import PlaceOptions, Reached, TransactionRecovery
from chaoskit.runtime.durable.transactions.records import (
    TransactionConflict,
    TransactionMember,
    TransactionReceipt,
)
from chaoskit.runtime.failures.taxonomy import TransactionError

__all__ = ["PointerDirectory", "workspace_of"]


def workspace_of(target: Path) -> Path:
    """The hidden directory of a target with this layout, which is beside the target.

    Raises:
        UsageError: the name of ``target`` is too long to put that directory beside it.
    """
    check_length(target, ".NAME.transactions")
    return target.with_name(f".{target.name}.transactions")


class PointerDirectory:
    """``target`` is a link to the newest generation; before the first commit the name is free."""

    def __init__(self, target: Path, options: PlaceOptions) -> None:
        self._target, self._options = target, options
        self._work = Workspace(workspace_of(target), options)

    def current(self) -> str | None:
        """The published generation; None if the target's name is free.

        Raises:
            UsageError: the target exists, and was not made by a transaction.
            StorageError: the target is listed and cannot be found.
        """
        try:
            led_to = os.readlink(self._target)
        except FileNotFoundError:
            check_absent(self._target)
            return None
        except OSError:
            # EINVAL means that it is not a link. Any other error must not look like a free name.
            if self._target.is_symlink() or not os.path.lexists(self._target):
                raise
            led_to = ""
        folder, _, generation = led_to.rpartition("/")
        if folder != self._work.folder.name or id_of(generation) is None:
            raise wrong(
                "target",
                str(self._target),
                "a free name, or a link that a transaction has made",
                "Move what is there away, and add it to the first transaction; or use layout='final'.",
            )
        return generation

    def known(self, id: str) -> TransactionReceipt | None:
        """The receipt of this id if it was committed, else None; it is durable when this returns."""
        if not self._attempts(id):
            return None
        with self._work.locked():
            return self._committed(id)

    def begin(self, id: str) -> LocalStage:
        """Create a stage, on top of what is published now."""
        return LocalStage(self._work, id, base=self.current(), reserved="")

    def prepare(self, stage: LocalStage) -> None:
        """Make all members durable."""
        stage.prepare()

    def commit(self, stage: LocalStage, reached: Reached) -> TransactionReceipt:
        """Point the link to the stage.

        Raises:
            TransactionConflict: another transaction was published since this one began; nothing was decided.
            OutcomeUnknown: readers see the transaction, but a power loss may bring the old state back.
            DiskFull, OSError: nothing was decided.
        """
        with self._work.locked():
            receipt = self._committed(stage.id)
            if receipt is not None:
                return receipt
            receipt = self._record(stage)
            self._point(stage.generation)
            reached("decided")
            if self._options.sync:
                sync_published(self._target)
            reached("published")
        stage.close()
        # The transaction is committed even if the clean-up fails. The next one, or a recovery, cleans up.
        with contextlib.suppress(Exception):
            self._sweep(stage.generation)
            reached("cleaned")
        return receipt

    def discard(self, stage: LocalStage) -> tuple[str, ...]:
        """Remove a stage unless it is published; return its path if that failed."""
        stage.close()
        with contextlib.suppress(Exception):
            # Ask the disk, since an interrupt may have come between the decision and ``reached``.
            if self.current() == stage.generation:
                return ()
            with contextlib.suppress(OSError):
                os.unlink(self._work.record(stage.generation))
            if remove_tree(stage.folder):
                return ()
        return (str(stage.folder),)

    def recover(self) -> TransactionRecovery:
        """Remove stages of dead processes, and members that were replaced longer than the grace ago."""
        if not self._work.names():
            return TransactionRecovery()
        with self._work.locked():
            published = self.current()
            if published is not None:
                self._settle(published)
            kept, whole = self._memory()
            # Without all records, committed generations can't be told from those that were only begun.
            aborted, running, removed = self._drop_abandoned(kept) if whole else ([], [], [])
            swept = self._sweep(published) if published is not None and whole else []
        clean_leftovers(self._work.folder)
        clean_leftovers(self._target.parent)
        return TransactionRecovery(
            aborted=tuple(aborted),
            running=tuple(running),
            removed=tuple(removed + swept),
            problems=() if whole else (self._unreadable(kept[-1] if kept else published or ""),),
        )

    def _drop_abandoned(self, kept: list[str]) -> tuple[list[str], list[str], list[str]]:
        """Remove stages of dead processes; return their ids, the running ids, and the removed names."""
        aborted, running, removed = {}, {}, []
        names = self._work.names()
        for generation in dict.fromkeys(name.removesuffix(".json") for name in names):
            id = id_of(generation)
            if id is None or generation in kept:
                continue
            if not self._work.abandoned(generation):
                running[id] = True
                continue
            aborted[id] = True
            # The record goes first: the stage carries the mark that shows whether an owner on another machine
            # lives.
            for name in (f"{generation}.json", generation):
                if name in names:
                    if not _remove(self._work.folder / name):
                        break
                    removed.append(name)
        return list(aborted), list(running), removed

    def newest(self) -> tuple[TransactionReceipt | None, Mapping[str, TransactionMember], TransactionFiles]:
        """The generation that is published now. Later commits don't change what this returned.

        Raises:
            TransactionError: its record is damaged.
        """
        generation = self.current()
        receipt, members = None, {}
        if generation is not None:
            receipt = self._work.read(self._work.record(generation))
            if receipt is None:
                raise TransactionError(self._unreadable(generation))
            members = {member.name: member for member in receipt.members}
        folder = self._work.stage(generation or "")
        return (
            receipt,
            members,
            TransactionFiles(members, functools.partial(opened, folder), f"{str(self._target)!r}"),
        )

    def _record(self, stage: LocalStage) -> TransactionReceipt:
        """Write the record, which must be durable before the link can point to its generation."""
        now = self.current()
        if now != stage.base:
            raise TransactionConflict(
                f"{str(self._target)!r} was at {stage.base or 'nothing'} when the transaction {stage.id!r}"
                f" began, and is at {now} by now"
            )
        before = None if now is None else self._work.read(self._work.record(now))
        receipt = TransactionReceipt(
            stage.id,
            stage.generation,
            "pointer",
            tuple(stage.members.values()),
            number=1 if before is None else before.number + 1,
            previous=now,
            at=self._options.clock.time(),
        )
        self._work.write(self._work.record(stage.generation), receipt)
        return receipt

    def _point(self, generation: str) -> None:
        """Point the link to a generation, with one rename."""
        link = unfinished_name(self._target)
        # Relative, so that the target and its hidden directory can be moved together.
        os.symlink(f"{self._work.folder.name}/{generation}", link)
        try:
            rename(link, self._target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(link)
            raise

    def _settle(self, generation: str) -> None:
        """Make a publication durable whose process may have died before it could sync.

        The link is made again, since after a failed sync another one would succeed without writing anything.
        """
        if self._options.sync:
            self._point(generation)
            sync_published(self._target)

    def _attempts(self, id: str) -> list[str]:
        """The generations of this id that have a record."""
        names = [name.removesuffix(".json") for name in self._work.names() if name.endswith(".json")]
        return [name for name in names if id_of(name) == id]

    def _committed(self, id: str) -> TransactionReceipt | None:
        attempts = self._attempts(id)
        if not attempts:
            return None
        for receipt in self._chain():
            if receipt.generation in attempts:
                published = self.current()
                if published is not None:
                    self._settle(published)
                return receipt
        return None

    def _chain(self) -> Iterator[TransactionReceipt]:
        """The committed receipts, newest first, up to the first record that can't be read."""
        generation = self.current()
        while generation is not None:
            receipt = self._work.read(self._work.record(generation))
            if receipt is None:
                return
            yield receipt
            generation = receipt.previous

    def _memory(self) -> tuple[list[str], bool]:
        """The committed generations, newest first, and True if their records reach back to the first one."""
        kept, last = [], None
        for last in self._chain():
            kept.append(last.generation)
        return kept, last.previous is None if last is not None else self.current() is None

    def _sweep(self, published: str) -> list[str]:
        """Remove the members of generations that were replaced longer than the grace ago.

        Their records are kept, since they show which ids were committed.
        """
        over = []
        newer = self._work.read(self._work.record(published))
        while newer is not None and newer.previous is not None:
            # Generations are removed from the oldest on, so all earlier ones are gone too.
            if not os.path.lexists(self._work.stage(newer.previous)):
                break
            if self._options.clock.time() - newer.at >= self._options.grace:
                over.append(newer.previous)
            newer = self._work.read(self._work.record(newer.previous))
        return [generation for generation in reversed(over) if _remove(self._work.stage(generation))]

    def _unreadable(self, generation: str) -> str:
        record = str(self._work.record(generation))
        return (
            f"{str(self._target)!r} leads to {generation}, whose record {record!r} or one before it"
            " is missing or damaged. Its members can't be verified. Commit them again from their source."
        )


def _remove(path: Path) -> bool:
    if path.is_dir():
        return remove_tree(path)
    with contextlib.suppress(OSError):
        path.unlink()
        return True
    return False
