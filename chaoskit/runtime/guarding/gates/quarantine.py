"""Quarantine: moves an item that failed a gate out of the way, as a whole, with the reason beside it."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from chaoskit.core.errors import UsageError, wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.durable.files.directories import make_directories
from chaoskit.runtime.durable.files.flag import Flag, FlagInfo
from chaoskit.runtime.durable.files.names import LONGEST, parse
from chaoskit.runtime.durable.files.renaming import Unsupported, rename, rename_to_free_name
from chaoskit.runtime.durable.files.staging import sync_published
from chaoskit.runtime.guarding.gates.records import GateResult

__all__ = ["Quarantine", "Quarantined"]

_REASON = ".why"


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A file or directory in quarantine; ``why`` is None if it was put there by other means."""

    path: Path
    why: FlagInfo | None


class Quarantine:
    """A directory for rejected items, on the same file system as the items.

    The reason is written first, and the move is a single rename: after a kill at any moment an item is either
    in its place or in quarantine, never in both, and never in quarantine without its reason. On a file system
    that may lose half of a rename at a power loss, a file can end up with both names; calling :meth:`put`
    again completes such a move.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self._directory = Path(os.path.abspath(kinds.instance("directory", directory, str, os.PathLike)))

    def put(self, path: str | os.PathLike[str], why: GateResult | str) -> Path:
        """Move ``path`` here, durably, and return its new path. The reason becomes a flag beside it.

        Raises:
            FileNotFoundError: there is nothing at ``path``.
            UsageError: the quarantine has another item of that name, or is on another file system; or the
                name is one that the quarantine uses itself: ``.….why``, or that of a file being written.
            OutcomeUnknown: the item was moved, but a power loss may still undo the move.
            OSError: the file system's own error; the item is still where it was.
        """
        source = Path(os.path.abspath(path))
        there = source.lstat()
        self._check(source, why)
        target = self._directory / source.name
        if _names_one_file(there, target):
            source.unlink()
            _sync(source, target)
            return target
        if source == self._directory or source in self._directory.parents:
            raise UsageError(
                f"{str(source)!r} holds the quarantine {str(self._directory)!r}; expected an item beside it."
            )
        # Check before the reason is written, which would replace that of the item that is already there.
        if os.path.lexists(target):
            raise self._taken("there is an item {!r} in {!r}", source.name)
        make_directories(self._directory)
        reason = self._reason(source.name)
        self._say_why(reason, source, why)
        try:
            _move(source, target)
        except FileExistsError:
            # Another process has put an item of that name there since the check. The reason is not removed:
            # by now it is the one beside that item.
            raise self._taken("another process has put an item {!r} into {!r}", source.name) from None
        except OSError as error:
            reason.clear()
            if error.errno == errno.EXDEV:
                # Refused, not copied: a kill in the middle of a copy would leave half of the item there.
                raise UsageError(
                    f"{str(self._directory)!r} is on another file system than {str(source)!r}; expected the"
                    " same one. Keep a quarantine for each file system."
                ) from error
            raise
        # Outside the handlers: if the sync fails, the item stays in quarantine, beside its reason.
        _sync(source, target)
        return target

    def release(self, name: str, to: str | os.PathLike[str]) -> Path:
        """Move the item out of the quarantine, to ``to``, remove its reason, and return its new path.

        Raises:
            UsageError: there is no such item, or ``to`` exists.
            OutcomeUnknown: the item was moved, but a power loss may still undo the move.
        """
        source, target = self._directory / name, Path(os.path.abspath(to))
        known = name == source.name and name != ".." and not self._is_ours(name)
        if not known or not os.path.lexists(source):
            raise UsageError(f"there is no item {name!r} in quarantine; expected one that items() lists.")
        if os.path.lexists(target):
            raise UsageError(f"there is something at {str(target)!r}; expected a path that is free.")
        _move(source, target)
        _sync(source, target)
        self._reason(name).clear()
        return target

    def items(self) -> Iterator[Quarantined]:
        """The items in quarantine, sorted by name.

        A reason without an item is left out. So is a reason that a kill left half written, which
        ``clean_leftovers`` removes.
        """
        names = sorted(os.listdir(self._directory)) if self._directory.is_dir() else []
        for name in names:
            if not self._is_ours(name):
                yield Quarantined(self._directory / name, self._reason(name).read())

    def _check(self, source: Path, why: object) -> None:
        if self._is_ours(source.name):
            # The item would pass for the reason of another item and be overwritten by it, or never be listed.
            raise UsageError(
                f"{source.name!r} is named like what the quarantine keeps for itself; expected another name."
                " Rename it first."
            )
        if not isinstance(why, GateResult | str):
            raise wrong("why", why, "a GateResult or a text")

    def _say_why(self, reason: Flag, source: Path, why: GateResult | str) -> None:
        # Relative to the quarantine, so that the path stays valid if the whole tree is moved.
        origin = os.path.relpath(source, self._directory)
        if isinstance(why, GateResult):
            reason.set("; ".join(map(str, why.findings)), result=why.to_dict(), origin=origin)
        else:
            reason.set(why, origin=origin)

    @staticmethod
    def _is_ours(name: str) -> bool:
        """True for the name of a reason, or of a file that is being written."""
        return (name.startswith(".") and name.endswith(_REASON)) or parse(name) is not None

    def _taken(self, what: str, name: str) -> UsageError:
        told = what.format(name, str(self._directory))
        return UsageError(f"{told}; expected a name that is free. Release or remove that one first.")

    def _reason(self, name: str) -> Flag:
        return Flag(self._directory / _reason_name(name))


def _reason_name(name: str) -> str:
    """The name of the reason for an item of this name, even if that is as long as a name can be."""
    whole = f".{name}{_REASON}"
    if len(os.fsencode(whole)) <= LONGEST:
        return whole
    # Cut, and made unique by a digest. With the leading dot and the final ".why" removed, what remains is
    # itself the name of a reason, which no item may have. So it cannot be the reason of a shorter name.
    tail = f".{hashlib.sha256(os.fsencode(name)).hexdigest()[:32]}{_REASON}{_REASON}"
    kept = os.fsencode(name)[: LONGEST - 2 - len(tail)].decode("utf-8", "ignore")
    return f"..{kept}{tail}"


def _move(source: Path, target: Path) -> None:
    try:
        rename_to_free_name(source, target)
    except Unsupported:
        # Without an exclusive rename, an item that another process has put under this name since the check
        # is replaced.
        rename(source, target)


def _names_one_file(there: os.stat_result, target: Path) -> bool:
    """Return True if both are names of one file, as after a move that a power loss cut short."""
    try:
        return not stat.S_ISDIR(there.st_mode) and os.path.samestat(there, target.lstat())
    except OSError:
        return False


def _sync(source: Path, target: Path) -> None:
    # Sync both directories: half of a move on disk would leave the item in neither place, or in both.
    sync_published(target)
    sync_published(source)
