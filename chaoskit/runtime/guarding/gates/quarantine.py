"""Quarantine: what failed a gate is moved out of the way, whole, with the reason beside it."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from chaoskit.core.errors import UsageError, wrong
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
    """One file or directory in quarantine; ``why`` None: a kill came before the reason was written."""

    path: Path
    why: FlagInfo | None


class Quarantine:
    """A directory on the same file system as what is put there.

    The reason is written first and the move is one rename: after a kill at any moment an item is in its place
    or in quarantine, never in both, and never in quarantine without its reason. Where a file system may lose
    half of a rename with the power, a file can have both names afterwards: :meth:`put` ends such a move.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self._directory = Path(os.path.abspath(directory))

    def put(self, path: str | os.PathLike[str], why: GateResult | str) -> Path:
        """Move ``path`` there, durably; where it is now. The reason is a flag beside it.

        Raises:
            FileNotFoundError: there is nothing at ``path``.
            UsageError: another item of that name is there, it is another file system, or the name is one that
                the quarantine uses itself: ``.….why``, or that of a file that is being written.
            OutcomeUnknown: it is there, and a power loss may still take it back.
            OSError: as the file system says; the item is where it was.
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
        # Looked at before the reason is written, which would else be that of the item that is there.
        if os.path.lexists(target):
            raise self._taken("there is an item {!r} in {!r}", source.name)
        make_directories(self._directory)
        reason = self._reason(source.name)
        self._say_why(reason, source, why)
        try:
            _move(source, target)
        except FileExistsError:
            # Another process was quicker with an item of that name, and the reason is beside it by now.
            raise self._taken("an item {!r} came to {!r} meanwhile", source.name) from None
        except OSError as error:
            reason.clear()
            if error.errno == errno.EXDEV:
                # A copy is not a move: killed in the middle it is neither here nor there.
                raise UsageError(
                    f"{str(self._directory)!r} is on another file system than {str(source)!r}; expected the"
                    " same one. Keep a quarantine for each file system."
                ) from error
            raise
        # Only now: a sync that fails leaves the item where it is by now, beside its reason.
        _sync(source, target)
        return target

    def release(self, name: str, to: str | os.PathLike[str]) -> Path:
        """Move the item out, to ``to``, and forget the reason; where it is now.

        Raises:
            UsageError: there is no such item, or something is at ``to``.
            OutcomeUnknown: it is there, and a power loss may still take it back.
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
        """What is there, by name.

        A reason whose item never came is left out, and so is one that a kill has left half written, which
        ``clean_leftovers`` removes.
        """
        names = sorted(os.listdir(self._directory)) if self._directory.is_dir() else []
        for name in names:
            if not self._is_ours(name):
                yield Quarantined(self._directory / name, self._reason(name).read())

    def _check(self, source: Path, why: object) -> None:
        if self._is_ours(source.name):
            # It would be taken for the reason of another item and written over by it, or never be listed.
            raise UsageError(
                f"{source.name!r} is named like what the quarantine keeps for itself; expected another name."
                " Rename it first."
            )
        if not isinstance(why, GateResult | str):
            raise wrong("why", why, "a GateResult or a text")

    def _say_why(self, reason: Flag, source: Path, why: GateResult | str) -> None:
        # From here, so that it stays true when the whole tree is moved.
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
    """The name of the reason beside an item of this name, which may be as long as a name can be."""
    whole = f".{name}{_REASON}"
    if len(os.fsencode(whole)) <= LONGEST:
        return whole
    # Cut, and told from others by a digest. Within it stands the name of a reason, which no item has: so it
    # is not that of another item, whatever that is called.
    tail = f".{hashlib.sha256(os.fsencode(name)).hexdigest()[:32]}{_REASON}{_REASON}"
    kept = os.fsencode(name)[: LONGEST - 2 - len(tail)].decode("utf-8", "ignore")
    return f"..{kept}{tail}"


def _move(source: Path, target: Path) -> None:
    try:
        rename_to_free_name(source, target)
    except Unsupported:
        # Such a file system replaces what came there since it was looked at: an item of the same name, put
        # there by another process in this very moment.
        rename(source, target)


def _names_one_file(there: os.stat_result, target: Path) -> bool:
    """True if both are names of one file: half of a move, of which the power took the rest."""
    try:
        return not stat.S_ISDIR(there.st_mode) and os.path.samestat(there, target.lstat())
    except OSError:
        return False


def _sync(source: Path, target: Path) -> None:
    # Both: a move of which only the first half is on disk is an item that is nowhere, or in two places.
    sync_published(target)
    sync_published(source)
