"""Make the arguments of a call valid in this process: descriptors, names, and pointers.

Arguments that would mean something else here are refused: another user's rights, other roots, names that are
too long with the way to the caller's directory in front.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import resource
import stat
import struct
from functools import cache

from chaoskit.inject.damageable import locked_here
from chaoskit.inject.kernel.border import CannotExecute
from chaoskit.inject.kernel.files.calls import CLONE_RANGE, FileCall
from chaoskit.inject.kernel.files.table import CSTRING
from chaoskit.inject.kernel.seccomp import abi
from chaoskit.inject.kernel.seccomp.syscalls import number_of
from chaoskit.inject.kernel.workload import rights
from chaoskit.inject.kernel.workload.tree import Process, status

_START = re.compile(r"(/proc/\d+/(?:cwd|root|fd/-?\d+))/*(.*)", re.DOTALL)
"""The beginning of a name relative to a directory of the caller."""
_OPENAT2 = 437
MARKS = stat.S_ISUID | stat.S_ISGID
"""Mode bits that a change by an ordinary user clears."""
_NO_MAGIC = struct.pack("=QQQ", os.O_PATH | os.O_CLOEXEC, 0, 2)
"""``struct open_how`` with RESOLVE_NO_MAGICLINKS (openat2(2))."""
_PATH_MAX = 4096
"""Bytes of a name with its final NUL that the kernel takes (limits.h)."""


# Not a generator: two are made for each recorded call, and each would be six calls more.
class Duplicate:
    """The same open file as descriptor ``fd`` of ``process``, as a descriptor of ours in a block.

    Raises CannotExecute if the system does not allow it.
    """

    __slots__ = ("_fd", "_mine", "_process")

    def __init__(self, process: Process, fd: int) -> None:
        self._process = process
        self._fd = fd

    def __enter__(self) -> int:
        self._mine = duplicated(self._process, self._fd)
        return self._mine

    def __exit__(self, *_: object) -> None:
        os.close(self._mine)


def duplicated(process: Process, fd: int) -> int:
    """As :class:`Duplicate`, for a descriptor that the caller closes."""
    if process.tables_differ:
        raise CannotExecute("its threads have descriptors of the same numbers for different files")
    mine = abi.libc().syscall(number_of("pidfd_getfd", abi.machine()), process.pidfd, fd, 0)
    if mine < 0:
        raise CannotExecute(f"descriptor {fd} could not be duplicated ({os.strerror(-mine)})")
    return mine


def source_of(call: FileCall) -> Duplicate:
    """The source of a copy, open within the block.

    Raises CannotExecute if the test process would lose a lock by it.
    """
    assert call.other_fd is not None
    # Unlike what is below the root, it may be open in the test process.
    not_locked_by_us(os.stat(f"/proc/{call.task.tid}/fd/{call.other_fd}"))
    return Duplicate(call.task.process, call.other_fd)


def not_locked_by_us(found: os.stat_result) -> None:
    """Raise CannotExecute for a file on which the test process holds a lock.

    Closing any descriptor of a file gives up the locks that a process has on it (fcntl(2)).
    """
    if locked_here(found):
        raise CannotExecute("the test process holds a lock on it")


class Borrowed:
    """What a call made here needs while it is made: descriptors, and file positions to return."""

    def __init__(self) -> None:
        self._fds: list[int] = []
        self._positions: list[tuple[int, ctypes.c_int64]] = []

    def __enter__(self) -> Borrowed:
        return self

    def position(self, process: Process, address: int) -> ctypes.c_int64:
        """A copy of the file position that ``process`` keeps at ``address``.

        Raises CannotExecute if it cannot be read.
        """
        word = process.memory.word(address)
        if word is None:
            raise CannotExecute("a position cannot be read")
        value = ctypes.c_int64(word)
        self._positions.append((address, value))
        return value

    def give_back(self, process: Process) -> None:
        """Write changed positions back to where they came from."""
        for address, value in self._positions:
            process.memory.write(address, value.value.to_bytes(8, "little", signed=True))

    def __exit__(self, *_: object) -> None:
        for fd in self._fds:
            os.close(fd)

    def duplicate(self, process: Process, fd: int) -> int:
        """The same open file as descriptor ``fd`` of ``process``, until the end of the block.

        Raises CannotExecute if the system does not allow it.
        """
        mine = duplicated(process, fd)
        self._fds.append(mine)
        return mine


Argument = int | ctypes.Array[ctypes.c_char]


def number(call: FileCall) -> int:
    """The number of the call on this machine."""
    number = call.spec.number(abi.machine())
    assert number is not None
    return number


def arguments(call: FileCall, opened: Borrowed) -> list[Argument]:
    """The arguments of a call, with descriptors, names and pointers that are valid here."""
    spec, args = call.spec, list[Argument](call.args)
    # The signal (SIGXFSZ) would hit us instead of the caller.
    if call.row.grows:
        within_limit(call, _largest(call))
    if call.row.by_permission and spec.path is None:
        same_user(call)
    if call.row.copies:
        return _translate_copy(call, opened)
    if spec.path is not None:
        same_user(call)
        _translate_name(call, args, spec.base, spec.path, call.path, opened)
    if spec.second is not None:
        _translate_name(call, args, spec.second_base, spec.second, call.other_path, opened)
    if spec.fd is not None and spec.name != "mmap":
        fd = abi.signed(call.args[spec.fd])
        held = call.held if fd == call.fd else None
        mine = opened.duplicate(call.task.process, fd) if held is None else held
        args[spec.fd] = mine
        if call.row.changes:
            keeps_its_marks(call, mine)
    for index, size in spec.pointers:
        if call.args[index]:
            args[index] = _pointed_at(call, index, size)
    return args


def _largest(call: FileCall) -> int:
    """A size that the call cannot make a file exceed."""
    count = 0 if call.spec.count is None else call.args[call.spec.count]
    if call.family == "truncate":
        return count
    if call.family == "fallocate" and call.spec.offset is not None:
        return count + call.args[call.spec.offset]
    # Then any limit is a reason to leave it to the kernel.
    return 1 << 63  # A copy: where it ends depends on its source.


def _translate_name(
    call: FileCall, args: list[Argument], base: int | None, index: int, path: str | None, opened: Borrowed
) -> None:
    raw = call.task.process.memory.string(call.args[index]) if call.args[index] else None
    if base is not None and not raw:
        args[base] = opened.duplicate(call.task.process, abi.signed(call.args[base]))
        args[index] = ctypes.create_string_buffer(b"") if raw is not None else 0
        return
    encoded = os.fsencode(path or "")
    if len(encoded) >= _PATH_MAX:
        raise CannotExecute("the name is too long")
    # By our own path to the file: the descriptor that it was relative to means nothing here.
    args[index] = ctypes.create_string_buffer(encoded)
    if base is not None:
        args[base] = abi.AT_FDCWD


def _pointed_at(call: FileCall, index: int, size: int) -> ctypes.Array[ctypes.c_char]:
    memory = call.task.process.memory
    if size == CSTRING:
        text = memory.string(call.args[index])
        if text is None:
            raise CannotExecute("an argument cannot be read")
        return ctypes.create_string_buffer(text)
    wanted = size if size >= 0 else call.args[-2 - size]
    data = memory.read(call.args[index], wanted)
    if len(data) != wanted:
        raise CannotExecute("an argument cannot be read")
    return ctypes.create_string_buffer(data, max(len(data), 1))


def _translate_copy(call: FileCall, opened: Borrowed) -> list[Argument]:
    """``copy_file_range``, ``sendfile`` and the clone requests: two files, positions in memory."""
    assert call.fd is not None
    assert call.other_fd is not None
    not_locked_by_us(os.stat(f"/proc/{call.task.tid}/fd/{call.other_fd}"))
    into = opened.duplicate(call.task.process, call.fd)
    out = opened.duplicate(call.task.process, call.other_fd)
    if not all(stat.S_ISREG(os.fstat(fd).st_mode) for fd in (into, out)):
        raise CannotExecute("not two regular files")
    keeps_its_marks(call, into)
    if call.family == "clone":
        if call.whole:
            return [into, abi.FICLONE, out]
        part = CLONE_RANGE.pack(out, call.source_offset, call.length, call.offset)
        return [into, abi.FICLONERANGE, ctypes.create_string_buffer(part)]
    args = list[Argument](call.args)
    args[call.spec.fd or 0], args[call.spec.other or 0] = into, out
    for index in (1, 3) if call.spec.name == "copy_file_range" else (2,):
        if call.args[index]:
            args[index] = ctypes.addressof(opened.position(call.task.process, call.args[index]))
    return args


def same_user(call: FileCall) -> None:
    """Raise CannotExecute if permissions or names mean something else for us than for the caller."""
    fields = status(call.task.tid)
    call.umask = int(fields.get("Umask", b"022"), 8)
    call.table = int(fields.get("FDSize", b"0"))
    if call.task.process.confined:
        raise CannotExecute("the caller may have a Landlock domain")
    why = rights.difference(call.task.tid, fields)
    if why:
        raise CannotExecute(why)
    for path in (call.path, call.other_path):
        if path:
            _without_magic(path, call.follow)


def keeps_its_marks(call: FileCall, fd: int) -> None:
    """Raise CannotExecute if it depends on the caller's rights whether a change clears set-id bits."""
    if os.fstat(fd).st_mode & MARKS:
        same_user(call)


def _without_magic(path: str, follow: bool) -> None:
    """Raise CannotExecute if a link on the way leads elsewhere for each process, like ``/proc/self``."""
    start = _START.match(path)
    base, rest = (start[1], start[2]) if start else ("/", path.lstrip("/"))
    # The last part is not followed by most calls.
    way = rest if follow else rest.rstrip("/").rpartition("/")[0]
    # Most names are relative to the working directory, which exists.
    if not rest or (not way and base.endswith("/cwd")):
        return
    found = _walked(abi.AT_FDCWD, f"/{way}") if start is None else _walked_from(base, way)
    if found == -errno.ELOOP:
        raise CannotExecute("a link on the way means another place for each process")
    if found >= 0:
        device = os.fstat(found).st_dev
        os.close(found)
        # Not a magic link, but its content is the number of the process that reads it.
        if device == _proc():
            raise CannotExecute("/proc has other files for each process")


def _walked_from(base: str, way: str) -> int:
    try:
        fd = os.open(base, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        raise CannotExecute("the caller's directory cannot be reached") from None
    try:
        return _walked(fd, way or ".")
    finally:
        os.close(fd)


def _walked(base: int, way: str) -> int:
    """A descriptor of what the way leads to without such links, or minus the errno."""
    name, how = ctypes.create_string_buffer(os.fsencode(way)), ctypes.create_string_buffer(_NO_MAGIC)
    return abi.libc().syscall(_OPENAT2, base, name, how, len(_NO_MAGIC))


@cache
def _proc() -> int:
    """The device that ``/proc`` is."""
    return os.stat("/proc").st_dev


def reachable(call: FileCall) -> None:
    """Raise CannotExecute for a name that is too long with the caller's directory in front."""
    if any(len(os.fsencode(path)) >= _PATH_MAX for path in (call.path, call.other_path) if path):
        raise CannotExecute("its name is too long with the way to the caller's directory before it")


def limit_of(call: FileCall, which: int) -> int:
    """The caller's soft limit. Raises CannotExecute if it may not be read: another user's process."""
    try:
        return resource.prlimit(call.task.process.pid, which)[0]
    except OSError as why:
        raise CannotExecute(f"the caller's limits cannot be read ({why.strerror})") from None


def within_limit(call: FileCall, size: int) -> None:
    """Raise CannotExecute if a limit is reached: then the kernel must fail the call, and send its signal."""
    limit = limit_of(call, resource.RLIMIT_FSIZE)
    if limit not in (resource.RLIM_INFINITY, -1) and size > limit:
        raise CannotExecute("a limit on the size of files is set")
