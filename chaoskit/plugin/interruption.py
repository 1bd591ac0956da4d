"""The text about a scenario that is stopped in the middle, and SIGTERM as a way to stop it like Ctrl-C."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType

import pytest

from chaoskit.core.result import ScenarioResult
from chaoskit.plugin import left
from chaoskit.plugin.names import RESULT
from chaoskit.report.explain import Extent, violation_text

_SIGNALS = (signal.SIGTERM, signal.SIGHUP) if sys.platform != "win32" else (signal.SIGTERM,)
"""SIGTERM ends a job at its time limit; SIGHUP comes when a terminal is closed."""

_armed: list[int] | None = None
"""The signals for which this process has set :func:`_end`; None if it is not armed."""
_ended_by = 0


class Terminated(KeyboardInterrupt):
    """A signal ends the run: everything is reported as after Ctrl-C."""


def arm() -> None:
    """Let SIGTERM and SIGHUP end the run as Ctrl-C does from now on, unless they have other handlers."""
    global _armed
    # Python lets only the main thread set handlers, though signal(2) has no such rule.
    if _armed is not None or threading.current_thread() is not threading.main_thread():
        return
    _armed = []
    for number in _SIGNALS:
        # An ignored signal stays ignored (nohup), and a user's own handler stays.
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _end)
            _armed.append(number)


def disarm() -> int:
    """Restore the previous handlers; return the number of the signal that ended the run, or 0."""
    global _ended_by
    _put_back()
    ended_by, _ended_by = _ended_by, 0
    return ended_by


def _put_back() -> None:
    global _armed
    for number in _armed or ():
        if signal.getsignal(number) is _end:
            signal.signal(number, signal.SIG_DFL)
    _armed = None


def _end(number: int, frame: FrameType | None) -> None:
    global _ended_by
    _ended_by = number
    # Only once: a further signal, while the report is written, ends the process at once.
    for one in _SIGNALS:
        if signal.getsignal(one) is _end:
            signal.signal(one, signal.SIG_DFL)
    raise Terminated(f"ended by {signal.Signals(number).name}")


# A workload must find the signals as it would without chaoskit, and workers still die of them.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_put_back)


def so_far_text(result: ScenarioResult, detail: Extent) -> str:
    """The text about a scenario that was stopped before all of its cases were over."""
    done = f"{len(result.cases):,} of {result.budget.possible:,} possible cases were over"
    if not result.findings:
        return f"interrupted: {done}, without a finding"
    return f"interrupted: {done}. What they have shown:\n{violation_text(result, detail)}"


def report_so_far(item: pytest.Item, result: ScenarioResult, text: str) -> None:
    """Report a test that an interrupt stopped: pytest itself does not."""
    path, line, _ = item.location
    failed = bool(result.findings)
    report = pytest.TestReport(
        item.nodeid,
        item.location,
        dict.fromkeys(item.keywords, 1),
        "failed" if failed else "skipped",
        text if failed else (path, (line or 0) + 1, f"Skipped: {text}"),
        "call",
    )
    setattr(report, RESULT, result.to_dict())
    left.leave(item.config, report)
    item.ihook.pytest_runtest_logreport(report=report)
