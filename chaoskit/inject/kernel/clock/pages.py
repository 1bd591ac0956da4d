"""The pages that the workload's processes read clocks from: patched once, then updated."""

from __future__ import annotations

import contextlib

from chaoskit.inject.kernel.clock import vdso
from chaoskit.inject.kernel.clock.dial import Dial
from chaoskit.inject.kernel.log import Log
from chaoskit.inject.kernel.workload import tree
from chaoskit.inject.kernel.workload.memory import Unreadable
from chaoskit.inject.kernel.workload.tree import Process, Tree


class Pages:
    """The clock pages of all processes of one run. Without ``patch`` reads of clocks are unseen."""

    def __init__(self, patch: vdso.Patch, dial: Dial, workload: Tree, log: Log) -> None:
        self._patch = patch
        self._dial = dial
        self._tree = workload
        self._log = log
        # The object is the key, since each executed program gets a new one.
        self._bases: dict[int, int] = {}

    def prepare(self, process: Process) -> None:
        """Let a process that has just started, or executed a program, read the workload's clocks."""
        offset, code = self._patch.writes[0]
        try:
            base = vdso.base(process.pid)
            if base is None:
                return
            self._bases[process.pid] = base
            if process.memory.read(base + offset, 16) == code[:16]:
                return  # A fork inherits its parent's page.
            done = all(process.memory.overwrite(base + at, data) for at, data in self._patch.writes)
        except Unreadable:
            done = False
        if not done:
            self._bases.pop(process.pid, None)
            name = tree.comm(process.pid)
            self._log.caveat("clock-not-seen", name, f"{name} reads the real clocks: it cannot be written to")
            return
        self._tell(process, self._dial.table())

    def publish(self, pids: set[int]) -> None:
        """Write the time into the pages of these processes."""
        table = self._dial.table()
        if self._patch.table is None or not table:
            return
        for pid in pids:
            # It may have ended, or may not be inspected.
            with contextlib.suppress(Unreadable):
                task = self._tree.task(pid)
                if task is not None:
                    if pid not in self._bases:
                        self.prepare(task.process)
                    self._tell(task.process, table)

    def _tell(self, process: Process, table: bytes) -> None:
        if self._patch.table is None or not table:
            return
        base = self._bases.get(process.pid)
        if base is None:
            base = self._bases[process.pid] = vdso.base(process.pid) or 0
        if base:
            process.memory.overwrite(base + self._patch.table, table)
