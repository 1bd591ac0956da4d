"""From a call to an operation: the facts before, the result, the facts after, the data."""

from __future__ import annotations

import fcntl
import mmap
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from chaoskit.core.operation import Caveat, Detail, Operation, Payload, count_ordinals
from chaoskit.inject.kernel import execute
from chaoskit.inject.kernel.calls import Call, mapped_at
from chaoskit.inject.kernel.execute import CannotExecute
from chaoskit.inject.kernel.payload import WHOLE, Store
from chaoskit.inject.kernel.releases import Releases
from chaoskit.inject.kernel.syscalls import STATE_CHANGING
from chaoskit.inject.kernel.tree import Tree
from chaoskit.inject.kernel.unseen import BEGINS, Unseen

_LEFT_TO_THE_KERNEL = frozenset({"msync", "sync", "mmap", "splice", "lock", "getdents", "close"})
_ASYNC_OR_SYNC = frozenset({1, 4})
_INVALIDATE = 2


class Recorder:
    """Collects the operations of one run.

    ``stacks`` says whether they come with their Python stacks. In a case they need not: the operation of
    the recording that the schedule names has one.
    """

    def __init__(self, tree: Tree, stacks: bool) -> None:
        self.operations: list[Operation] = []
        self.caveats: dict[tuple[str, str], Caveat] = {}
        self._tree = tree
        self._stacks = stacks
        self._store = Store()
        self.unseen = Unseen(self._store)
        self._releases: Releases | None = None

    def caveat(self, kind: str, target: str, text: str) -> None:
        """Note something that could not be followed, once for each target."""
        self.caveats.setdefault((kind, target), Caveat(kind, target, text))

    def shared_mapping(self, target: str) -> None:
        """Note that a file can be changed without a call."""
        text = f"{target} is mapped shared and writable: stores are seen when it is synced, closed or renamed"
        self.caveat("shared-mapping", target, text)

    def watch(self, target: str, path: str) -> None:
        """The file at ``path`` may change unseen from now on."""
        if not self.unseen.watch(path):
            self.caveat("content-unknown", target, f"{target} may change unseen, and cannot be read")

    def operation(self, call: Call, result: int | None, detail: Detail) -> Operation:
        """The record of ``call``; its ordinal is given when the trace is complete."""
        task = call.task
        return Operation(
            index=len(self.operations),
            call=call.family,
            target=call.target,
            second=call.second,
            place=self._tree.place(task),
            syscall=call.spec.name,
            result=result,
            detail=detail,
            stack=self._tree.stack(task) if self._stacks else (),
            pid=task.process.pid,
            tid=task.tid,
        )

    def observe(self, call: Call, make: Callable[[Call], int]) -> int | None:
        """Record ``call`` and let ``make`` carry it out; None if the kernel has to do it.

        ``make`` returns the result or minus the errno, or raises CannotExecute.
        """
        self.settle()
        detail = before(call)
        result: int | None = None
        payload = _payload(call, self._store)
        detail = replace(detail, seen=self.unseen.at(call, detail))
        if call.family in BEGINS and call.fd is not None:
            self.watch(call.target, f"/proc/{call.task.tid}/fd/{call.fd}")
        operation = self.operation(call, None, detail)
        if call.family == "read":
            result = _expected_read(detail)
        elif call.family == "sync" or (call.family == "msync" and _will_sync(call)):
            result = 0
        elif call.family == "mmap":
            self.shared_mapping(call.target)
        elif call.family == "splice":
            self._unconfirmed(call, "it may block")
        elif call.family not in _LEFT_TO_THE_KERNEL:
            result = self._carry_out(call, make)
        detail = after(call, result, detail)
        if result is not None and result >= 0 and _empties(call, detail):
            self._watch(call, detail)
        if payload is not None:
            detail = replace(detail, data=payload)
        self.operations.append(replace(operation, result=result, detail=detail))
        return None if call.family in ("read", "sync", "msync") or result is None else result

    def struck(self, call: Call, operation: Operation, answer: int | None) -> None:
        """Record a call that was answered by a fault or its consequence, and not by the kernel."""
        self.settle()
        payload = _payload(call, self._store)
        detail = operation.detail
        if payload is not None:
            detail = replace(detail, data=payload)
        self.operations.append(replace(operation, result=answer, detail=detail))

    def _carry_out(self, call: Call, make: Callable[[Call], int]) -> int | None:
        try:
            return make(call)
        except CannotExecute as why:
            if call.family == "open" or call.family in STATE_CHANGING:
                self._unconfirmed(call, str(why))
            return None

    def _unconfirmed(self, call: Call, why: str) -> None:
        text = f"the result of {call.spec.name} on {call.target} is not known: {why}"
        self.caveat("unconfirmed", call.target, text)

    def _watch(self, call: Call, detail: Detail) -> None:
        """Ask to be told when a file that was emptied is released: ext4 goes by that."""
        if self._releases is None:
            self._releases = Releases()
        if detail.inode is None:
            return
        if "opened" in call.extra:
            self._releases.watch(f"/proc/self/fd/{call.extra['opened']}", detail.inode)
        elif call.path is not None:
            self._releases.watch(call.path, detail.inode)
        elif call.fd is not None:
            with suppress(OSError, CannotExecute), execute.duplicate(call.task.process, call.fd) as fd:
                self._releases.watch(f"/proc/self/fd/{fd}", detail.inode)

    def settle(self) -> None:
        """Complete the last operation before another is recorded: only now a close has taken effect.

        A release that is heard of later, when other operations came between, is not noted: what
        those found would depend on the moment.
        """
        heard = self._releases.heard() if self._releases is not None else None
        if heard and self.operations:
            last = self.operations[-1]
            if last.call == "close" and last.detail.inode in heard:
                self.operations[-1] = replace(last, detail=replace(last.detail, released=True))

    def numbered(self) -> tuple[Operation, ...]:
        """All operations with their ordinals."""
        self.settle()
        ordinals = count_ordinals(self.operations)
        return tuple(
            replace(one, ordinal=ordinal) if ordinal != 1 else one
            for one, ordinal in zip(self.operations, ordinals, strict=True)
        )


def before(call: Call) -> Detail:
    """What is known of a call before it takes effect."""
    if call.family == "sync":
        return Detail()
    detail = Detail(fd=call.fd, flags=call.flags, mode=call.mode, length=_length(call))
    try:
        detail = _descriptor(call, detail) if call.fd is not None else _named(call, detail)
    except (OSError, CannotExecute):
        return detail
    return detail


def _length(call: Call) -> int | None:
    if call.family in ("read", "write"):
        return None if call.spec.other is not None else execute.length_of(call)
    if call.family == "clone":
        return call.extra.get("length")
    return None if call.spec.count is None else call.args[call.spec.count]


def _descriptor(call: Call, detail: Detail) -> Detail:
    assert call.fd is not None
    with execute.duplicate(call.task.process, call.fd) as fd:
        facts = os.fstat(fd)
        flags = fcntl.fcntl(fd, fcntl.F_GETFL)
        detail = replace(_stated(detail, facts), synchronous=_synchronous(flags, call))
        if stat.S_ISREG(facts.st_mode):
            detail = replace(detail, offset=_offset(call, fd))
    if call.family in ("copy_file_range", "sendfile", "clone"):
        detail = replace(detail, source_offset=_source_offset(call))
    if call.family == "setxattr" or call.family == "removexattr":
        detail = replace(detail, text=_text(call, 1))
    return detail


def _offset(call: Call, fd: int) -> int | None:
    if call.family in ("read", "write") and call.spec.other is None:
        return execute.position(call, fd)[0]
    if call.family in ("copy_file_range", "sendfile"):
        index = {"copy_file_range": 3}.get(call.spec.name)
        if index is not None and call.args[index]:
            return call.task.process.memory.word(call.args[index])
        return os.fstat(fd).st_size if _appends(fd) else os.lseek(fd, 0, os.SEEK_CUR)
    if call.family == "clone":
        return call.extra.get("offset", 0)
    return None if call.spec.offset is None else call.args[call.spec.offset]


def _appends(fd: int) -> bool:
    return bool(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND)


def _synchronous(flags: int, call: Call) -> str:
    if call.spec.name == "pwritev2":
        if call.flags & 4:
            return "O_SYNC"
        if call.flags & 2:
            return "O_DSYNC"
    if flags & os.O_SYNC == os.O_SYNC:
        return "O_SYNC"
    return "O_DSYNC" if flags & os.O_DSYNC else ""


def _stated(detail: Detail, facts: os.stat_result) -> Detail:
    return replace(
        detail,
        inode=(facts.st_dev, facts.st_ino),
        directory=stat.S_ISDIR(facts.st_mode),
        links=facts.st_nlink,
        size_before=facts.st_size,
    )


def _named(call: Call, detail: Detail) -> Detail:
    assert call.path is not None
    if call.second is not None and call.other_path is not None:
        replaced = _lstat(call.other_path)
        if replaced is not None:
            detail = replace(detail, replaced=(replaced.st_dev, replaced.st_ino))
    if call.family == "symlink":
        detail = replace(detail, text=_text(call, 0))
    elif call.family in ("setxattr", "removexattr"):
        detail = replace(detail, text=_text(call, 1))
    try:
        facts = os.stat(call.path, follow_symlinks=call.follow)
    except OSError:
        return detail  # What is not there yet has no inode.
    if call.family in ("rename", "link"):
        detail = replace(detail, mode=stat.S_IMODE(facts.st_mode))
    return _stated(detail, facts)


def _lstat(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError:
        return None


def _text(call: Call, index: int) -> str:
    return os.fsdecode(call.task.process.memory.string(call.args[index]) or b"")


def _payload(call: Call, store: Store) -> Payload | None:
    """The data that a call is about to put into the directory."""
    try:
        if call.family == "write":
            return store.keep(execute.data_of(call))
        if call.family == "setxattr":
            return store.keep(call.task.process.memory.read(call.args[2], call.args[3]))
        if call.family in ("copy_file_range", "sendfile", "clone"):
            return _copied(call, store)
        if call.family in ("rename", "link") and os.path.isabs(call.target):
            return _brought_in(call, store)
    except (OSError, CannotExecute):
        pass
    return None


def _copied(call: Call, store: Store) -> Payload:
    assert call.other_fd is not None
    with execute.duplicate(call.task.process, call.other_fd) as fd:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise CannotExecute("not a regular file")
        length = call.extra.get("length") or WHOLE
        if call.family != "clone":
            assert call.spec.count is not None
            length = call.args[call.spec.count]
        return store.copy(fd, _start(call, fd), length)


def _brought_in(call: Call, store: Store) -> Payload | None:
    """The content of a file that comes from outside, where nobody saw it being written."""
    assert call.path is not None
    if not stat.S_ISREG(os.lstat(call.path).st_mode):
        return None
    with open(call.path, "rb", buffering=0) as file:
        return store.copy(file.fileno(), 0, WHOLE)


def _source_offset(call: Call) -> int:
    assert call.other_fd is not None
    with execute.duplicate(call.task.process, call.other_fd) as fd:
        return _start(call, fd)


def _start(call: Call, fd: int) -> int:
    """From where a copy reads its source."""
    if call.family == "clone":
        return call.extra.get("source_offset", 0)
    index = 1 if call.spec.name == "copy_file_range" else 2
    kept = call.task.process.memory.word(call.args[index]) if call.args[index] else None
    return os.lseek(fd, 0, os.SEEK_CUR) if kept is None else kept


def _will_sync(call: Call) -> bool:
    """Whether the kernel will not refuse an ``msync``: it fails where not all of the range is mapped."""
    address, length = call.args[0], call.args[1]
    if call.flags & ~_INVALIDATE not in _ASYNC_OR_SYNC or address % mmap.PAGESIZE or not length:
        return False
    return mapped_at(call.task.process.pid, address + length - 1) == call.path


def _expected_read(detail: Detail) -> int | None:
    if detail.offset is None or detail.length is None or detail.size_before is None:
        return None
    return max(0, min(detail.length, detail.size_before - detail.offset))


def after(call: Call, result: int | None, detail: Detail) -> Detail:
    """What a call that took effect has made."""
    if result is None and call.family in ("open", "mkdir", "mknod") and call.mode is not None:
        # Left to the kernel (another user, say): nobody can look, but the caller's umask is known.
        mask = call.extra.get("umask")
        return detail if mask is None else replace(detail, made_mode=stat.S_IMODE(call.mode) & ~mask)
    if result is None or result < 0:
        return detail
    existed = detail.inode is not None
    if call.family == "open":
        opened = call.extra.get("opened")
        truncated = existed and bool(call.flags & os.O_TRUNC) and bool(detail.size_before)
        created = not existed and bool(call.flags & os.O_CREAT)
        if opened is not None:
            facts = os.fstat(opened)
            # The mode as it is now: umask, default access list and the directory's S_ISGID are in it.
            detail = replace(
                detail,
                inode=(facts.st_dev, facts.st_ino),
                directory=stat.S_ISDIR(facts.st_mode),
                made_mode=stat.S_IMODE(facts.st_mode),
            )
        return replace(detail, truncated=truncated, created=created or _is_unnamed(call), fd=result)
    if call.family in ("mkdir", "mknod", "symlink") and call.path is not None:
        facts_now = _lstat(call.path)
        if facts_now is not None:
            inode = (facts_now.st_dev, facts_now.st_ino)
            mode = stat.S_IMODE(facts_now.st_mode)
            return replace(detail, inode=inode, directory=call.family == "mkdir", made_mode=mode)
    return detail


def _empties(call: Call, detail: Detail) -> bool:
    return detail.truncated or (call.family == "truncate" and detail.length == 0)


def _is_unnamed(call: Call) -> bool:
    unnamed: int = os.O_TMPFILE
    return call.flags & unnamed == unnamed
