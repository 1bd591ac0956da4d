"""Count the calls before the one that is struck, as cheaply as possible.

A strike at the thousandth write lets 999 writes pass, and their cost is most of the case. So one look at the
descriptor decides whether a call counts, and nothing else is decoded.
"""

from __future__ import annotations

import os
from functools import cache

from chaoskit.core.operation import ROOT
from chaoskit.faults.calls import FAMILIES
from chaoskit.inject.armed import Armed
from chaoskit.inject.kernel.files.table import SPECS
from chaoskit.inject.kernel.seccomp import abi
from chaoskit.inject.kernel.seccomp.bpf import CONTROL
from chaoskit.inject.kernel.workload.paths import DELETED
from chaoskit.inject.kernel.workload.tree import Process


class Counting:
    """Counts what the first thread of ``main`` does before ``armed`` is due."""

    __slots__ = ("_arch", "_armed", "_descriptors", "_numbers", "_path", "_pid")

    def __init__(self, armed: Armed, path: str, main: Process) -> None:
        machine = abi.machine()
        self._armed = armed
        self._path = path
        self._pid = main.pid
        self._descriptors = main.descriptors
        self._numbers = _numbers(armed.family, machine)
        self._arch = abi.AUDIT_ARCH[machine]

    @classmethod
    def of(cls, armed: Armed, root: str, main: Process) -> Counting | None:
        """The counter for a strike at that thread; None if names must be examined closely."""
        row = FAMILIES.get(armed.family)
        if row is None or not row.plain or armed.name is None or armed.name.endswith(DELETED):
            return None  # A file that lost its name has a link that looks like this name.
        return cls(armed, root if armed.name == ROOT else f"{root}/{armed.name}", main)

    def goes_by(self, tid: int, number: int, arch: int, first: int) -> bool:
        """Count the call and return True if it may go on unexamined; ``first`` is its descriptor."""
        if number not in self._numbers or arch != self._arch:
            return False
        # Other threads and processes belong to other places, and are not counted here.
        if tid != self._pid:
            return first != CONTROL
        try:
            link = os.readlink(str(first), dir_fd=self._descriptors)
        except OSError:
            return False
        armed = self._armed
        if link == self._path:
            if armed.seen + 1 >= armed.ordinal:
                return False
            armed.seen += 1
            return True
        # Its name may be followed by " (deleted)": then it must be examined closely.
        return not link.startswith(self._path)


@cache
def _numbers(family: str, machine: str) -> frozenset[int]:
    numbers = {spec.number(machine) for spec in SPECS if spec.family == family and spec.fd == 0}
    return frozenset(number for number in numbers if number is not None)
