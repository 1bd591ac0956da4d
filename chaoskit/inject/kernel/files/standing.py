"""Conditions that last from a strike until the run is over: a full disk, an error that stays."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

from chaoskit.core.operation import Operation
from chaoskit.faults.errnos import calls_that_keep_failing, keeps_failing
from chaoskit.inject.kernel.files import execute
from chaoskit.inject.kernel.files.calls import Call, makes_file

OF_ONE_FILE = frozenset({"EACCES", "EPERM", "ESTALE", "ENOENT", "EEXIST", "EISDIR", "ENOTDIR", "ETXTBSY"})
"""Errors that stay with a file and not with the disk."""
_MAKES_NO_ROOM = 0x02 | 0x08
"""FALLOC_FL_PUNCH_HOLE, FALLOC_FL_COLLAPSE_RANGE (fallocate(2))."""
_NEEDS_ROOM = frozenset({"mkdir", "mknod", "symlink"})

FULL_FAMILIES = _NEEDS_ROOM | {
    *("write", "copy_file_range", "sendfile", "splice", "fallocate", "open", "unlink", "truncate", "rename")
}
"""The families that a full disk answers, or that give it room again."""

Answer = tuple[int | None, str]
"""What to answer (None: let the kernel do it) and what that was, in words."""


@dataclass(frozen=True, slots=True)
class StandingError:
    """Every later call that can fail in this way does."""

    name: str
    target: str

    @property
    def families(self) -> frozenset[str]:
        """Those of which it may answer a call."""
        return calls_that_keep_failing(self.name)

    def answer(self, call: Call, as_operation: Callable[[Call], Operation]) -> Answer:
        if self.name in OF_ONE_FILE and self.target not in (call.target, call.second):
            return None, ""
        operation = replace(as_operation(call), result=None)
        if not keeps_failing(operation, self.name):
            return None, ""
        return -getattr(errno, self.name), f"still {self.name}"


@dataclass(slots=True)
class FullDisk:
    """``left`` bytes are free. Growth takes from them; removing and cutting files gives back."""

    left: int
    families: ClassVar[frozenset[str]] = FULL_FAMILIES

    def answer(self, call: Call, as_operation: Callable[[Call], Operation]) -> Answer:
        if call.family in ("write", "copy_file_range", "sendfile", "splice"):
            return self._grow(call, as_operation(call))
        if call.family == "fallocate":
            return self._reserve(as_operation(call))
        creates = call.family == "open" and makes_file(call) and not os.path.exists(call.path or "")
        if (creates or call.family in _NEEDS_ROOM) and self.left <= 0:
            return -errno.ENOSPC, "the disk is full"
        self._give_back(call)
        return None, ""

    def _grow(self, call: Call, operation: Operation) -> Answer:
        detail = operation.detail
        length = execute.length_of(call) if call.family == "write" else detail.length or 0
        size, offset = detail.size_before or 0, detail.offset or 0
        # Where a splice puts its data is not known, nor whether it moves all that it may.
        growth = length if call.family == "splice" else max(0, offset + length - max(size, offset))
        if growth <= self.left:
            self.left -= growth
            return None, ""
        fits = length - growth + self.left
        self.left = 0
        if fits <= 0 or call.family != "write":
            return -errno.ENOSPC, "the disk is full"
        return execute.transfer(call, fits), f"{fits} of {length} bytes fitted on the disk"

    def _reserve(self, operation: Operation) -> Answer:
        detail = operation.detail
        growth = max(0, (detail.offset or 0) + (detail.length or 0) - (detail.size_before or 0))
        if (detail.mode or 0) & _MAKES_NO_ROOM:
            return None, ""
        if growth > self.left:
            return -errno.ENOSPC, "the disk is full"
        self.left -= growth
        return None, ""

    def _give_back(self, call: Call) -> None:
        try:
            if call.family == "unlink" and call.path:
                self.left += _only_link(os.lstat(call.path))
            elif call.family == "rename" and call.other_path and not call.flags:
                self.left += _only_link(os.lstat(call.other_path))
            elif call.family == "open" and call.flags & os.O_TRUNC and call.path:
                self.left += os.stat(call.path).st_size
            elif call.family == "truncate" and call.spec.count is not None:
                path = call.path or f"/proc/{call.task.tid}/fd/{call.fd}"
                self.left += max(0, os.stat(path).st_size - call.args[call.spec.count])
        except OSError:
            pass


def _only_link(facts: os.stat_result) -> int:
    """The bytes that go with a name."""
    return facts.st_size if facts.st_nlink == 1 and stat.S_ISREG(facts.st_mode) else 0


Standing = StandingError | FullDisk
