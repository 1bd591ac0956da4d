"""A thread that sleeps holds up no other one."""

from __future__ import annotations

import threading
from pathlib import Path

from chaoskit.core.operation import Detail
from chaoskit.inject.base import Plan, VirtualTime
from chaoskit.inject.inprocess.call import PythonCall
from chaoskit.inject.inprocess.machine import machine
from chaoskit.inject.inprocess.run import WatchedRun

_PATIENCE = 20.0
"""Seconds after which the other thread counts as held up."""


def test_other_threads_go_on_while_one_sleeps(tmp_path: Path) -> None:
    """A thread may wait for what another one does; the sleep stands in the record where it began."""
    run = WatchedRun(Plan(str(tmp_path), record=True, time=VirtualTime(operations=True)), machine())
    done = []

    def writes() -> None:
        done.append(run.make(PythonCall("write", "file", "write", lambda: 3, Detail)))

    def sleeps() -> None:
        other = threading.Thread(target=writes, daemon=True)
        other.start()
        other.join(_PATIENCE)
        assert done == [3]

    run.make(PythonCall("sleep", "test.py,f", "clock_nanosleep", sleeps, Detail, lasts=True))
    assert [(one.call, one.result) for one in run.operations] == [("sleep", 0), ("write", 3)]
