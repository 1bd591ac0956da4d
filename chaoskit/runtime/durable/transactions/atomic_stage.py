"""One stage of a pipeline as a unit: the files it makes, its writes to the store, and undo actions.

The commit of the store decides. It holds the updates and the list of the files. By then the files are
complete and synced, under hidden names beside their targets. They get their names after the commit; if a
crash prevents that, ``AtomicStage.recover`` does it. So a row may be visible before its file: for some
milliseconds, or after a crash until the recovery. A file is never visible without its row, or half written.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from chaoskit.core.errors import UsageError, wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.calling.callables import called, synchronous
from chaoskit.runtime.durable.files.directories import make_directories
from chaoskit.runtime.durable.files.leftovers import clean_leftovers
from chaoskit.runtime.durable.files.names import unfinished_name
from chaoskit.runtime.durable.files.reading import open_regular
from chaoskit.runtime.durable.files.renaming import identity, rename
from chaoskit.runtime.durable.files.syncing import sync_directory, sync_file
from chaoskit.runtime.durable.files.writing import open_atomic
from chaoskit.runtime.durable.owners import Owner, lives, this_owner
from chaoskit.runtime.durable.store.asking import was_committed
from chaoskit.runtime.durable.store.protocol import Kind, Storage, Tx, checked
from chaoskit.runtime.durable.transactions.contents import PIECE, digest_of
from chaoskit.runtime.failures.stored import OutcomeUnknown
from chaoskit.runtime.failures.taxonomy import RollbackError, TransactionError

__all__ = ["AtomicStage"]

STAGE, FOLDER = Kind("stage"), Kind("stage-folder")
_HIDDEN = re.compile(r"\..*\.stage-([0-9]{35})-[0-9]+-[0-9]+", re.DOTALL)

logger = logging.getLogger("chaoskit")
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class _StageFile:
    """A file called ``hidden`` that is to become ``target``, in the same directory. ``size`` is in bytes."""

    hidden: str
    target: str
    size: int
    checksum: str


class AtomicStage:
    """Makes files and updates the store: all of it, or after an error in the block none of it.

    For one thread, and one use. The store's durability level applies to the files too, so choose one that is
    strong enough for them.

    Raises:
        UsageError: ``store`` is not an open store.
    """

    def __init__(self, name: str, *, store: Storage) -> None:
        self.name = kinds.text("name", name)
        self._store, self._sync = checked(store), store.durability == "power-loss"
        self._key = f"{this_owner()}-{next(_numbers)}"
        self._files: dict[Path, Path] = {}
        self._updates: list[Callable[[Tx], object]] = []
        self._undo: list[Callable[[], object]] = []
        self._after: list[Callable[[], object]] = []
        self._state = "new"

    def create(self, path: str | os.PathLike[str]) -> Path:
        """A free hidden path to write to. At the end of the block that file gets the name ``path``.

        Raises:
            UsageError: this is called outside the block, or ``path`` was given before or is a directory.
            OSError: the directory of ``path`` cannot be created.
        """
        self._check_open()
        target = Path(os.path.abspath(path))
        if target in self._files:
            raise wrong("path", str(path), "a path that this stage does not make yet")
        if target.is_dir():
            raise wrong("path", str(path), "the path of a file", "Use a Transaction for directories.")
        make_directories(target.parent)
        # Recorded before a file is created, so that a recovery knows where to look for abandoned ones.
        folder = _kept(self._store, target.parent)
        if self._store.get(FOLDER, folder) is None:
            self._store.put(FOLDER, folder, None, status="known")
        number = len(self._files) + 1
        # The limit on names is in bytes. The cut is between characters, so that the name stays valid text.
        name = os.fsencode(target.name)[:150].decode("utf-8", "ignore")
        self._files[target] = target.with_name(f".{name}.stage-{self._key}-{number}")
        return self._files[target]

    def update(self, fn: Callable[[Tx], object]) -> None:
        """Have ``fn(tx)`` write to the store in the commit. It may run twice, and must use only ``tx``."""
        self._check_open()
        synchronous("update", fn, optional=False)
        self._updates.append(fn)

    def on_rollback(self, fn: Callable[[], object]) -> None:
        """Have ``fn()`` undo an effect outside the store if the stage fails; the last added runs first."""
        self._check_open()
        synchronous("on_rollback", fn, optional=False)
        self._undo.append(fn)

    def after_commit(self, fn: Callable[[], object]) -> None:
        """Have ``fn()`` run once everything is in place. Its error is logged: it is too late to undo."""
        self._check_open()
        synchronous("after_commit", fn, optional=False)
        self._after.append(fn)

    def __enter__(self) -> Self:
        if self._state != "new":
            raise UsageError(f"the stage {self.name!r} is {self._state}; expected a new one. Make another.")
        self._state = "open"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Commit, or roll back.

        Raises:
            TransactionError: a file was not written for which ``create`` was called. The stage was rolled
                back, as after any other error.
            RollbackError: an undo action failed. All of them were run, and ``context`` names what is left.
            OutcomeUnknown: the stage is committed, or may be; ``AtomicStage.recover`` finishes it.
        """
        if error is not None:
            self._roll_back(error)
            return
        try:
            files = [self._staged(target, hidden) for target, hidden in self._files.items()]
            self._decide(files)
        except OutcomeUnknown:
            self._state = "unknown"
            raise
        except BaseException as failed:
            if self._state != "unknown":
                self._roll_back(failed)
            raise
        self._state = "decided"
        try:
            _place(files, sync=self._sync)
            self._store.write(lambda tx: tx.delete(STAGE, self._key, scope=self.name))
            _forget(list(self._files.values()))
        except Exception as failed:
            raise OutcomeUnknown(
                f"the stage {self.name!r} is committed, but not all of its files are in place: {failed}",
                hint="AtomicStage.recover(store) puts them there.",
            ) from failed
        self._state = "committed"
        for fn in self._after:
            try:
                called("after_commit", fn)
            except Exception:
                logger.exception("after the commit of the stage %s", self.name)

    def _decide(self, files: list[_StageFile]) -> None:
        value = {"files": [asdict(one) for one in files]}
        for one in value["files"]:
            one.update({name: _kept(self._store, Path(one[name])) for name in ("hidden", "target")})
        key, scope, updates = self._key, self.name, tuple(self._updates)

        def work(tx: Tx) -> None:
            for fn in updates:
                called("update", fn, tx)
            tx.put(STAGE, key, value, scope=scope, status="decided")

        operation = f"stage:{scope}:{key}"
        try:
            self._store.write(work, operation_id=operation)
        except OutcomeUnknown as unknown:
            # Until the store has answered, nothing may be undone, even if an error or Ctrl-C interrupts the
            # question.
            self._state = "unknown"
            # Asking once is enough, since the answer is final.
            if not was_committed(self._store, unknown):
                self._state = "open"
                raise TransactionError(f"the stage {self.name!r} could not be committed") from None

    def _staged(self, target: Path, hidden: Path) -> _StageFile:
        try:
            with open_regular(hidden) as file:
                if self._sync:
                    sync_file(file.fileno())
                size, checksum = digest_of(file)
        except FileNotFoundError:
            raise TransactionError(
                f"the stage {self.name!r} has not written {str(hidden)!r}; expected the content of"
                f" {str(target)!r} there",
                hint="Write to the path that create() returned.",
            ) from None
        if self._sync:
            sync_directory(target.parent)
        return _StageFile(str(hidden), str(target), size, checksum)

    def _roll_back(self, error: BaseException) -> None:
        self._state = "rolled back"
        failures: list[Exception] = []
        # All actions run, even if one fails: each undoes something different.
        for fn in reversed(self._undo):
            try:
                called("on_rollback", fn)
            except Exception as failed:
                failures.append(failed)
        left = []
        for hidden in self._files.values():
            try:
                hidden.unlink(missing_ok=True)
            except OSError:
                left.append(str(hidden))
        if failures:
            self._state = "rollback-failed"
            raise RollbackError(
                f"{len(failures)} of {len(self._undo)} undo actions of the stage {self.name!r} failed:"
                f" {'; '.join(map(repr, failures))}",
                context={"state": self._state, "left": left, "errors": [repr(one) for one in failures]},
            ) from error

    @staticmethod
    def recover(store: Storage) -> list[str]:
        """Put the files of committed stages in place, and remove the uncommitted files of dead stages.

        Returns the names of the stages that were finished. May be called at any time, twice, and in two
        processes at once.

        Raises:
            TransactionError: a committed file is missing, or cannot be put in place. The other stages are
                finished.
        """
        finished, troubles = [], []
        sync = store.durability == "power-loss"
        for record in _all(store, STAGE):
            files = [_StageFile(**one) for one in record.value["files"]]
            files = [
                replace(one, hidden=str(_found(store, one.hidden)), target=str(_found(store, one.target)))
                for one in files
            ]
            try:
                _place(files, sync=sync, again=True)
            # An error concerns only this stage; the others are finished all the same.
            except OSError as error:
                troubles.append(f"the stage {record.scope!r}: {error}")
                continue
            key, scope = record.key, record.scope
            store.write(lambda tx, key=key, scope=scope: tx.delete(STAGE, key, scope=scope))  # type: ignore[misc]
            _forget([Path(one.hidden) for one in files])
            finished.append(record.scope)
        for record in _all(store, FOLDER):
            try:
                for path in sorted(_found(store, record.key).iterdir()):
                    _drop(store, path)
                clean_leftovers(_found(store, record.key))
            except FileNotFoundError:
                pass
            except OSError as error:
                troubles.append(f"the directory {record.key!r}: {error}")
        if troubles:
            raise TransactionError(
                "; ".join(troubles),
                hint="Remove the cause, or create the files again; then recover again.",
            )
        return finished

    def _check_open(self) -> None:
        if self._state != "open":
            raise wrong("stage", self._state, "one within its with block", "Call it inside 'with stage:'.")


def _place(files: list[_StageFile], *, sync: bool, again: bool = False) -> None:
    """Give files their names, and check the ones that already have them. The hidden files stay.

    Files are linked, not renamed: after a power loss that keeps half of a rename, a file could be missing
    under both names. With ``again`` they are copied: linking a file that is already linked changes nothing,
    so a sync would have nothing to write.

    Raises:
        FileNotFoundError: the committed content is under neither name.
    """
    for file in files:
        hidden, target = Path(file.hidden), Path(file.target)
        # Another recovery may be running. A missing hidden file is an error only if the target is wrong too.
        with contextlib.suppress(FileNotFoundError):
            if again or not _linked(hidden, target):
                with open(hidden, "rb") as content, open_atomic(target) as copy:
                    while piece := content.read(PIECE):
                        copy.write(piece)
            continue
        with open(target, "rb") as there:
            if digest_of(there) != (file.size, file.checksum):
                raise FileNotFoundError(2, "the content that was committed is in neither place", str(target))
    if sync:
        for folder in sorted({Path(file.target).parent for file in files}):
            sync_directory(folder)


def _linked(hidden: Path, target: Path) -> bool:
    """Link a file to its target; return False where the file system has no hard links."""
    link = unfinished_name(target)
    try:
        os.link(hidden, link)
    except FileNotFoundError:
        raise
    except OSError:
        if identity(link) is None or identity(link) != identity(hidden):
            return False
    rename(link, target)
    # rename(2) does nothing if the target is already a link to the same file. Then this link still exists.
    with contextlib.suppress(OSError):
        link.unlink()
    return True


def _forget(hidden: list[Path]) -> None:
    """Remove hidden files whose targets are in place. A recovery removes those that cannot be removed now."""
    for path in hidden:
        with contextlib.suppress(OSError):
            path.unlink()


def _base(store: Storage) -> Path | None:
    path = getattr(store, "path", None)
    return None if path is None else Path(os.path.abspath(path)).parent


def _kept(store: Storage, path: Path) -> str:
    """A path as it is recorded: relative if it is below the store's directory, so that both can be moved."""
    base = _base(store)
    inside = base is not None and path.is_relative_to(base)
    return path.relative_to(base).as_posix() if inside and base is not None else str(path)


def _found(store: Storage, text: str) -> Path:
    """The path that ``_kept`` recorded as ``text``."""
    return (_base(store) or Path()) / text


def _drop(store: Storage, path: Path) -> None:
    """Remove a hidden file if the stage that made it is dead and was not committed."""
    found = _HIDDEN.fullmatch(path.name)
    owner = Owner.parse(found[1]) if found else None
    if owner is None or lives(owner) is not False:
        return
    key = path.name.rpartition(".stage-")[2].rpartition("-")[0]
    # The stages are listed only now, after the file was found: a list from before could lack a stage that was
    # committed in between and whose process has died since.
    if not any(record.key == key for record in _all(store, STAGE)):
        with contextlib.suppress(OSError):
            path.unlink()


def _all(store: Storage, kind: Kind) -> list[Any]:
    found: list[Any] = []
    after = None
    while True:
        page = store.find(kind, after=after)
        found += page.records
        after = page.next
        if after is None:
            return found
