"""From a notification to a call on a file: which family, which target, which arguments matter."""

from __future__ import annotations

import os
import re
import struct
from dataclasses import dataclass, field

from chaoskit.core.operation import ROOT
from chaoskit.inject.kernel.seccomp import abi
from chaoskit.inject.kernel.seccomp.syscalls import Spec
from chaoskit.inject.kernel.workload import paths
from chaoskit.inject.kernel.workload.tree import Task

_OPEN_HOW = struct.Struct("=QQQ")
CLONE_RANGE = struct.Struct("=qQQQ")
"""``struct file_clone_range``: source descriptor, its offset, length, offset in the target."""
PROT_WRITE = 2
_F_UNLCK = 2
_LOCK_UN = 8
_O_TMPFILE = 0o20000000
_BY_DESCRIPTOR = frozenset({"link", "chown", "chmod", "utimens"})
"""Families that take an empty name to mean the descriptor, given ``AT_EMPTY_PATH``."""
_OCTAL = re.compile(rb"\\([0-7]{3})")


@dataclass(slots=True)
class Call:
    """One notified call that concerns the scenario's directory.

    ``target`` and ``second`` are as in :class:`chaoskit.core.operation.Operation`. ``path`` and
    ``other_path`` are names by which this process reaches the same files; ``fd`` and ``other_fd``
    are descriptors of the calling thread.
    """

    spec: Spec
    family: str
    task: Task
    args: tuple[int, ...]
    target: str = ROOT
    second: str | None = None
    path: str | None = None
    other_path: str | None = None
    fd: int | None = None
    other_fd: int | None = None
    flags: int = 0
    mode: int | None = None
    follow: bool = False
    restricted: bool = False
    """Whether ``openat2`` was given resolve flags, which mean something else from here."""
    data: bytes | None = None
    """What a write carries, once it was read."""
    extra: dict[str, int] = field(default_factory=dict)


class Decoder:
    """Understands the calls below one root."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.maps_below = False
        """Whether some file below the root was mapped shared, to be read: it may become writable."""

    def decode(self, spec: Spec, task: Task, args: tuple[int, ...]) -> Call | None:
        """Return what the call is, or None if it does not concern the root."""
        call = Call(spec, spec.family, task, args, follow=spec.follow)
        if spec.flags is not None:
            call.flags = args[spec.flags] & 0xFFFFFFFF
        if spec.mode is not None:
            call.mode = args[spec.mode] & 0xFFFFFFFF
        special = getattr(self, f"_{spec.family}", None)
        if special is not None:
            return call if special(call) else None
        if spec.path is not None:
            return call if self._named(call) else None
        return call if self._described(call) else None

    def _described(self, call: Call) -> bool:
        """The target is what descriptor ``fd`` refers to."""
        assert call.spec.fd is not None
        return self._descriptor(call, abi.signed(call.args[call.spec.fd]))

    def _descriptor(self, call: Call, fd: int) -> bool:
        link = call.task.link(fd)
        target = None if link is None else paths.below(self.root, link)
        if link is None or target is None:
            return False
        call.fd, call.target = fd, target
        if target.endswith(")"):
            name = paths.without_mark(link, f"/proc/{call.task.tid}/fd/{fd}")
            call.target = paths.below(self.root, name) or target
        return True

    def _name(self, call: Call, base: int | None, index: int) -> str | None:
        """How this process reaches the name in argument ``index``; None if there is no name.

        An empty name is none either, unless the call says that it stands for the descriptor.
        """
        raw = call.task.process.memory.string(call.args[index]) if call.args[index] else None
        if raw is None or not (raw or (call.family in _BY_DESCRIPTOR and call.flags & abi.AT_EMPTY_PATH)):
            return None
        fd = None if base is None else abi.signed(call.args[base])
        return paths.as_seen(call.task.tid, None if fd == abi.AT_FDCWD else fd, os.fsdecode(raw))

    def _named(self, call: Call) -> bool:
        """The target is the name in argument ``path``."""
        spec = call.spec
        assert spec.path is not None
        if spec.flags is not None and call.family not in ("open", "setxattr"):
            if call.flags & abi.AT_SYMLINK_NOFOLLOW:
                call.follow = False
            if call.family == "link" and call.flags & (abi.AT_SYMLINK_FOLLOW | abi.AT_EMPTY_PATH):
                call.follow = True
        call.path = self._name(call, spec.base, spec.path)
        if call.path is None:
            return self._nameless(call)
        if call.flags & abi.AT_EMPTY_PATH and call.family in _BY_DESCRIPTOR:
            call.follow = True
        target = paths.below(self.root, paths.resolve(call.path, call.follow))
        call.target = target if target is not None else ""
        return target is not None

    def _nameless(self, call: Call) -> bool:
        """``utimensat(fd, NULL, …)`` acts on the descriptor itself."""
        if call.spec.base is None or call.family != "utimens":
            return False
        return self._descriptor(call, abi.signed(call.args[call.spec.base]))

    def _open(self, call: Call) -> bool:
        if call.spec.name == "creat":
            call.flags = os.O_CREAT | os.O_WRONLY | os.O_TRUNC
        elif call.spec.name == "openat2":
            how = call.task.process.memory.read(call.args[2], _OPEN_HOW.size)
            if len(how) < _OPEN_HOW.size:
                return False
            call.flags, mode, resolve = _OPEN_HOW.unpack(how)
            call.mode, call.restricted = mode & 0xFFFF, resolve != 0
        if call.flags & os.O_PATH:
            return False
        exclusive = os.O_CREAT | os.O_EXCL
        call.follow = not call.flags & os.O_NOFOLLOW and call.flags & exclusive != exclusive
        return self._named(call)

    def _both(self, call: Call) -> bool:
        """Two names; the call counts if one of them is below the root."""
        spec = call.spec
        assert spec.second is not None
        first = self._named(call)
        call.other_path = self._name(call, spec.second_base, spec.second)
        if call.path is None or call.other_path is None:
            return False
        resolved = paths.resolve(call.other_path, follow=False)
        second = paths.below(self.root, resolved)
        if not first:
            call.target = paths.resolve(call.path, call.follow)
        call.second = resolved if second is None else second
        return first or second is not None

    _rename = _both
    _link = _both

    def _unlink(self, call: Call) -> bool:
        if call.flags & abi.AT_REMOVEDIR:
            call.family = "rmdir"
        return self._named(call)

    def _sync(self, call: Call) -> bool:
        return True

    def _close_range(self, call: Call) -> bool:
        return False

    def _transfer(self, call: Call) -> bool:
        """From descriptor ``other`` to ``fd``: a change of one below the root, or a read of one."""
        spec = call.spec
        assert spec.fd is not None
        assert spec.other is not None
        into, out = abi.signed(call.args[spec.fd]), abi.signed(call.args[spec.other])
        if self._descriptor(call, into):
            call.other_fd = out
            return True
        call.family = "read"
        return self._descriptor(call, out)

    _copy_file_range = _transfer
    _sendfile = _transfer
    _splice = _transfer

    def _clone(self, call: Call) -> bool:
        command, argument = call.args[1] & 0xFFFFFFFF, call.args[2]
        if command == abi.FICLONE:
            call.other_fd = abi.signed(argument)
            call.extra = {"whole": 1}
        else:
            data = call.task.process.memory.read(argument, CLONE_RANGE.size)
            if len(data) < CLONE_RANGE.size:
                return False
            source, start, length, offset = CLONE_RANGE.unpack(data)
            call.other_fd = source
            call.extra = {"source_offset": start, "length": length, "offset": offset}
        return self._described(call)

    def _lock(self, call: Call) -> bool:
        if call.spec.name == "flock":
            return not call.flags & _LOCK_UN and self._described(call)
        kind = call.task.process.memory.read(call.args[2], 2)
        return kind != struct.pack("=h", _F_UNLCK) and self._described(call)

    def _mmap(self, call: Call) -> bool:
        """A mapping that cannot be written is no operation; see :meth:`Decoder.maps_below`."""
        if call.args[2] & PROT_WRITE:
            return self._described(call)
        self.maps_below |= self._described(call)
        return False

    def becomes_writable(self, task: Task, address: int) -> str | None:
        """The target that is mapped where ``mprotect`` now allows writing; None if there is none."""
        path = mapped_at(task.process.pid, address) if self.maps_below else None
        return None if path is None else paths.below(self.root, path)

    def _msync(self, call: Call) -> bool:
        """The target is what is mapped at the address."""
        path = mapped_at(call.task.process.pid, call.args[0])
        target = None if path is None else paths.below(self.root, path)
        call.path, call.target = path, target or ROOT
        return target is not None


def mapped_at(pid: int, address: int) -> str | None:
    """The file that is mapped at ``address`` of a process."""
    try:
        with open(f"/proc/{pid}/maps", "rb") as maps:
            for line in maps:
                start, _, rest = line.partition(b"-")
                if int(start, 16) <= address < int(rest.split(b" ", 1)[0], 16):
                    parts = line.rstrip(b"\n").split(None, 5)
                    return _unescaped(parts[5]) if len(parts) == 6 else None
    except (OSError, ValueError):
        return None
    return None


def _unescaped(path: bytes) -> str:
    """A name as ``/proc/PID/maps`` spells it: a line feed as octal digits."""
    return os.fsdecode(_OCTAL.sub(lambda match: bytes([int(match[1], 8) & 255]), path))


def makes_file(call: Call) -> bool:
    """Whether an open may create a file."""
    return bool(call.flags & (os.O_CREAT | (_O_TMPFILE & ~os.O_DIRECTORY)))


def changes_state(call: Call, families: frozenset[str]) -> bool:
    """Whether the call may change what is on the disk, or what of it is durable."""
    if call.family == "open":
        return makes_file(call) or bool(call.flags & os.O_TRUNC)
    return call.family in families
