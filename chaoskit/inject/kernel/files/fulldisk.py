"""A disk that fills up: from a strike on, until the run is over, only a given number of bytes is free."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from chaoskit.core.operation import Operation
from chaoskit.faults.calls import FAMILIES
from chaoskit.faults.disks import MAKES_NO_ROOM
from chaoskit.inject.kernel.border import Answer, CannotExecute
from chaoskit.inject.kernel.files import execute
from chaoskit.inject.kernel.files.calls import FileCall, makes_file
from chaoskit.inject.kernel.log import Call

FULL_FAMILIES = frozenset(name for name, row in FAMILIES.items() if row.room)
"""The families that a full disk answers, or that free room."""


@dataclass(slots=True)
class FullDisk:
    """``left`` bytes are free. Growth takes from them; removing and cutting files frees some."""

    left: int
    families: ClassVar[frozenset[str]] = FULL_FAMILIES

    def answer(self, call: Call, as_operation: Callable[[], Operation]) -> Answer:
        """What becomes of ``call``, of one of :attr:`families`."""
        # Only calls of these families get here, and all of them are on files.
        assert isinstance(call, FileCall)
        if call.row.room == "data":
            return self._grow(call, as_operation()) if call.row.transfers else self._reserve(as_operation())
        creates = not call.row.opens or (makes_file(call) and not os.path.exists(call.path or ""))
        if call.row.room == "name" and creates and self.left <= 0:
            return -errno.ENOSPC, "the disk is full"
        self._give_back(call)
        return None, ""

    def _grow(self, call: FileCall, operation: Operation) -> Answer:
        detail = operation.file
        length = _wanted(call, detail.length or 0)
        size, offset = detail.size_before or 0, detail.offset or 0
        # A splice's position and length are unknown beforehand. Overwriting takes no room.
        growth = length if call.row.unseen else max(0, offset + length - max(size, offset))
        if growth <= self.left:
            self.left -= growth
            return None, ""
        fits = length - growth + self.left
        # The part that still fitted has taken whatever was left.
        self.left = 0
        if fits <= 0 or not call.row.partial:
            return -errno.ENOSPC, "the disk is full"
        try:
            return execute.transfer(call, fits), f"{fits} of {length} bytes fitted on the disk"
        except CannotExecute:
            return -errno.ENOSPC, "the disk is full"

    def _reserve(self, operation: Operation) -> Answer:
        detail = operation.file
        growth = max(0, (detail.offset or 0) + (detail.length or 0) - (detail.size_before or 0))
        if (detail.mode or 0) & MAKES_NO_ROOM:
            return None, ""
        if growth > self.left:
            return -errno.ENOSPC, "the disk is full"
        self.left -= growth
        return None, ""

    def _give_back(self, call: FileCall) -> None:
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
            # There is no such file, so the call will fail or create one: it frees nothing.
            pass


def _wanted(call: FileCall, recorded: int) -> int:
    """How many bytes a call needs room for. A copy may ask for more than its source has."""
    if not call.row.partial:
        return recorded
    try:
        return execute.would_transfer(call)
    except CannotExecute:
        return recorded


def _only_link(facts: os.stat_result) -> int:
    """The bytes freed with a name."""
    # With another name left the content stays.
    return facts.st_size if facts.st_nlink == 1 and stat.S_ISREG(facts.st_mode) else 0
