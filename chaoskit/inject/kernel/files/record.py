"""From a call to an operation: the facts before, the result, the facts after, the data."""

from __future__ import annotations

import fcntl
import mmap
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from chaoskit.core.operation import Caveat, Detail, Frame, Operation, Payload, Place, count_ordinals
from chaoskit.inject.kernel.files import execute
from chaoskit.inject.kernel.files.calls import Call, mapped_at
from chaoskit.inject.kernel.files.execute import CannotExecute
from chaoskit.inject.kernel.files.payload import WHOLE, Store
from chaoskit.inject.kernel.files.releases import Releases
from chaoskit.inject.kernel.files.unseen import BEGINS, Unseen
from chaoskit.inject.kernel.seccomp.syscalls import STATE_CHANGING
from chaoskit.inject.kernel.workload.tree import Task, Tree

_LEFT_TO_THE_KERNEL = frozenset({"msync", "sync", "mmap", "splice", "lock", "getdents", "close"})
_ASYNC_OR_SYNC = frozenset({1, 4})
_INVALIDATE = 2

Facts = dict[str, Any]
"""What is known so far of a call: fields of a :class:`~chaoskit.core.operation.Detail` in the making. One
record is made of it at the end, since each copy of one costs as much as a system call."""


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
        return self._operation(call, result, detail, *self._where(call.task))

    def _where(self, task: Task) -> tuple[Place, tuple[Frame, ...]]:
        """In which stream of operations a call stands, and its Python stack."""
        return self._tree.place(task), self._tree.stack(task) if self._stacks else ()

    def _operation(
        self, call: Call, result: int | None, detail: Detail, place: Place, stack: tuple[Frame, ...]
    ) -> Operation:
        return Operation(
            index=len(self.operations),
            call=call.family,
            target=call.target,
            second=call.second,
            place=place,
            syscall=call.spec.name,
            result=result,
            detail=detail,
            stack=stack,
            pid=call.task.process.pid,
            tid=call.task.tid,
        )

    def observe(self, call: Call, make: Callable[[Call], int]) -> int | None:
        """Record ``call`` and let ``make`` carry it out; None if the kernel has to do it.

        ``make`` returns the result or minus the errno, or raises CannotExecute.
        """
        self.settle()
        facts = _before(call)
        result: int | None = None
        payload = _payload(call, self._store)
        facts["seen"] = self.unseen.at(call, facts.get("inode"))
        if call.family in BEGINS and call.fd is not None:
            self.watch(call.target, f"/proc/{call.task.tid}/fd/{call.fd}")
        # The thread may run on as soon as the call is made for it, and be elsewhere.
        place, stack = self._where(call.task)
        if call.family == "read":
            result = _expected_read(facts)
        elif call.family == "sync" or (call.family == "msync" and _will_sync(call)):
            result = 0
        elif call.family == "mmap":
            self.shared_mapping(call.target)
        elif call.family == "splice":
            self._unconfirmed(call, "it may block")
        elif call.family not in _LEFT_TO_THE_KERNEL:
            result = self._carry_out(call, make)
        _after(call, result, facts)
        if result is not None and result >= 0 and _empties(call, facts):
            self._watch(call, facts.get("inode"))
        self.operations.append(self._operation(call, result, Detail(**facts, data=payload), place, stack))
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

    def _watch(self, call: Call, inode: tuple[int, int] | None) -> None:
        """Ask to be told when a file that was emptied is released: ext4 goes by that."""
        if self._releases is None:
            self._releases = Releases()
        if inode is None:
            return
        if "opened" in call.extra:
            self._releases.watch(f"/proc/self/fd/{call.extra['opened']}", inode)
        elif call.path is not None:
            self._releases.watch(call.path, inode)
        elif call.fd is not None:
            with suppress(OSError, CannotExecute), execute.duplicate(call.task.process, call.fd) as fd:
                self._releases.watch(f"/proc/self/fd/{fd}", inode)

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
    return Detail(**_before(call))


def _before(call: Call) -> Facts:
    if call.family == "sync":
        return {}
    facts: Facts = {"fd": call.fd, "flags": call.flags, "mode": call.mode, "length": _length(call)}
    with suppress(OSError, CannotExecute):
        if call.fd is not None:
            _descriptor(call, facts)
        else:
            _named(call, facts)
    return facts


def _length(call: Call) -> int | None:
    if call.family in ("read", "write"):
        return None if call.spec.other is not None else execute.length_of(call)
    if call.family == "clone":
        return call.extra.get("length")
    return None if call.spec.count is None else call.args[call.spec.count]


def _descriptor(call: Call, facts: Facts) -> None:
    assert call.fd is not None
    with execute.duplicate(call.task.process, call.fd) as fd:
        found = os.fstat(fd)
        flags = fcntl.fcntl(fd, fcntl.F_GETFL)
        facts |= _stated(found)
        facts["synchronous"] = _synchronous(flags, call)
        if stat.S_ISREG(found.st_mode):
            facts["offset"] = _offset(call, fd)
    if call.family in ("copy_file_range", "sendfile", "clone"):
        facts["source_offset"] = _source_offset(call)
    if call.family == "setxattr" or call.family == "removexattr":
        facts["text"] = _text(call, 1)


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


def _stated(found: os.stat_result) -> Facts:
    return {
        "inode": (found.st_dev, found.st_ino),
        "directory": stat.S_ISDIR(found.st_mode),
        "links": found.st_nlink,
        "size_before": found.st_size,
    }


def _named(call: Call, facts: Facts) -> None:
    assert call.path is not None
    if call.second is not None and call.other_path is not None:
        replaced = _lstat(call.other_path)
        if replaced is not None:
            facts["replaced"] = (replaced.st_dev, replaced.st_ino)
    if call.family == "symlink":
        facts["text"] = _text(call, 0)
    elif call.family in ("setxattr", "removexattr"):
        facts["text"] = _text(call, 1)
    try:
        found = os.stat(call.path, follow_symlinks=call.follow)
    except OSError:
        return  # What is not there yet has no inode.
    if call.family in ("rename", "link"):
        facts["mode"] = stat.S_IMODE(found.st_mode)
    facts |= _stated(found)


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


def _expected_read(facts: Facts) -> int | None:
    offset, length, size = facts.get("offset"), facts.get("length"), facts.get("size_before")
    if offset is None or length is None or size is None:
        return None
    return max(0, min(int(length), int(size) - int(offset)))


def _after(call: Call, result: int | None, facts: Facts) -> None:
    """Add what a call that took effect has made."""
    if result is None and call.family in ("open", "mkdir", "mknod") and call.mode is not None:
        # Left to the kernel (another user, say): nobody can look, but the caller's umask is known.
        mask = call.extra.get("umask")
        if mask is not None:
            facts["made_mode"] = stat.S_IMODE(call.mode) & ~mask
    if result is None or result < 0:
        return
    if call.family == "open":
        existed = facts.get("inode") is not None
        facts["truncated"] = existed and bool(call.flags & os.O_TRUNC) and bool(facts["size_before"])
        facts["created"] = (not existed and bool(call.flags & os.O_CREAT)) or _is_unnamed(call)
        facts["fd"] = result
        if "opened" in call.extra:
            # The mode as it is now: umask, default access list and the directory's S_ISGID are in it.
            facts |= _made(os.fstat(call.extra["opened"]))
    elif call.family in ("mkdir", "mknod", "symlink") and call.path is not None:
        found = _lstat(call.path)
        if found is not None:
            facts |= _made(found)


def _made(found: os.stat_result) -> Facts:
    return {
        "inode": (found.st_dev, found.st_ino),
        "directory": stat.S_ISDIR(found.st_mode),
        "made_mode": stat.S_IMODE(found.st_mode),
    }


def _empties(call: Call, facts: Facts) -> bool:
    return facts.get("truncated", False) or (call.family == "truncate" and facts.get("length") == 0)


def _is_unnamed(call: Call) -> bool:
    unnamed: int = os.O_TMPFILE
    return call.flags & unnamed == unnamed
