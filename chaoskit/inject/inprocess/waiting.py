"""``time.sleep``: a workload that has hung can be woken from it, and a machine suspended during it."""

from __future__ import annotations

import os
import sys
import sysconfig
from types import FrameType
from typing import Any

from chaoskit.core.operation import Detail, TimeDetail
from chaoskit.inject.inprocess.call import PythonCall
from chaoskit.inject.inprocess.files import Args, Original, Words
from chaoskit.inject.inprocess.run import WatchedRun

_NOT_THE_PROGRAMS = (os.path.dirname(__file__) + os.sep, sysconfig.get_paths()["stdlib"] + os.sep)


def sleeping(run: WatchedRun, original: Original, args: Args, words: Words) -> PythonCall | None:
    """A call of ``time.sleep``, which ends early when the run is stopped; an operation if sleeps are."""
    seconds: Any = args[0] if args else None
    # The original says what is wrong with an argument, such as a negative number.
    if len(args) != 1 or words or not isinstance(seconds, int | float) or not seconds >= 0:
        return None
    if not run.sees_waits:
        return PythonCall("", "", "sleep", lambda: _wait(run, seconds), Detail)
    detail = TimeDetail(int(seconds * 10**9))
    site = _site()
    return PythonCall(
        "sleep", site, "clock_nanosleep", lambda: _wait(run, seconds), lambda: detail, lasts=True
    )


def _site() -> str:
    """File and function of the innermost frame outside chaoskit and Python's library."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_NOT_THE_PROGRAMS):
        frame = frame.f_back
    if frame is None:
        return "*"
    code = frame.f_code
    return f"{os.path.basename(code.co_filename)},{code.co_qualname.rpartition('.')[2]}"


def _wait(run: WatchedRun, seconds: float) -> None:
    run.stopped.wait(seconds)
    run.refuse_if_dead()
