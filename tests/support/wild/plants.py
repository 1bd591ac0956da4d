"""Defects that the harness had, put back: each must be found as a difference.

A plant undoes one mend in this process. Beside it stands the shortest program that shows it; drawn programs
show it too, only later.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from chaoskit.inject.kernel import promises, supervisor, watching
from chaoskit.inject.kernel.border import CannotExecute
from chaoskit.inject.kernel.files import calls, execute, extents, record, translate
from chaoskit.inject.kernel.seccomp import bpf
from chaoskit.inject.kernel.workload.memory import Memory
from chaoskit.inject.kernel.workload.tree import Tree


@dataclass(frozen=True)
class Plant:
    """A defect, how it is put back, and a program that shows it."""

    put_back: Callable[[], None]
    program: str
    root: bool = False
    """True if only root can show it."""
    disk: bool = False
    """True if it is seen only on a file system on a disk."""


def _nothing(*_: Any, **__: Any) -> None:
    """Stand in the place of a check."""


def _set(place: Any, name: str, value: Any) -> Callable[[], None]:
    return lambda: setattr(place, name, value)


def _both(first: Callable[[], None], second: Callable[[], None]) -> Callable[[], None]:
    def put_back() -> None:
        first()
        second()

    return put_back


def _every_error_ends_the_run() -> None:
    for module in (record, supervisor):
        module.UNFAITHFUL = (CannotExecute,)


def _lengths_are_believed() -> None:
    _every_error_ends_the_run()
    execute._MOST = 1 << 62
    Memory.data = Memory.read  # type: ignore[method-assign]


def _modes_are_not_cut() -> None:
    _every_error_ends_the_run()
    decode = calls.FileDecoder.decode

    def whole(self: Any, spec: Any, task: Any, args: tuple[int, ...]) -> Any:
        call = decode(self, spec, task, args)
        if call is not None and spec.mode is not None:
            call.mode = args[spec.mode]
        return call

    calls.FileDecoder.decode = whole  # type: ignore[method-assign]


def _rights_do_not_matter_for_marks() -> None:
    translate.MARKS = 0
    # Root without CAP_SYS_RESOURCE may not ask, and would leave the call to the kernel for that.
    translate.limit_of = lambda *_: -1


def _tables_are_one() -> None:
    watching._SPECIAL = {**watching._SPECIAL, "unshare": _nothing}


def _memory_is_aligned() -> None:
    aligned = execute._aligned
    execute._aligned = lambda data, shift: aligned(data, 0)


def _counted(call: Any) -> bool:
    import resource

    return len(os.listdir(f"/proc/{call.task.tid}/fd")) >= translate.limit_of(call, resource.RLIMIT_NOFILE)


def _stray_messages_are_read() -> None:
    take = promises.Promises.take

    def unguarded(self: Any, tid: int, args: tuple[int, ...], *others: Any) -> None:
        if args[2] and self.secret not in self._tree.task(tid).process.memory.read(args[1], 16):
            raise EOFError("no message")
        take(self, tid, args, *others)

    promises.Promises.take = unguarded  # type: ignore[method-assign]


def _every_write_is_a_message() -> None:
    called = supervisor.CallSupervisor._called

    def told(self: Any, call: Any, stopped: Any) -> None:
        if call.args[0] == bpf.CONTROL and self._calls[call.number][0][1].family == "write":
            self.promises.take(call.tid, call.args, stopped, self._holds_more)
        else:
            called(self, call, stopped)

    supervisor.CallSupervisor._called = told  # type: ignore[method-assign]


def _what_is_copied_stays_open() -> None:
    start = execute.source_position

    def opened_before(call: Any, fd: int) -> int:
        source = extents.opened(f"/proc/self/fd/{fd}")
        found = start(call, fd)
        os.close(source)
        return found

    execute.source_position = opened_before


_CREATE, _READ_WRITE = 0o100 | 1, 2
PLANTS = {
    "magic links are followed": Plant(
        _set(translate, "_without_magic", _nothing),
        '[[0, "symlink", [["p", "/proc/self/cwd"], ["p", "k"]]],'
        ' [0, "rename", [["p", "k/a"], ["p", "stolen"]]]]',
    ),
    "the number of a process is a name": Plant(
        _set(translate, "_proc", lambda: -1),
        '[[0, "link", [["p", "b"], ["p", "fds/4"]]]]',
    ),
    "Landlock is escaped": Plant(
        _set(Tree, "confine", _nothing),
        '[[0, "landlock_create_ruleset", [["hex", "8001000000000000"], 8, 0]],'
        ' [0, "landlock_restrict_self", [["last"], 0]], [0, "mkdir", [["p", "made"], 448]]]',
    ),
    "set-id bits stay": Plant(
        _rights_do_not_matter_for_marks,
        '[[0, "open", [["p", "gid"], 2, 0]], [0, "fchmod", [["fd", 0], 3565]],'
        ' [0, "setresuid", [-1, 1000, -1]], [0, "write", [["fd", 0], ["d", 5], 5]]]',
        root=True,
    ),
    "one table of descriptors": Plant(
        _tables_are_one,
        f'[[0, "creat", [["p", "for a"], 420]], [0, "thread", []], [1, "unshare", [1024]],'
        f' [1, "close", [["fd", 0]]], [1, "open", [["p", "for b"], {_CREATE}, 420]],'
        ' [1, "write", [["fd", 1], ["d", 5], 5]], [0, "write", [["fd", 0], ["d", 9], 9]]]',
    ),
    "modes of 64 bits": Plant(_modes_are_not_cut, '[[0, "open", [["p", "a"], 0, 18446744073709551615]]]'),
    "any length is believed": Plant(
        _lengths_are_believed,
        f'[[0, "open", [["p", "a"], {_READ_WRITE}, 0]],'
        ' [0, "writev", [["fd", 0], ["v1", 1099511627776], 1]]]',
    ),
    "errors end the run": Plant(
        _every_error_ends_the_run,
        '[[0, "open", [["p", "a"], 2097152, 0]], [0, "write", [["fd", 0], ["d", 5], 5]]]',
    ),
    "stray messages": Plant(_stray_messages_are_read, '[[0, "write", [2147483647, ["d", 100], 100]]]'),
    "any write is a message": Plant(
        _every_write_is_a_message, '[[0, "pwrite64", [2147483647, ["d", 100], 100, -1]]]'
    ),
    "a source stays open": Plant(
        _what_is_copied_stays_open,
        '[[0, "openat", [-100, ["p", "gid"], 2097216, 1517]],'
        ' [0, "sendfile", [["fd", 0], ["fd", 0], 0, 4294967295]]]',
    ),
    "openat2 is open": Plant(
        _set(calls, "_is_plain", lambda *_: True),
        '[[0, "openat2", [-100, ["p", "a"], ["how", 0, 384, 0, ""], 24]],'
        ' [0, "openat2", [-100, ["p", "a"], ["how", 0, 0, 0, ""], 16]]]',
    ),
    "a name that cannot be read is none": Plant(
        _set(calls, "_is_null", lambda *_: True),
        '[[0, "open", [["p", "a"], 2, 0]],'
        ' [0, "utimensat", [["fd", 0], 8, ["hex", "00000000000000000000000000000000"], 256]]]',
    ),
    "a link too many": Plant(
        _set(execute, "_no_more_links", _nothing),
        '[[0, "renameat", [-100, ["p", "deep40/a"], -100, ["p", "$/d/b"]]]]',
    ),
    "memory that cannot be read": Plant(
        _set(Memory, "data", Memory.read),
        '[[0, "creat", [["p", "new"], 420]], [0, "write", [["fd", 0], ["cut", 10], 4096]]]',
    ),
    "times of access": Plant(
        _set(extents, "_NO_ATIME", 0), '[[0, "link", [["p", "../out/x"], ["p", "linked"]]]]'
    ),
    "descriptors are counted": Plant(
        _set(execute, "_has_no_descriptor_left", _counted),
        '[[0, "prlimit64", [0, 7, ["hex", "07000000000000000001000000000000"], 0]],'
        ' [0, "open", [["p", "a"], 2, 0]]]',
    ),
    "appending whatever is asked": Plant(
        _set(execute, "_RWF_NOAPPEND", 0),
        '[[0, "open", [["p", "a"], 1026, 0]], [0, "pwritev2", [["fd", 0], ["v", [["d", 5]]], 1, 0, 0, 32]]]',
    ),
    "aligned memory for O_DIRECT": Plant(
        _memory_is_aligned,
        '[[0, "openat", [-100, ["p", "a"], 16450, 420]], [0, "write", [["fd", 0], ["d", 9000], 9000]]]',
        disk=True,
    ),
    "an end beyond all offsets": Plant(
        _set(execute, "_LAST", 1 << 64),
        '[[0, "open", [["p", "a"], 1026, 0]],'
        ' [0, "pwrite64", [["fd", 0], ["d", 5], 5, 9223372036854775807]]]',
    ),
    "vectors of any length": Plant(
        # A list of that length is mostly refused as one that cannot be read, too.
        _both(_set(execute, "_sound", _nothing), _set(execute, "_whole_vector", execute._vector)),
        f'[[0, "open", [["p", "a"], {_READ_WRITE}, 0]],'
        ' [0, "pwritev", [["fd", 0], ["v", [["d", 5]]], 4095, 0, 0]]]',
    ),
}
"""By what was wrong."""
