"""What is known about a call on a file before it is made: the details that faults and crash states need."""

from __future__ import annotations

import os
import stat
from typing import Any

from chaoskit.core.operation import Bytes, FileDetail
from chaoskit.inject.inprocess.descriptors import OpenFile
from chaoskit.inject.inprocess.machine import HostMachine

_SYNC = getattr(os, "O_SYNC", 0)
_DSYNC = getattr(os, "O_DSYNC", 0)


def of_name(
    machine: HostMachine, path: str, follow: bool, other: str | None = None, **known: Any
) -> FileDetail:
    """The detail of a call that names a file; ``other`` is the second name."""
    if other is not None:
        replaced = _looked_up(machine, other, follow=False)
        if replaced is not None:
            known["replaced"] = (replaced.st_dev, replaced.st_ino)
    found = _looked_up(machine, path, follow)
    if found is None:
        # A missing file has no inode.
        return FileDetail(**known)
    if other is not None:
        known["mode"] = stat.S_IMODE(found.st_mode)
    return FileDetail(**_stated(found), **known)


def of_descriptor(
    machine: HostMachine,
    fd: int,
    file: OpenFile,
    *,
    offset: int | None = None,
    data: Any = None,
    **known: Any,
) -> FileDetail:
    """The detail of a call on a descriptor: its offset and its data."""
    try:
        found = machine.os.fstat(fd)
    except OSError:
        return FileDetail(fd=fd, **known)
    if stat.S_ISREG(found.st_mode):
        if offset is None:
            offset = found.st_size if file.flags & os.O_APPEND else _position(machine, fd)
        known["offset"] = offset
    if data is not None:
        known["data"] = Bytes(bytes(data))
    known["synchronous"] = (
        "O_SYNC" if _SYNC and file.flags & _SYNC == _SYNC else "O_DSYNC" if file.flags & _DSYNC else ""
    )
    return FileDetail(fd=fd, **_stated(found), **{"flags": file.flags, **known})


def opened(machine: HostMachine, fd: int, flags: int, before: FileDetail) -> dict[str, Any]:
    """What an open has done, as fields of its detail."""
    try:
        found = machine.os.fstat(fd)
    except OSError:
        return {"fd": fd}
    existed = before.inode is not None
    made: dict[str, Any] = {
        "fd": fd,
        "inode": (found.st_dev, found.st_ino),
        "created": not existed and bool(flags & os.O_CREAT),
        "truncated": existed and bool(flags & os.O_TRUNC) and bool(before.size_before),
    }
    if made["created"]:
        made["made_mode"] = stat.S_IMODE(found.st_mode)
    return made


def made(machine: HostMachine, path: str) -> dict[str, Any]:
    """What a call created, as fields of its detail."""
    found = _looked_up(machine, path, follow=False)
    if found is None:
        return {}
    return {"inode": (found.st_dev, found.st_ino), "made_mode": stat.S_IMODE(found.st_mode)}


def _position(machine: HostMachine, fd: int) -> int | None:
    try:
        return machine.position(fd)
    except OSError:
        return None


def _looked_up(machine: HostMachine, path: str, follow: bool) -> os.stat_result | None:
    try:
        found: os.stat_result = machine.os.stat(path, follow_symlinks=follow)
    except (OSError, ValueError):
        return None
    return found


def _stated(found: os.stat_result) -> dict[str, Any]:
    return {
        "inode": (found.st_dev, found.st_ino),
        "directory": stat.S_ISDIR(found.st_mode),
        "links": found.st_nlink,
        "size_before": found.st_size,
    }
