"""The content of what is moved or linked in from outside the scenario's directory."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator

from chaoskit.core.operation import Brought, Payload
from chaoskit.inject.kernel.border import CannotExecute
from chaoskit.inject.kernel.files import extents, translate
from chaoskit.inject.kernel.files.calls import FileCall
from chaoskit.inject.kernel.files.payload import WHOLE, PayloadStore


def in_file(call: FileCall, store: PayloadStore) -> Payload | None:
    """The content of a file; None of anything else."""
    assert call.path is not None
    found = os.lstat(call.path)
    return _content(call.path, found, store) if stat.S_ISREG(found.st_mode) else None


def in_directory(call: FileCall, store: PayloadStore, unsynced: Callable[[str], bool]) -> tuple[Brought, ...]:
    """Everything in a directory, each directory before its entries; empty for anything else.

    ``unsynced`` is called with the name that each file had outside.
    """
    assert call.path is not None
    try:
        if not stat.S_ISDIR(os.lstat(call.path).st_mode):
            return ()
        return tuple(_below(call.path, "", call.target, store, unsynced))
    except (OSError, CannotExecute):
        return ()


def _below(
    path: str, within: str, target: str, store: PayloadStore, unsynced: Callable[[str], bool]
) -> Iterator[Brought]:
    with os.scandir(path) as entries:
        # In a fixed order, since steps are numbered by it.
        for entry in sorted(entries, key=lambda one: one.name):
            found, name = entry.stat(follow_symlinks=False), within + entry.name
            identity, mode = (found.st_dev, found.st_ino), stat.S_IMODE(found.st_mode)
            if stat.S_ISDIR(found.st_mode):
                yield Brought(name, "directory", mode, identity)
                yield from _below(entry.path, f"{name}/", target, store, unsynced)
            elif stat.S_ISLNK(found.st_mode):
                yield Brought(name, "symlink", mode, identity, text=os.readlink(entry.path))
            elif stat.S_ISREG(found.st_mode):
                data = _content(entry.path, found, store)
                yield Brought(name, "file", mode, identity, data, unsynced=unsynced(f"{target}/{name}"))


def _content(path: str, found: os.stat_result, store: PayloadStore) -> Payload:
    translate.not_locked_by_us(found)
    return kept(extents.opened(path), store, 0, WHOLE)


def kept(fd: int, store: PayloadStore, start: int, length: int) -> Payload:
    """The content of a part of an open file; closes the descriptor ``fd``, which is ours."""
    try:
        return store.copy(fd, start, length)
    finally:
        os.close(fd)
