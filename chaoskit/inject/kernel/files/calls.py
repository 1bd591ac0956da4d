"""Decode a notification into a call on a file: its family, its target, and the arguments that matter."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from chaoskit.core.operation import ROOT
from chaoskit.faults.calls import FAMILIES, CallFamily
from chaoskit.inject.kernel.files.elsewhere import Elsewhere
from chaoskit.inject.kernel.files.table import FileSpec
from chaoskit.inject.kernel.seccomp import abi
from chaoskit.inject.kernel.workload import paths
from chaoskit.inject.kernel.workload.tree import Task

_OPEN_HOW = struct.Struct("=QQQ")
CLONE_RANGE = struct.Struct("=qQQQ")
"""``struct file_clone_range``: source descriptor, its offset, length, offset in the target."""
PROT_WRITE = 2
_F_UNLCK = 2
_LOCK_UN = 8
# Without O_DIRECTORY, which is part of the flag as programs write it.
_O_TMPFILE = 0o20000000
_OCTAL = re.compile(rb"\\([0-7]{3})")


@dataclass(slots=True)
# Mutable: what is learnt on the way, such as data and umask, is kept for later steps.
class FileCall:
    """One notified call that concerns the scenario's directory.

    ``row`` says what its family does. ``target`` and ``second`` are as in
    :class:`chaoskit.core.operation.Operation`. ``path`` and ``other_path`` are names by which this
    process reaches the same files; ``fd`` and ``other_fd`` are descriptors of the calling thread.
    """

    spec: FileSpec
    row: CallFamily
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
    """True if ``openat2`` has resolve flags, which mean something else from here, or will be refused."""
    data: bytes | None = None
    """The data of a write, once it was read."""
    vector: list[tuple[int, int]] | None = None
    """The addresses and lengths of its parts, once they were read."""
    asked: int | None = None
    """How many bytes a read or write asks for, once they were counted."""
    whole: bool = False
    """True for a clone of everything in its source rather than of ``length`` bytes."""
    length: int | None = None
    source_offset: int = 0
    offset: int = 0
    """``length``, ``source_offset`` and ``offset`` are those of a clone, which has them in memory;
    ``offset`` that of an msync, too."""
    opened: int | None = None
    """Our descriptor of the file that an open has opened, until it is handed over."""
    umask: int | None = None
    """The caller's umask, once the caller is known to have the same rights as this process."""
    table: int = 0
    """How many descriptors the caller's table has room for at present."""

    held: int | None = None
    """Our duplicate of ``fd``, while the call is recorded: it is described and made on the same one."""
    family: str = ""
    """The name of :attr:`row`."""

    def __post_init__(self) -> None:
        self.family = self.row.name

    def is_rather(self, family: str) -> None:
        """Change its family from the one in the table, because of its arguments."""
        self.row, self.family = FAMILIES[family], family


class FileDecoder:
    """Understands the calls below one root.

    ``becomes_writable`` is called with the target of a shared mapping that the workload makes writable later:
    from then on its file may change without a call.
    """

    def __init__(self, root: str, becomes_writable: Callable[[str], None], elsewhere: Elsewhere) -> None:
        self.root = root
        self._becomes_writable = becomes_writable
        self._elsewhere = elsewhere
        self._maps_below = False
        """True once a file below the root was mapped shared for reading: it may become writable."""

    def decode(self, spec: FileSpec, task: Task, args: tuple[int, ...]) -> FileCall | None:
        """Return what the call is, or None if it does not concern the root."""
        call = FileCall(spec, FAMILIES[spec.family], task, args, follow=spec.follow)
        if spec.flags is not None:
            call.flags = args[spec.flags] & 0xFFFFFFFF
        if spec.mode is not None:
            call.mode = args[spec.mode] & 0xFFFFFFFF
        # Few families are special; most are one name or one descriptor.
        special = _SPECIAL.get(spec.family)
        if special is not None:
            return call if special(self, call) else None
        if spec.path is not None:
            return call if self._named(call) else None
        return call if self._described(call) else None

    def _described(self, call: FileCall) -> bool:
        """A call whose target is the file of descriptor ``fd``."""
        assert call.spec.fd is not None
        return self._descriptor(call, abi.signed(call.args[call.spec.fd]))

    def _descriptor(self, call: FileCall, fd: int) -> bool:
        link = call.task.link(fd)
        target = None if link is None else paths.below(self.root, link)
        if link is None or target is None:
            # Nothing is written through a read-only mapping.
            if link is not None and (call.family != "mmap" or call.args[2] & PROT_WRITE):
                self._elsewhere.called(call.row, link, call.task.tid, fd)
            return False
        call.fd, call.target = fd, target
        # Only a name that ends so can have the mark " (deleted)", and checking costs a system call.
        if target.endswith(")"):
            name = paths.without_mark(link, f"/proc/{call.task.tid}/fd/{fd}")
            call.target = paths.below(self.root, name) or target
        return True

    def _name(self, call: FileCall, base: int | None, index: int) -> str | None:
        """A path to what argument ``index`` names, valid in this process; None if there is no name.

        An empty name counts as none, unless the call says that it stands for the descriptor.
        """
        # A null pointer is not a name, and neither is one that cannot be read.
        raw = call.task.process.memory.string(call.args[index]) if call.args[index] else None
        if raw is None or not (raw or (call.row.nameless and call.flags & abi.AT_EMPTY_PATH)):
            return None
        fd = None if base is None else abi.signed(call.args[base])
        return paths.as_seen(call.task.tid, None if fd == abi.AT_FDCWD else fd, os.fsdecode(raw))

    def _named(self, call: FileCall) -> bool:
        """A call whose target is the name in argument ``path``."""
        spec = call.spec
        assert spec.path is not None
        if spec.flags is not None and call.family not in ("open", "setxattr"):  # Those have no AT_ flags.
            if call.flags & abi.AT_SYMLINK_NOFOLLOW:
                call.follow = False
            if call.family == "link" and call.flags & (abi.AT_SYMLINK_FOLLOW | abi.AT_EMPTY_PATH):
                call.follow = True
        call.path = self._name(call, spec.base, spec.path)
        if call.path is None:
            return self._nameless(call)
        if call.flags & abi.AT_EMPTY_PATH and call.row.nameless:
            call.follow = True
        target = paths.below(self.root, paths.resolve(call.path, call.follow))
        call.target = target if target is not None else ""
        return target is not None

    def _nameless(self, call: FileCall) -> bool:
        """``utimensat(fd, NULL, …)`` acts on the descriptor itself."""
        spec = call.spec
        # An unreadable name is not a name either, but the kernel refuses the call.
        if spec.base is None or call.family != "utimens" or not _is_null(call, spec.path):
            return False
        return self._descriptor(call, abi.signed(call.args[spec.base]))

    def _open(self, call: FileCall) -> bool:
        if call.spec.name == "creat":
            call.flags = os.O_CREAT | os.O_WRONLY | os.O_TRUNC
        elif call.spec.name == "openat2":
            how = call.task.process.memory.read(call.args[2], _OPEN_HOW.size)
            if len(how) < _OPEN_HOW.size:
                return False
            call.flags, mode, resolve = _OPEN_HOW.unpack(how)
            call.mode, call.restricted = mode & 0xFFFF, resolve != 0 or not _is_plain(call, mode)
        # O_PATH opens nothing: neither data nor metadata can be reached through it.
        if call.flags & os.O_PATH:
            return False
        # With both flags, a link at the end is refused rather than followed (open(2)).
        exclusive = os.O_CREAT | os.O_EXCL
        call.follow = not call.flags & os.O_NOFOLLOW and call.flags & exclusive != exclusive
        return self._named(call)

    def _both(self, call: FileCall) -> bool:
        """A call with two names, which counts if one of them is below the root."""
        spec = call.spec
        assert spec.second is not None
        first = self._named(call)
        call.other_path = self._name(call, spec.second_base, spec.second)
        if call.path is None or call.other_path is None:
            return False
        resolved = paths.resolve(call.other_path, follow=False)
        second = paths.below(self.root, resolved)
        # A rename from outside: its source is an absolute path.
        if not first:
            call.target = paths.resolve(call.path, call.follow)
        call.second = resolved if second is None else second
        if not first and second is None and call.family == "rename":
            self._elsewhere.renamed(call.target, resolved)
        return first or second is not None

    def _unlink(self, call: FileCall) -> bool:
        if call.flags & abi.AT_REMOVEDIR:
            call.is_rather("rmdir")
        return self._named(call)

    def _sync(self, call: FileCall) -> bool:
        self._elsewhere.all_synced()
        return True

    def _transfer(self, call: FileCall) -> bool:
        """A transfer from descriptor ``other`` to ``fd``: a change of ``fd``, or else a read of ``other``."""
        spec = call.spec
        assert spec.fd is not None
        assert spec.other is not None
        # If both are below the root it counts as a change, which implies the read.
        into, out = abi.signed(call.args[spec.fd]), abi.signed(call.args[spec.other])
        if self._descriptor(call, into):
            call.other_fd = out
            return True
        call.is_rather("read")
        return self._descriptor(call, out)

    def _clone(self, call: FileCall) -> bool:
        command, argument = call.args[1] & 0xFFFFFFFF, call.args[2]
        if command == abi.FICLONE:
            call.other_fd = abi.signed(argument)
            call.whole = True
        else:
            data = call.task.process.memory.read(argument, CLONE_RANGE.size)
            if len(data) < CLONE_RANGE.size:
                return False
            call.other_fd, call.source_offset, call.length, call.offset = CLONE_RANGE.unpack(data)
        return self._described(call)

    def _lock(self, call: FileCall) -> bool:
        if call.spec.name == "flock":
            return not call.flags & _LOCK_UN and self._described(call)
        kind = call.task.process.memory.read(call.args[2], 2)
        # Releasing a lock never fails and is not an operation.
        return kind != struct.pack("=h", _F_UNLCK) and self._described(call)

    def _mmap(self, call: FileCall) -> bool:
        """A read-only mapping is not an operation, nor is an ``mprotect`` of it."""
        if call.spec.name == "mprotect":
            target = self._mapped_below(call) if self._maps_below else None
            if target is not None:
                self._becomes_writable(target)
            return False
        # Only a mapping that can be written changes anything.
        if call.args[2] & PROT_WRITE:
            return self._described(call)
        self._maps_below |= self._described(call)
        return False

    def _mapped_below(self, call: FileCall) -> str | None:
        """The target mapped at the address in the first argument."""
        call.path, call.offset = mapped_at(call.task.process.pid, call.args[0])
        return None if call.path is None else paths.below(self.root, call.path)

    def _msync(self, call: FileCall) -> bool:
        """A call whose target is the file mapped at the address."""
        target = self._mapped_below(call)
        call.target = target or ROOT
        return target is not None


_SPECIAL: Mapping[str, Callable[[FileDecoder, FileCall], bool]] = {
    "open": FileDecoder._open,
    "rename": FileDecoder._both,
    "link": FileDecoder._both,
    "unlink": FileDecoder._unlink,
    "sync": FileDecoder._sync,
    "copy_file_range": FileDecoder._transfer,
    "sendfile": FileDecoder._transfer,
    "splice": FileDecoder._transfer,
    "clone": FileDecoder._clone,
    "lock": FileDecoder._lock,
    "mmap": FileDecoder._mmap,
    "msync": FileDecoder._msync,
}
"""Families whose calls need more than one name or one descriptor to be decoded."""


def mapped_at(pid: int, address: int) -> tuple[str | None, int]:
    """The file mapped at ``address`` of a process, and the offset in it."""
    try:
        with open(f"/proc/{pid}/maps", "rb") as maps:
            for line in maps:
                start, _, rest = line.partition(b"-")
                if int(start, 16) <= address < int(rest.split(b" ", 1)[0], 16):
                    parts = line.rstrip(b"\n").split(None, 5)
                    if len(parts) == 6:
                        return _unescaped(parts[5]), int(parts[2], 16) + address - int(start, 16)
                    break
    except (OSError, ValueError):
        pass
    return None, 0


def _unescaped(path: bytes) -> str:
    """A name as ``/proc/PID/maps`` spells it: a line feed as octal digits."""
    return os.fsdecode(_OCTAL.sub(lambda match: bytes([int(match[1], 8) & 255]), path))


_OPEN_FLAGS = os.O_ACCMODE | os.O_CREAT | os.O_EXCL | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
"""The flags that ``openat2`` treats as ``open`` does; it refuses unknown ones."""


def _is_null(call: FileCall, argument: int | None) -> bool:
    return argument is not None and call.args[argument] == 0


def _is_plain(call: FileCall, mode: int) -> bool:
    """Return True if ``openat2`` accepts its arguments as ``open`` would (openat2(2), "Errors")."""
    unusual = call.flags & ~(_OPEN_FLAGS | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_SYNC | os.O_NONBLOCK)
    creates = bool(call.flags & os.O_CREAT)
    return call.args[3] == _OPEN_HOW.size and not unusual and not mode & ~(0o7777 if creates else 0)


def makes_file(call: FileCall) -> bool:
    """Return True if an open may create a file."""
    return bool(call.flags & (os.O_CREAT | (_O_TMPFILE & ~os.O_DIRECTORY)))
