"""Making a call on behalf of the thread that waits for it.

seccomp shows the entry of a call, not its result. So where the result matters, the supervisor makes
the same system call itself: on duplicates of the thread's descriptors (pidfd_getfd(2): the same open
file, so offset and append are the caller's) and on names looked up through the thread's directory.
The thread then gets the result as its own. While it waits nothing else can come between, so data,
offset and result are exact.

What cannot be done faithfully is refused (:class:`CannotExecute`) and left to the kernel: another
user or root directory than ours, ``openat2`` with resolve flags, a limit on file size, a call that
may block.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from chaoskit.inject.kernel.files.calls import CLONE_RANGE, Call
from chaoskit.inject.kernel.seccomp import abi
from chaoskit.inject.kernel.seccomp.syscalls import CSTRING, number_of
from chaoskit.inject.kernel.workload.tree import Process, status

_LONGEST = 0x7FFFF000
"""The most bytes that one read or write transfers (write(2), "Notes")."""
_O_DIRECT = getattr(os, "O_DIRECT", 0)


_ONLY_BY_THE_CALLER = frozenset({"lock", "mmap", "msync", "getdents", "splice", "close"})
_BY_PERMISSION = frozenset({"chmod", "chown", "utimens", "setxattr", "removexattr"})
"""Families that ask for the caller's rights even on a descriptor."""
_GROWING = frozenset({"truncate", "fallocate", "copy_file_range", "sendfile", "clone"})
_RWF_APPEND = 0x10
_PATH_MAX = 4096
"""Bytes of a name with its final NUL that the kernel takes (limits.h)."""


class CannotExecute(Exception):
    """The call must be left to the kernel; the argument says why."""


@contextmanager
def duplicate(process: Process, fd: int) -> Iterator[int]:
    """The same open file as descriptor ``fd`` of ``process``, as a descriptor of ours."""
    with Borrowed() as opened:
        yield opened.duplicate(process, fd)


def perform(call: Call) -> int:
    """Make the call with the arguments it was given; return its result or minus the errno.

    Raises:
        CannotExecute: for calls that may block or act on the caller's own memory, and wherever the
            result could be another than the caller's.
    """
    if call.family in ("write", "read"):
        return transfer(call, len(data_of(call)) if call.family == "write" else length_of(call))
    if call.family in _ONLY_BY_THE_CALLER:
        raise CannotExecute(f"{call.spec.name} can only be made by the caller itself")
    _reachable(call)
    with Borrowed() as opened:
        args = _translate(call, opened)
        with _umask_of(call):
            result = abi.libc().syscall(_number(call), *args)
        opened.give_back(call.task.process)
        return result


def perform_open(call: Call) -> int:
    """Make an open; return a descriptor of ours or minus the errno. It never blocks.

    Raises:
        CannotExecute: for what may block or act when opened (a FIFO, a device).
    """
    assert call.path is not None
    _reachable(call)
    if call.restricted:
        raise CannotExecute("openat2 with resolve flags")
    try:
        kind = os.stat(call.path, follow_symlinks=call.follow).st_mode
    except OSError:
        kind = stat.S_IFREG
    if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind) or stat.S_ISLNK(kind)):
        raise CannotExecute("not a regular file or directory")
    _same_user(call)
    if _has_no_descriptor_left(call):
        return -errno.EMFILE
    try:
        with _umask_of(call):
            return os.open(call.path, call.flags | os.O_CLOEXEC, call.mode or 0)
    except OSError as error:
        if error.errno == errno.EMFILE:
            raise CannotExecute("this process has no descriptor left") from None
        return -(error.errno or 0)


def _reachable(call: Call) -> None:
    """A name that is short enough for the caller may be too long with what leads to it put before it."""
    if any(len(os.fsencode(path)) >= _PATH_MAX for path in (call.path, call.other_path) if path):
        raise CannotExecute("its name is too long with the way to the caller's directory before it")


def close(fd: int) -> None:
    """Close a descriptor of ours."""
    os.close(fd)


def length_of(call: Call) -> int:
    """How many bytes a read or write asks for."""
    spec = call.spec
    assert spec.count is not None
    if spec.vector is not None:
        return sum(length for _, length in _vector(call))
    return min(call.args[spec.count], _LONGEST)


def data_of(call: Call) -> bytes:
    """The bytes that a write carries.

    Raises:
        CannotExecute: if they cannot all be read; the kernel will say EFAULT.
    """
    if call.data is not None:
        return call.data
    spec, memory = call.spec, call.task.process.memory
    if spec.vector is not None:
        data = memory.gather(_vector(call))
    else:
        assert spec.buffer is not None
        data = memory.read(call.args[spec.buffer], length_of(call))
    if len(data) != length_of(call):
        raise CannotExecute("its data cannot be read")
    call.data = data
    return data


def _vector(call: Call) -> list[tuple[int, int]]:
    spec = call.spec
    assert spec.vector is not None
    assert spec.count is not None
    return call.task.process.memory.vector(call.args[spec.vector], call.args[spec.count])


def position(call: Call, fd: int) -> tuple[int, bool]:
    """Where a read or write on ``fd`` (a duplicate) starts, and whether it moves the offset."""
    offset = None if call.spec.offset is None else _signed_long(call.args[call.spec.offset])
    moves = offset is None or (offset == -1 and call.spec.name in ("preadv2", "pwritev2"))
    if call.family == "write" and _appends(call, fd):
        return os.fstat(fd).st_size, moves
    if moves or offset is None:
        return os.lseek(fd, 0, os.SEEK_CUR), True
    return offset, False


def _signed_long(word: int) -> int:
    return word - (1 << 64) if word >> 63 else word


def _appends(call: Call, fd: int) -> bool:
    if call.spec.name == "pwritev2" and call.flags & _RWF_APPEND:
        return True
    return bool(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND)


def would_transfer(call: Call) -> int:
    """How many bytes a read or write transfers if nothing stands in its way.

    Raises:
        CannotExecute: for other calls and other files.
    """
    if call.family == "write":
        return length_of(call)
    with _regular_file(call) as fd:
        return max(0, min(length_of(call), os.fstat(fd).st_size - position(call, fd)[0]))


@contextmanager
def _regular_file(call: Call) -> Iterator[int]:
    """A duplicate of the regular file that a read or write is on; CannotExecute for everything else."""
    if call.family not in ("read", "write") or call.spec.other is not None:
        raise CannotExecute(f"{call.spec.name} transfers no bytes from or to memory")
    assert call.fd is not None
    with duplicate(call.task.process, call.fd) as fd:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise CannotExecute("not a regular file")
        yield fd


def transfer(call: Call, length: int) -> int:
    """Let a read or write on a regular file take effect for at most its first ``length`` bytes.

    Raises:
        CannotExecute: for other calls and other files.
    """
    with _regular_file(call) as fd:
        length = min(length, length_of(call))
        offset, moves = position(call, fd)
        try:
            if call.family == "read":
                return _read(call, fd, offset, moves, length)
            return _write(call, fd, offset, moves, length)
        except OSError as error:
            return -(error.errno or 0)


def _write(call: Call, fd: int, offset: int, moves: bool, length: int) -> int:
    data: bytes | memoryview = data_of(call)[:length]
    _within_limit(call, offset + length)
    if fcntl.fcntl(fd, fcntl.F_GETFL) & _O_DIRECT:
        data = _aligned(bytes(data))
    flags = call.flags if call.spec.name == "pwritev2" else 0
    if flags:
        return os.pwritev(fd, [data], offset, flags) if not moves else _moving(fd, data, offset, flags)
    return os.write(fd, data) if moves else os.pwrite(fd, data, offset)


def _within_limit(call: Call, size: int) -> None:
    """Leave it to the kernel to fail a call, and to send its signal, where a limit is reached."""
    limit = resource.prlimit(call.task.process.pid, resource.RLIMIT_FSIZE)[0]
    if limit not in (resource.RLIM_INFINITY, -1) and size > limit:
        raise CannotExecute("a limit on the size of files is set")


def _has_no_descriptor_left(call: Call) -> bool:
    """Whether the caller is at its limit of descriptors: then an open must not even create the file."""
    limit = resource.prlimit(call.task.process.pid, resource.RLIMIT_NOFILE)[0]
    if call.extra["table"] < limit:  # The table of descriptors is smaller: no need to count.
        return False
    return len(os.listdir(f"/proc/{call.task.tid}/fd")) >= limit


def _moving(fd: int, data: bytes | memoryview, offset: int, flags: int) -> int:
    written = os.pwritev(fd, [data], offset, flags)
    os.lseek(fd, offset + written, os.SEEK_SET)
    return written


def _aligned(data: bytes) -> memoryview:
    buffer = mmap.mmap(-1, max(len(data), 1))
    buffer[: len(data)] = data
    return memoryview(buffer)[: len(data)]


def _read(call: Call, fd: int, offset: int, moves: bool, length: int) -> int:
    memory, spec = call.task.process.memory, call.spec
    data = os.pread(fd, length, offset)
    if spec.vector is not None:
        complete = memory.scatter(_vector(call), data)
    else:
        assert spec.buffer is not None
        complete = memory.write(call.args[spec.buffer], data)
    if not complete:
        raise CannotExecute("its buffer cannot be written")
    if moves:
        os.lseek(fd, offset + len(data), os.SEEK_SET)
    return len(data)


class Borrowed:
    """What a call made here needs for its time: descriptors, and file positions to give back."""

    def __init__(self) -> None:
        self._fds: list[int] = []
        self._positions: list[tuple[int, ctypes.c_int64]] = []

    def __enter__(self) -> Borrowed:
        return self

    def position(self, process: Process, address: int) -> ctypes.c_int64:
        """A copy of the file position that ``process`` keeps at ``address``."""
        word = process.memory.word(address)
        if word is None:
            raise CannotExecute("a position cannot be read")
        value = ctypes.c_int64(word)
        self._positions.append((address, value))
        return value

    def give_back(self, process: Process) -> None:
        """Write changed positions to where they came from."""
        for address, value in self._positions:
            process.memory.write(address, value.value.to_bytes(8, "little", signed=True))

    def __exit__(self, *_: object) -> None:
        for fd in self._fds:
            os.close(fd)

    def duplicate(self, process: Process, fd: int) -> int:
        """Like :func:`duplicate`, until the end of the block."""
        mine = abi.libc().syscall(number_of("pidfd_getfd", abi.machine()), process.pidfd, fd, 0)
        if mine < 0:
            raise CannotExecute(f"descriptor {fd} could not be duplicated ({os.strerror(-mine)})")
        self._fds.append(mine)
        return mine


_Argument = int | ctypes.Array[ctypes.c_char]


def _number(call: Call) -> int:
    number = call.spec.number(abi.machine())
    assert number is not None
    return number


def _translate(call: Call, opened: Borrowed) -> list[_Argument]:
    """The arguments of a call, with descriptors, names and pointers that are valid here."""
    spec, args = call.spec, list[_Argument](call.args)
    if call.family in _GROWING:
        _within_limit(call, _largest(call))
    if call.family in _BY_PERMISSION and spec.path is None:
        _same_user(call)
    if spec.family == "clone" or spec.name in ("sendfile", "copy_file_range"):
        return _translate_copy(call, opened)
    if spec.path is not None:
        _same_user(call)
        _translate_name(call, args, spec.base, spec.path, call.path, opened)
    if spec.second is not None:
        _translate_name(call, args, spec.second_base, spec.second, call.other_path, opened)
    if spec.fd is not None and spec.name != "mmap":
        args[spec.fd] = opened.duplicate(call.task.process, abi.signed(call.args[spec.fd]))
    for index, size in spec.pointers:
        if call.args[index]:
            args[index] = _pointed_at(call, index, size)
    return args


def _largest(call: Call) -> int:
    """A size that the call cannot make a file exceed."""
    count = 0 if call.spec.count is None else call.args[call.spec.count]
    if call.family == "truncate":
        return count
    if call.family == "fallocate" and call.spec.offset is not None:
        return count + call.args[call.spec.offset]
    return 1 << 63  # A copy: where it ends depends on its source.


def _translate_name(
    call: Call, args: list[_Argument], base: int | None, index: int, path: str | None, opened: Borrowed
) -> None:
    raw = call.task.process.memory.string(call.args[index]) if call.args[index] else None
    if base is not None and not raw:
        args[base] = opened.duplicate(call.task.process, abi.signed(call.args[base]))
        args[index] = ctypes.create_string_buffer(b"") if raw is not None else 0
        return
    encoded = os.fsencode(path or "")
    if len(encoded) >= _PATH_MAX:
        raise CannotExecute("the name is too long")
    args[index] = ctypes.create_string_buffer(encoded)
    if base is not None:
        args[base] = abi.AT_FDCWD


def _pointed_at(call: Call, index: int, size: int) -> ctypes.Array[ctypes.c_char]:
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


def _translate_copy(call: Call, opened: Borrowed) -> list[_Argument]:
    """``copy_file_range``, ``sendfile`` and the clone requests: two files, positions in memory."""
    assert call.fd is not None
    assert call.other_fd is not None
    into = opened.duplicate(call.task.process, call.fd)
    out = opened.duplicate(call.task.process, call.other_fd)
    if not all(stat.S_ISREG(os.fstat(fd).st_mode) for fd in (into, out)):
        raise CannotExecute("not two regular files")
    if call.family == "clone":
        if call.extra.get("whole"):
            return [into, abi.FICLONE, out]
        extra = call.extra
        part = CLONE_RANGE.pack(out, extra["source_offset"], extra["length"], extra["offset"])
        return [into, abi.FICLONERANGE, ctypes.create_string_buffer(part)]
    args = list[_Argument](call.args)
    args[call.spec.fd or 0], args[call.spec.other or 0] = into, out
    for index in (1, 3) if call.spec.name == "copy_file_range" else (2,):
        if call.args[index]:
            args[index] = ctypes.addressof(opened.position(call.task.process, call.args[index]))
    return args


def _same_user(call: Call) -> None:
    """Refuse where permissions or names would mean something else for us than for the caller."""
    tid = call.task.tid
    fields = status(tid)
    call.extra["umask"] = int(fields.get("Umask", b"022"), 8)
    call.extra["table"] = int(fields.get("FDSize", b"0"))
    own = status(os.getpid())
    if any(fields.get(name) != own.get(name) for name in ("Uid", "Gid", "Groups", "CapEff")):
        raise CannotExecute("the caller is another user, or has other rights")
    try:
        for name, what in (("root", "root directory"), ("ns/mnt", "view of mounted file systems")):
            if os.readlink(f"/proc/{tid}/{name}") != os.readlink(f"/proc/self/{name}"):
                raise CannotExecute(f"the caller has another {what}")
    except OSError:
        raise CannotExecute("the caller is gone") from None


@contextmanager
def _umask_of(call: Call) -> Iterator[None]:
    """Create files with the caller's umask."""
    mask = call.extra.get("umask")
    if mask is None or call.family not in ("open", "mkdir", "mknod"):
        yield
        return
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)
