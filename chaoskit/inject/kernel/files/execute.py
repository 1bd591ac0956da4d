"""Make a call on behalf of the thread that waits for it.

seccomp shows the entry of a call, not its result. So if the result matters, the supervisor makes the same
system call itself: on duplicates of the thread's descriptors (pidfd_getfd(2): the same open file, so offset
and append are the caller's) and on names looked up through the thread's directory. The thread then gets that
result. Nothing can intervene while it waits, so data, offset and result are exact.

Whatever cannot be done faithfully is refused (``CannotExecute``) and left to the kernel: another user or root
directory than ours, ``openat2`` with resolve flags, a limit on file size, a call that may block.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from chaoskit.inject.kernel.border import CannotExecute
from chaoskit.inject.kernel.files import translate
from chaoskit.inject.kernel.files.calls import FileCall
from chaoskit.inject.kernel.files.translate import Borrowed, duplicated
from chaoskit.inject.kernel.seccomp import abi

_LONGEST = 0x7FFFF000
"""The most bytes that one read or write transfers (write(2), "Notes")."""
_MOST = 1 << 30
"""The most bytes read from a caller's memory at once; longer lengths are rarely meant."""
_LAST = (1 << 63) - 1
"""The largest offset (``loff_t``)."""
_MOST_PARTS = 1024
"""Parts of a vector: UIO_MAXIOV (readv(2), "Notes")."""
_O_DIRECT = getattr(os, "O_DIRECT", 0)
_RWF_APPEND, _RWF_NOAPPEND = 0x10, 0x20


def perform(call: FileCall) -> int:
    """Make the call with the arguments it was given; return its result or minus the errno.

    Raises:
        CannotExecute: for calls that may block or act on the caller's own memory, and wherever the
            result could be another than the caller's.
    """
    if call.row.moves:
        return transfer(call, len(data_of(call)) if call.row.transfers else length_of(call))
    if call.row.by_caller:
        raise CannotExecute(f"{call.spec.name} can only be made by the caller itself")
    return _made(call)


def _made(call: FileCall, at_most: int | None = None) -> int:
    """Make the call here and return its result; a copy is limited to ``at_most`` bytes."""
    translate.reachable(call)
    with Borrowed() as opened:
        args = translate.arguments(call, opened)
        if at_most is not None and call.spec.count is not None:
            args[call.spec.count] = at_most
        with _umask_of(call):
            result = abi.libc().syscall(translate.number(call), *args)
        _not_ours(call, result)
        opened.give_back(call.task.process)
        return result


def _not_ours(call: FileCall, result: int) -> None:
    """Raise CannotExecute for an errno that the caller may not get.

    A name may have too many links only for us, since our way to the caller's directory is one more. And only
    the process that opened a descriptor may link it (``AT_EMPTY_PATH``, Linux 6.10).
    """
    _no_more_links(call, result)
    if result == -errno.ENOENT and call.family == "link" and call.flags & abi.AT_EMPTY_PATH:
        raise CannotExecute("the caller may have opened what is linked")


def _no_more_links(call: FileCall, result: int) -> None:
    if result == -errno.ELOOP and call.path is not None:
        raise CannotExecute("its name leads through too many links")


def perform_open(call: FileCall) -> int:
    """Make an open without blocking; return a descriptor of ours or minus the errno.

    Raises:
        CannotExecute: for files that may block or act when opened (a FIFO, a device).
    """
    assert call.path is not None
    translate.reachable(call)
    if call.restricted:
        raise CannotExecute("openat2 with more than flags and mode")
    try:
        # A FIFO would block, and a device may act when it is opened.
        kind = os.stat(call.path, follow_symlinks=call.follow).st_mode
    except OSError:
        kind = stat.S_IFREG
    if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind) or stat.S_ISLNK(kind)):
        raise CannotExecute("not a regular file or directory")
    translate.same_user(call)
    if _has_no_descriptor_left(call):
        return -errno.EMFILE
    try:
        with _umask_of(call):
            # Close-on-exec for our copy; the caller's gets the flag that it asked for. Non-blocking, or an
            # open that breaks a lease (fcntl(2)) would keep us from serving the lease's holder.
            mine = os.open(call.path, call.flags | os.O_CLOEXEC | os.O_NONBLOCK, call.mode or 0)
        if not call.flags & os.O_NONBLOCK:
            os.set_blocking(mine, True)
        return mine
    except OSError as error:
        if error.errno == errno.EAGAIN and not call.flags & os.O_NONBLOCK:
            raise CannotExecute("it has to wait for the holder of a lease") from None
        if call.follow:  # Otherwise a link is refused with the same errno.
            _no_more_links(call, -(error.errno or 0))
        if error.errno == errno.EMFILE:
            # It is our limit, not the caller's: the kernel can still do it.
            raise CannotExecute("this process has no descriptor left") from None
        return -(error.errno or 0)


def length_of(call: FileCall) -> int:
    """How many bytes a read or write asks for."""
    if call.asked is None:
        spec = call.spec
        assert spec.count is not None
        if spec.vector is not None:
            call.asked = sum(length for _, length in _vector(call))
        else:
            call.asked = min(call.args[spec.count], _LONGEST)
    return call.asked


def data_of(call: FileCall) -> bytes:
    """The bytes that a write carries.

    Raises:
        CannotExecute: if some cannot be read; the kernel will answer EFAULT.
    """
    # Read once: a case may need it before and after a strike.
    if call.data is not None:
        return call.data
    spec, memory = call.spec, call.task.process.memory
    if length_of(call) > _MOST:
        raise CannotExecute("it carries more than 1 GiB at once")
    if spec.vector is not None:
        data = memory.gather(_whole_vector(call))
    else:
        assert spec.buffer is not None
        data = memory.data(call.args[spec.buffer], length_of(call))
    if len(data) != length_of(call):
        raise CannotExecute("its data cannot be read")
    call.data = data
    return data


def _vector(call: FileCall) -> list[tuple[int, int]]:
    # Read once, like data: what is recorded and what is carried out must be the same parts.
    if call.vector is None:
        spec = call.spec
        assert spec.vector is not None
        assert spec.count is not None
        call.vector = call.task.process.memory.vector(call.args[spec.vector], call.args[spec.count])
    return call.vector


def _whole_vector(call: FileCall) -> list[tuple[int, int]]:
    vector = _vector(call)
    assert call.spec.count is not None
    if len(vector) != call.args[call.spec.count]:
        # The kernel transfers nothing then (EFAULT), not even the parts that could be read.
        raise CannotExecute("its list of buffers cannot be read")
    return vector


def position(call: FileCall, fd: int) -> tuple[int, bool]:
    """The start of a read or write on ``fd`` (a duplicate), and True if it moves the offset."""
    offset = None if call.spec.offset is None else _signed_long(call.args[call.spec.offset])
    moves = offset is None or (offset == -1 and call.spec.name in ("preadv2", "pwritev2"))
    # O_APPEND wins over any offset (pwrite(2), "Bugs").
    if call.row.transfers and _appends(call, fd):
        return os.fstat(fd).st_size, moves
    if moves or offset is None:
        return os.lseek(fd, 0, os.SEEK_CUR), True
    return offset, False


def _signed_long(word: int) -> int:
    return word - (1 << 64) if word >> 63 else word


def _appends(call: FileCall, fd: int) -> bool:
    if call.spec.name == "pwritev2" and call.flags & (_RWF_APPEND | _RWF_NOAPPEND):
        return not call.flags & _RWF_NOAPPEND
    return bool(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND)


def source_position(call: FileCall, fd: int) -> int:
    """The position where a copy reads its source; ``fd`` is a duplicate of the source."""
    if call.spec.family == "clone":
        return call.source_offset
    index = 1 if call.spec.name == "copy_file_range" else 2
    kept = call.task.process.memory.word(call.args[index]) if call.args[index] else None
    return os.lseek(fd, 0, os.SEEK_CUR) if kept is None else kept


def would_transfer(call: FileCall) -> int:
    """How many bytes a read, write or copy transfers without a fault.

    Raises:
        CannotExecute: for other calls and other files.
    """
    if call.row.moves and call.row.transfers:
        return length_of(call)
    if call.row.copies:
        with translate.source_of(call) as fd:
            size = os.fstat(fd).st_size
            # Files of /proc claim to be empty, but are not.
            left = size - source_position(call, fd) if size else length_of(call)
            return max(0, min(length_of(call), left))
    with _regular_file(call) as fd:
        return max(0, min(length_of(call), os.fstat(fd).st_size - position(call, fd)[0]))


@contextmanager
def _regular_file(call: FileCall) -> Iterator[int]:
    """A duplicate of the regular file that a read or write is on; CannotExecute for everything else."""
    if not call.row.moves or call.spec.other is not None:
        raise CannotExecute(f"{call.spec.name} transfers no bytes from or to memory")
    assert call.fd is not None
    # No context manager for a held duplicate: that would cost three calls more for each recorded call.
    fd = duplicated(call.task.process, call.fd) if call.held is None else call.held
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise CannotExecute("not a regular file")
        yield fd
    finally:
        if call.held is None:
            os.close(fd)


def transfer(call: FileCall, length: int) -> int:
    """Let a read, a write or a copy between regular files take effect for at most its first ``length`` bytes.

    Raises:
        CannotExecute: for other calls and other files.
    """
    if call.row.copies:
        return _made(call, min(length, length_of(call)))
    _sound(call)
    with _regular_file(call) as fd:
        length = min(length, length_of(call))
        offset, moves = position(call, fd)
        try:
            if call.row.transfers:
                return _write(call, fd, offset, moves, length)
            return _read(call, fd, offset, moves, length)
        except OSError as error:
            return -(error.errno or 0)


def _sound(call: FileCall) -> None:
    """Raise CannotExecute for what the kernel refuses before it looks at the file (readv(2), "Errors")."""
    spec = call.spec
    if spec.vector is not None and spec.count is not None and call.args[spec.count] > _MOST_PARTS:
        raise CannotExecute("its vector has too many parts")
    if spec.offset is None:
        return
    offset = _signed_long(call.args[spec.offset])
    if offset < (-1 if spec.flags is not None else 0):
        raise CannotExecute("its offset is negative")
    # Even for an append, where the offset is ignored.
    if offset + length_of(call) > _LAST:
        raise CannotExecute("its end is beyond what an offset can be")


def _write(call: FileCall, fd: int, offset: int, moves: bool, length: int) -> int:
    data: bytes | memoryview = data_of(call)[:length]
    translate.within_limit(call, offset + length)
    # Checked here without calling keeps_its_marks: hardly any file has marks.
    if os.fstat(fd).st_mode & translate.MARKS:
        translate.same_user(call)
    if fcntl.fcntl(fd, fcntl.F_GETFL) & _O_DIRECT:
        # O_DIRECT needs aligned memory, and its errors depend on the alignment: ours is aligned like the
        # caller's.
        if call.spec.buffer is None:
            raise CannotExecute("each part of a vector must be aligned as it is")
        data = _aligned(bytes(data), call.args[call.spec.buffer] % mmap.PAGESIZE)
    flags = call.flags if call.spec.name == "pwritev2" else 0
    if flags:
        return os.pwritev(fd, [data], offset, flags) if not moves else _moving(fd, data, offset, flags)
    return os.write(fd, data) if moves else os.pwrite(fd, data, offset)


def _has_no_descriptor_left(call: FileCall) -> bool:
    """Return True if the caller is at its limit of descriptors: an open must not create the file then."""
    limit = translate.limit_of(call, resource.RLIMIT_NOFILE)
    if call.table < limit:  # The table of descriptors is smaller than the limit: no need to count.
        return False
    # The lowest free number matters, not the count of open ones: some may be above the limit.
    return sum(int(number) < limit for number in os.listdir(f"/proc/{call.task.tid}/fd")) >= limit


def _moving(fd: int, data: bytes | memoryview, offset: int, flags: int) -> int:
    written = os.pwritev(fd, [data], offset, flags)
    # pwritev2 with flags and no offset has no counterpart in Python that moves the position. If nothing was
    # written the position stays, even for an append.
    if written:
        os.lseek(fd, offset + written, os.SEEK_SET)
    return written


def _aligned(data: bytes, shift: int) -> memoryview:
    """The data in memory that begins ``shift`` bytes after a page border."""
    buffer = mmap.mmap(-1, shift + max(len(data), 1))
    buffer[shift : shift + len(data)] = data
    return memoryview(buffer)[shift : shift + len(data)]


def _read(call: FileCall, fd: int, offset: int, moves: bool, length: int) -> int:
    memory, spec = call.task.process.memory, call.spec
    # pread first: if the buffer cannot be written, the position must not have moved.
    data = os.pread(fd, length, offset)
    if spec.vector is not None:
        complete = memory.scatter(_whole_vector(call), data)
    else:
        assert spec.buffer is not None
        complete = memory.write(call.args[spec.buffer], data)
    if not complete:
        raise CannotExecute("its buffer cannot be written")
    if moves:
        os.lseek(fd, offset + len(data), os.SEEK_SET)
    return len(data)


@contextmanager
def _umask_of(call: FileCall) -> Iterator[None]:
    """Create files with the caller's umask."""
    if call.umask is None or call.row.room != "name":
        yield
        return
    # The umask belongs to the whole process, but nothing else creates files meanwhile.
    before = os.umask(call.umask)
    try:
        yield
    finally:
        os.umask(before)
