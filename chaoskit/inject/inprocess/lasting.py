"""Conditions that last from a strike until the run is over: an error that stays, a disk that fills up."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

from chaoskit.core.operation import Operation
from chaoskit.faults.calls import FAMILIES
from chaoskit.faults.errnos import OF_ONE_FILE, calls_that_keep_failing, keeps_failing
from chaoskit.faults.shapes import Errno
from chaoskit.inject.inprocess.call import PythonCall


class LastingCondition(Protocol):
    """A condition that affects later calls."""

    def meet(self, call: PythonCall, operation: Operation) -> tuple[bool, Any]:
        """Return True and a result if it answers the call; False if the call may go on.

        Raises:
            OSError: if that is the answer.
        """


@dataclass(frozen=True, slots=True)
class LastingError:
    """Every later call that can fail with ``error`` does."""

    error: Errno
    target: str

    def meet(self, call: PythonCall, operation: Operation) -> tuple[bool, Any]:
        name = self.error.name
        if call.family not in calls_that_keep_failing(name):
            return False, None
        if name in OF_ONE_FILE and self.target not in (call.target, call.second):
            return False, None
        if keeps_failing(operation, name):
            raise call.error(self.error.number, os.strerror(self.error.number))
        return False, None


@dataclass(slots=True)
class FillingDisk:
    """``left`` bytes are free. Growth takes from them; removing and cutting files frees some.

    ``prove`` is called once, when a call first finds too few left.
    """

    left: int
    prove: Callable[[str, int | None], None]
    proven: bool = False

    def meet(self, call: PythonCall, operation: Operation) -> tuple[bool, Any]:
        row, detail = FAMILIES[call.family], operation.file
        if row.room == "data":
            return self._grow(call, operation)
        made = not row.opens or (bool(detail.flags & os.O_CREAT) and detail.inode is None)
        if row.room == "name" and made and self.left <= 0:
            self._refuse(call)
        size = detail.size_before or 0
        if call.family == "unlink" and detail.links == 1:
            self.left += size
        elif call.family == "truncate":
            self.left += max(0, size - (detail.length or 0))
        elif row.opens and detail.flags & os.O_TRUNC:
            self.left += size
        return False, None

    def _grow(self, call: PythonCall, operation: Operation) -> tuple[bool, Any]:
        detail = operation.file
        length, size, offset = detail.length or 0, detail.size_before or 0, detail.offset or 0
        growth = max(0, offset + length - max(size, offset))
        if growth <= self.left:
            self.left -= growth
            return False, None
        fits = length - growth + self.left
        # The part that still fits takes whatever was left.
        self.left = 0
        if fits <= 0 or call.part is None:
            self._refuse(call)
        value = call.part(fits) if call.part is not None else None
        self._proof(f"{fits} of {length} bytes fitted on the disk", call.result(value))
        return True, value

    def _refuse(self, call: PythonCall) -> NoReturn:
        self._proof("the disk is full", -errno.ENOSPC)
        raise call.error(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _proof(self, text: str, result: int) -> None:
        if not self.proven:
            self.proven = True
            self.prove(text, result)
