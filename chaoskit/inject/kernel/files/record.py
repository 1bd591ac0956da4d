"""Record a call as an operation: facts before, data, result, and facts after."""

from __future__ import annotations

import fcntl
import mmap
import os
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from chaoskit.core.operation import FileDetail, Payload
from chaoskit.inject.kernel.border import UNFAITHFUL, CannotExecute
from chaoskit.inject.kernel.files import brought, execute, extents, translate
from chaoskit.inject.kernel.files.calls import FileCall, mapped_at
from chaoskit.inject.kernel.files.elsewhere import Elsewhere
from chaoskit.inject.kernel.files.held import KnownContents
from chaoskit.inject.kernel.files.payload import WHOLE, PayloadStore
from chaoskit.inject.kernel.files.releases import Releases
from chaoskit.inject.kernel.files.translate import Duplicate, duplicated
from chaoskit.inject.kernel.files.unseen import Unseen
from chaoskit.inject.kernel.listener import Stopped
from chaoskit.inject.kernel.log import Log

_ASYNC_OR_SYNC = frozenset({1, 4})
_INVALIDATE = 2
"""Flags of msync(2): MS_ASYNC, MS_SYNC and MS_INVALIDATE of sys/mman.h."""

Facts = dict[str, Any]
"""What is known about a call so far, as fields of a future ``FileDetail``. The record is made once, at the
end, since copying one costs as much as a system call."""


class Recorder:
    """Adds the operations on files to the log of one run."""

    def __init__(self, root: str, log: Log, elsewhere: Elsewhere) -> None:
        self._root = root
        self._log = log
        self._elsewhere = elsewhere
        self._store = PayloadStore()
        self.unseen = Unseen(self._store)
        self._held = KnownContents(self._store)
        self._releases: Releases | None = None

    def shared_mapping(self, target: str) -> None:
        """Note that a file may change without a call."""
        text = f"{target} is mapped shared and writable: stores are seen when it is synced, closed or renamed"
        self._log.caveat("shared-mapping", target, text)

    def becomes_writable(self, target: str) -> None:
        """Note that a read-only mapping of ``target`` has become writable."""
        self.shared_mapping(target)
        if self._log.recording:
            self._watch_unseen(target, os.path.join(self._root, target))

    def may_change(self, call: FileCall) -> None:
        """Note that the file that ``call`` opens is changed by other means than a call."""
        if self._log.recording and call.path is not None:
            self._watch_unseen(call.target, call.path)

    def _watch_unseen(self, target: str, path: str) -> None:
        if not self.unseen.watch(path):
            self._log.caveat("content-unknown", target, f"{target} may change unseen, and cannot be read")

    def describe(self, call: FileCall, whole: bool) -> FileDetail:
        """What is known of a call before it takes effect; with the data it carries if ``whole``."""
        try:
            facts = _before(call)
            if whole:
                facts["data"] = _payload(call, self._store)
        finally:
            _let_go(call)
        return FileDetail(**facts)

    def observe(self, call: FileCall, stopped: Stopped) -> None:
        """Record ``call``, make it here if its result matters, and make sure that it is answered."""
        try:
            by_kernel = self._observe(call, stopped)
        finally:
            if call.held is not None:
                _let_go(call)
            if call.opened is not None:
                os.close(call.opened)
        if by_kernel:
            stopped.go_on()

    def _observe(self, call: FileCall, stopped: Stopped) -> bool:
        """True if the kernel must make the call; otherwise it was answered."""
        facts = _before(call)
        facts["data"] = _payload(call, self._store)
        if call.second is not None and os.path.isabs(call.target):
            facts["unsynced"] = self._elsewhere.unsynced(call.target)
            facts["brought"] = brought.in_directory(call, self._store, self._elsewhere.unsynced)
        if call.row.opens:
            facts["held"] = self._held.before(call)
        # Before the call, since it may sync or close changed files.
        facts["seen"] = self.unseen.at(call, facts.get("inode"))
        if call.row.unseen and call.fd is not None:
            self._watch_unseen(call.target, f"/proc/{call.task.tid}/fd/{call.fd}")
        # The thread may continue as soon as the call is made for it, and be elsewhere.
        where = self._log.where(call.task)
        # Reads are most of the calls, and the kernel makes them faster than we do.
        expected = _EXPECTED.get(call.family)
        if expected is not None:
            result = expected(call, facts)
        elif call.row.by_caller:
            result = None
            self._left_to_the_kernel(call)
        else:
            result = self._carried_out(call, stopped)
        _after(call, result, facts)
        if result is not None and result >= 0 and _empties(call, facts):
            self._watch_release(call, facts.get("inode"))
        self._log.record(call, result, FileDetail(**facts), where)
        # The kernel must still make it.
        if expected is not None or result is None:
            return True
        if call.opened is None:  # A descriptor that was handed over is the answer already.
            # Close our duplicate first: a lock of flock(2) is held until every duplicate is closed.
            _let_go(call)
            stopped.answer(result)
        return False

    def _left_to_the_kernel(self, call: FileCall) -> None:
        if call.row.unseen and call.row.transfers:
            self._unconfirmed(call, "it may block")
        elif call.row.unseen:
            self.shared_mapping(call.target)

    def _carried_out(self, call: FileCall, stopped: Stopped) -> int | None:
        try:
            return _open(call, stopped) if call.row.opens else execute.perform(call)
        except UNFAITHFUL as why:
            # Unknown results of reads are harmless; calls that decide a verdict need a caveat.
            if call.row.opens or call.row.changes or call.row.syncs:
                self._unconfirmed(call, str(why) or type(why).__name__)
            return None

    def _unconfirmed(self, call: FileCall, why: str) -> None:
        text = f"the result of {call.spec.name} on {call.target} is not known: {why}"
        self._log.caveat("unconfirmed", call.target, text)

    def _watch_release(self, call: FileCall, inode: tuple[int, int] | None) -> None:
        """Watch for the release of a file that was emptied: ext4 writes its data out then."""
        if self._releases is None:
            # Only when it is needed: inotify instances are few (inotify(7), max_user_instances).
            self._releases = Releases()
        if inode is None:
            return
        if call.opened is not None:
            self._releases.watch(f"/proc/self/fd/{call.opened}", inode)
        elif call.path is not None:
            self._releases.watch(call.path, inode)
        elif call.fd is not None:
            with suppress(OSError, CannotExecute), Duplicate(call.task.process, call.fd) as fd:
                self._releases.watch(f"/proc/self/fd/{fd}", inode)

    def settle(self) -> None:
        """Complete the last operation before another is recorded: a close has taken effect only now.

        A release reported later, after other operations, is not noted: the result would depend on timing.
        """
        heard = self._releases.heard() if self._releases is not None else None
        operations = self._log.operations
        if heard and operations:
            last = operations[-1]
            if last.call == "close" and last.file.inode in heard:
                operations[-1] = replace(last, detail=replace(last.file, released=True))


def _open(call: FileCall, stopped: Stopped) -> int:
    """Open here, and hand the descriptor over; return its number in the caller, or minus the errno."""
    mine = execute.perform_open(call)
    if mine < 0:
        return mine
    call.opened = mine
    return stopped.give(mine, bool(call.flags & os.O_CLOEXEC))


def _before(call: FileCall) -> Facts:
    if call.fd is None and call.path is None:
        return {}  # sync(2) has no target: it syncs everything.
    facts: Facts = {"fd": call.fd, "flags": call.flags, "mode": call.mode, "length": _length(call)}
    with suppress(*UNFAITHFUL):
        if call.fd is not None:
            # An incomplete record is better than none: the call is made in any case.
            _descriptor(call, facts)
        else:
            _named(call, facts)
    return facts


def _let_go(call: FileCall) -> None:
    if call.held is not None:
        os.close(call.held)
        call.held = None


def _length(call: FileCall) -> int | None:
    if call.row.moves:
        return None if call.spec.other is not None else execute.length_of(call)
    if call.length is not None:
        return call.length
    return None if call.spec.count is None else call.args[call.spec.count]


def _descriptor(call: FileCall, facts: Facts) -> None:
    assert call.fd is not None
    # Kept, since most calls are made on it next.
    fd = call.held = duplicated(call.task.process, call.fd)
    found = os.fstat(fd)
    facts |= _stated(found)
    facts["synchronous"] = _synchronous(fcntl.fcntl(fd, fcntl.F_GETFL), call)
    if stat.S_ISREG(found.st_mode):
        facts["offset"] = _offset(call, fd)
    if call.row.copies:
        with translate.source_of(call) as source:
            facts["source_offset"] = execute.source_position(call, source)
    if call.spec.text is not None:
        facts["text"] = _text(call, call.spec.text)


def _offset(call: FileCall, fd: int) -> int | None:
    if call.row.moves and call.spec.other is None:
        return execute.position(call, fd)[0]
    if call.spec.family == "clone":
        return call.offset
    if call.row.copies:
        # copy_file_range takes a pointer to its offset, which is null for the file's own.
        if call.spec.name == "copy_file_range" and call.args[3]:
            return call.task.process.memory.word(call.args[3])
        appends = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND
        return os.fstat(fd).st_size if appends else os.lseek(fd, 0, os.SEEK_CUR)
    return None if call.spec.offset is None else call.args[call.spec.offset]


def _synchronous(flags: int, call: FileCall) -> str:
    if call.spec.name == "pwritev2":
        if call.flags & 4:
            return "O_SYNC"
        if call.flags & 2:
            return "O_DSYNC"
    if flags & os.O_SYNC == os.O_SYNC:
        return "O_SYNC"
    return "O_DSYNC" if flags & os.O_DSYNC else ""


def _stated(found: os.stat_result) -> Facts:
    return {
        "inode": (found.st_dev, found.st_ino),
        "directory": stat.S_ISDIR(found.st_mode),
        "links": found.st_nlink,
        "size_before": found.st_size,
    }


def _named(call: FileCall, facts: Facts) -> None:
    assert call.path is not None
    if call.second is not None and call.other_path is not None:
        # Looked up now: after the rename the name means the new file.
        replaced = _lstat(call.other_path)
        if replaced is not None:
            facts["replaced"] = (replaced.st_dev, replaced.st_ino)
    if call.spec.text is not None:
        facts["text"] = _text(call, call.spec.text)
    try:
        found = os.stat(call.path, follow_symlinks=call.follow)
    except OSError:
        return  # A missing file has no inode.
    if call.second is not None:
        facts["mode"] = stat.S_IMODE(found.st_mode)
    if call.row.syncs == "mapping":
        facts["offset"] = call.offset
    facts |= _stated(found)


def _lstat(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError:
        return None


def _text(call: FileCall, index: int) -> str:
    return os.fsdecode(call.task.process.memory.string(call.args[index]) or b"")


def _payload(call: FileCall, store: PayloadStore) -> Payload | None:
    """The data that a call is about to put into the directory."""
    try:
        if call.row.moves and call.row.transfers:
            return store.keep(execute.data_of(call))
        if call.family == "setxattr":
            return store.keep(call.task.process.memory.read(call.args[2], call.args[3]))
        if call.row.copies:
            return _copied(call, store)
        if call.second is not None and os.path.isabs(call.target):
            return brought.in_file(call, store)
    except UNFAITHFUL:
        pass
    return None


def _copied(call: FileCall, store: PayloadStore) -> Payload:
    with translate.source_of(call) as fd:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise CannotExecute("not a regular file")
        # A length of 0 means everything from the offset on: ioctl_ficlonerange(2).
        length = call.length or WHOLE if call.spec.count is None else call.args[call.spec.count]
        # First, since it raises if it cannot be read, and an open file would stay open.
        start = execute.source_position(call, fd)
        # Opened again: reading through the caller's open file would change its access time.
        return brought.kept(extents.opened(f"/proc/self/fd/{fd}"), store, start, length)


def _will_sync(call: FileCall) -> bool:
    """Return True if the kernel will accept an ``msync``: it fails unless the whole range is mapped."""
    address, length = call.args[0], call.args[1]
    if call.flags & ~_INVALIDATE not in _ASYNC_OR_SYNC or address % mmap.PAGESIZE or not length:
        return False
    return mapped_at(call.task.process.pid, address + length - 1)[0] == call.path


def _expected_sync(call: FileCall, facts: Facts) -> int:
    return 0  # sync(2): "sync() is always successful."


def _expected_msync(call: FileCall, facts: Facts) -> int | None:
    return 0 if _will_sync(call) else None


def _expected_read(call: FileCall, facts: Facts) -> int | None:
    offset, length, size = facts.get("offset"), facts.get("length"), facts.get("size_before")
    if offset is None or length is None or size is None:
        return None
    return max(0, min(int(length), int(size) - int(offset)))


_EXPECTED: Mapping[str, Callable[[FileCall, Facts], int | None]] = {
    "read": _expected_read,
    "sync": _expected_sync,
    "msync": _expected_msync,
}
"""Families whose calls the kernel makes, and whose results are known beforehand."""


def _after(call: FileCall, result: int | None, facts: Facts) -> None:
    """Add the effects of a successful call."""
    if result is None and call.row.room == "name" and None not in (call.mode, call.umask):
        # Left to the kernel (another user, say): we cannot look, but the caller's umask is known.
        facts["made_mode"] = stat.S_IMODE(call.mode or 0) & ~(call.umask or 0)
    if result is None or result < 0:
        return
    if call.row.opens:
        existed = facts.get("inode") is not None
        unnamed = call.flags & os.O_TMPFILE == os.O_TMPFILE
        facts["truncated"] = existed and bool(call.flags & os.O_TRUNC) and bool(facts["size_before"])
        facts["created"] = (not existed and bool(call.flags & os.O_CREAT)) or unnamed
        # The number that the caller has, not ours.
        facts["fd"] = result
        if call.opened is not None:
            # The mode as it is now: umask, default access list and the directory's S_ISGID are in it.
            facts |= _made(os.fstat(call.opened))
    elif call.row.room == "name" and call.path is not None:
        found = _lstat(call.path)
        if found is not None:
            facts |= _made(found)


def _made(found: os.stat_result) -> Facts:
    return {
        "inode": (found.st_dev, found.st_ino),
        "directory": stat.S_ISDIR(found.st_mode),
        "made_mode": stat.S_IMODE(found.st_mode),
    }


def _empties(call: FileCall, facts: Facts) -> bool:
    return facts.get("truncated", False) or (call.family == "truncate" and facts.get("length") == 0)
