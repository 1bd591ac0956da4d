"""Look-ups below the scenario's directory: calls that query a name and change nothing.

The kernel carries them out, since the answer goes into the caller's memory. We learn the answer by asking the
same question just before. Only other threads and processes could change it in between, as with every read.
"""

from __future__ import annotations

import ctypes
import errno
import os
from dataclasses import dataclass
from typing import ClassVar

from chaoskit.core.operation import LookupDetail
from chaoskit.faults.errnos import calls_that_keep_failing
from chaoskit.faults.shapes import Errno, Shape
from chaoskit.inject.kernel.border import Around, AtOnce, CannotExecute, FaultEffect
from chaoskit.inject.kernel.listener import Stopped
from chaoskit.inject.kernel.seccomp import abi
from chaoskit.inject.kernel.seccomp.syscalls import Condition, Spec
from chaoskit.inject.kernel.standing import failing
from chaoskit.inject.kernel.workload import paths, rights
from chaoskit.inject.kernel.workload.tree import Task, status

_PATH_MAX = 4096
"""The longest name, in bytes with its final NUL, that the kernel accepts (limits.h)."""
_ANSWER = 4096
"""Room for an answer in bytes: ``struct stat`` has 144, ``struct statx`` 256, a link at most this."""


@dataclass(frozen=True, slots=True)
class LookupSpec(Spec):
    """The meaning of a look-up's arguments; every field added here except ``follow`` is an index.

    ``path`` is looked up from the descriptor ``base`` (None: the working directory); without ``path`` the
    call asks for the working directory itself. The answer goes to ``buffer``, of ``size`` bytes where that is
    given. ``mode`` is what ``access`` asks for. If ``follow``, a symbolic link as the last part of the name
    is followed unless ``flags`` say otherwise.
    """

    path: int | None = 0
    base: int | None = None
    flags: int | None = None
    mode: int | None = None
    buffer: int | None = None
    size: int | None = None
    follow: bool = False


def _of_a_name(flags: int) -> tuple[Condition, ...]:
    """Only calls without ``AT_EMPTY_PATH``: glibc implements ``fstat`` by those with it.

    Python calls ``fstat`` on every file that it opens. To stop those would cost more than all look-ups
    together, and they look nothing up.
    """
    return ((flags, "clear", (abi.AT_EMPTY_PATH,)),)


SPECS: tuple[LookupSpec, ...] = (
    LookupSpec("stat", "stat", 4, None, buffer=1, follow=True),
    LookupSpec("lstat", "stat", 6, None, buffer=1),
    LookupSpec("newfstatat", "stat", 262, 79, _of_a_name(3), base=0, path=1, buffer=2, flags=3, follow=True),
    LookupSpec("statx", "stat", 332, 291, _of_a_name(2), base=0, path=1, flags=2, buffer=4, follow=True),
    LookupSpec("access", "access", 21, None, mode=1, follow=True),
    LookupSpec("faccessat", "access", 269, 48, base=0, path=1, mode=2, follow=True),
    LookupSpec("faccessat2", "access", 439, 439, _of_a_name(3), base=0, path=1, mode=2, flags=3, follow=True),
    LookupSpec("readlink", "readlink", 89, None, buffer=1, size=2),
    LookupSpec("readlinkat", "readlink", 267, 78, base=0, path=1, buffer=2, size=3),
    LookupSpec("getcwd", "getcwd", 79, 17, path=None, buffer=0, size=1),
)
"""All look-ups with their numbers; see stat(2), statx(2), access(2), readlink(2), getcwd(2)."""


@dataclass(slots=True)
class Lookup:
    """A notified look-up of a name below the root; ``path`` is how this process reaches it."""

    spec: LookupSpec
    task: Task
    args: tuple[int, ...]
    target: str
    path: str
    follow: bool
    second: None = None

    @property
    def family(self) -> str:
        """``stat``, ``access``, ``readlink`` or ``getcwd``."""
        return self.spec.family


class Lookups(AtOnce):
    """The domain of look-ups below one root; see :class:`chaoskit.inject.kernel.border.Domain`."""

    specs: ClassVar[tuple[Spec, ...]] = SPECS

    def __init__(self, around: Around) -> None:
        self._root = around.root
        self._log = around.log

    @staticmethod
    def lasting(shape: Shape) -> frozenset[str]:
        """The families whose later calls a fault of this shape may answer."""
        lasts = isinstance(shape, Errno) and shape.lasting
        return calls_that_keep_failing(shape.name) if isinstance(shape, Errno) and lasts else frozenset()

    def decode(self, spec: Spec, task: Task, args: tuple[int, ...]) -> Lookup | None:
        """Understand a call; None if it has no name, or the name leads elsewhere."""
        assert isinstance(spec, LookupSpec)
        if spec.path is None:
            return self._of_the_place(spec, task, args)
        raw = task.process.memory.string(args[spec.path])
        # An empty name fails with ENOENT or means the descriptor: either way it names no file.
        if not raw:
            return None
        base = None if spec.base is None else abi.signed(args[spec.base])
        # Older calls have no flags: whether they follow links depends on the call.
        flags = 0 if spec.flags is None else args[spec.flags]
        follow = spec.follow and not flags & abi.AT_SYMLINK_NOFOLLOW
        path = paths.as_seen(task.tid, None if base == abi.AT_FDCWD else base, os.fsdecode(raw))
        target = paths.below(self._root, paths.resolve(path, follow))
        return None if target is None else Lookup(spec, task, args, target, path, follow)

    def _of_the_place(self, spec: LookupSpec, task: Task, args: tuple[int, ...]) -> Lookup | None:
        """Understand a call that asks for the working directory; None if that is elsewhere."""
        path = f"/proc/{task.tid}/cwd"
        try:
            where = paths.without_mark(os.readlink(path), path)
        except OSError:
            return None
        target = paths.below(self._root, where)
        return None if target is None else Lookup(spec, task, args, target, path, follow=True)

    def describe(self, call: Lookup, whole: bool) -> LookupDetail:
        """The operation; a look-up has no data to add."""
        mode = None if call.spec.mode is None else call.args[call.spec.mode] & 0xFFFFFFFF
        return LookupDetail(follow=call.follow, mode=mode)

    def perform(self, call: Lookup, stopped: Stopped) -> None:
        """Record the look-up with the expected result, and let the kernel answer."""
        self._log.record(call, _expected(call), self.describe(call, whole=False))
        stopped.go_on()

    def effect(self, shape: Shape, call: Lookup) -> FaultEffect:
        """An errno, once or lasting.

        Raises:
            CannotExecute: for every other fault, since a look-up transfers nothing and has no effect.
        """
        if isinstance(shape, Errno):
            return failing(shape, call)
        raise CannotExecute("a look-up can only fail")


def _expected(call: Lookup) -> int | None:
    """The kernel's answer to the same question; None if it might answer us differently."""
    name = os.fsencode(call.path)
    # Prefixed with the caller's directory a name may be too long for us but not for the caller.
    if len(name) >= _PATH_MAX or rights.difference(call.task.tid, status(call.task.tid)):
        return None
    spec, number = call.spec, call.spec.number(abi.machine())
    assert number is not None
    if spec.path is None:
        return _expected_place(call)
    given: list[int | ctypes.Array[ctypes.c_char]] = list(call.args)
    given[spec.path] = ctypes.create_string_buffer(name)
    if spec.base is not None:
        given[spec.base] = abi.AT_FDCWD
    if spec.buffer is not None and given[spec.buffer]:
        # The answer goes to our own memory; the caller gets its own from the kernel.
        given[spec.buffer] = ctypes.create_string_buffer(_ANSWER)
    if spec.size is not None:
        given[spec.size] = min(call.args[spec.size], _ANSWER)
    result = abi.libc().syscall(number, *given)
    # The path to the caller's directory adds one link to those of the caller's name.
    return None if result == -errno.ELOOP else result


def _expected_place(call: Lookup) -> int | None:
    """The length of the working directory's name with its final NUL, as ``getcwd`` returns it."""
    assert call.spec.size is not None
    try:
        name = os.readlink(call.path)
    except OSError:
        return None
    # The kernel marks a removed directory, and getcwd fails there (getcwd(2)).
    if paths.without_mark(name, call.path) != name:
        return -errno.ENOENT
    length = len(os.fsencode(name)) + 1
    return length if length <= call.args[call.spec.size] else -errno.ERANGE
