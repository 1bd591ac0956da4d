"""Calls that end the workload's own process, and would end the test with it."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from functools import partial
from typing import NoReturn

from chaoskit.core.operation import Detail
from chaoskit.inject.inprocess.call import PythonCall
from chaoskit.inject.inprocess.death import ProcessKilled
from chaoskit.inject.inprocess.effects import survives
from chaoskit.inject.inprocess.files import Args, Original, Words
from chaoskit.inject.inprocess.run import WatchedRun
from chaoskit.inject.inprocess.wrapping import Understand


def killing(run: WatchedRun, original: Original, args: Args, words: Words) -> PythonCall | None:
    """A call of ``os.kill`` that would end this process."""
    if len(args) == 2 and args[0] == os.getpid() and not survives(args[1]):
        return PythonCall("", "", "kill", partial(run.die, int(args[1])), Detail)
    return None


def aborting(run: WatchedRun, original: Original, args: Args, words: Words) -> PythonCall | None:
    """A call of ``os.abort``."""
    return PythonCall("", "", "abort", partial(run.die, int(signal.SIGABRT)), Detail)


def leaving(run: WatchedRun, original: Original, args: Args, words: Words) -> PythonCall | None:
    """A call of ``os._exit``."""
    status = args[0] if args else words.get("status", 0)

    def leave() -> NoReturn:
        run.exited = int(status)
        raise ProcessKilled(f"ended with status {status}")

    return PythonCall("", "", "_exit", leave, Detail)


TABLE: Mapping[str, Understand] = {"kill": killing, "abort": aborting, "_exit": leaving}
"""What a call of each function is, by its name in ``os``."""
