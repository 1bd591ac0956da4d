"""End a workload that has hung, as well as a process can end one of its threads."""

from __future__ import annotations

import ctypes
import sys
import threading
import traceback

from chaoskit.inject.inprocess.death import WorkloadStopped
from chaoskit.inject.inprocess.run import WatchedRun


class Limit:
    """While the block lasts, the workload in this thread is stopped after ``seconds``.

    It is stopped at its next line of Python. A call that waits in C, such as ``Lock.acquire``, has none: then
    the watchdog of the whole case ends the process, if there is one.
    """

    def __init__(self, run: WatchedRun, seconds: float) -> None:
        self.stacks = ""
        self._run = run
        self._thread = threading.get_ident()
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._wait, args=(seconds,), name="chaoskit-limit", daemon=True)
        self._lock = threading.Lock()

    def __enter__(self) -> Limit:
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._watch.join()

    def _wait(self, seconds: float) -> None:
        if self._over.wait(seconds):
            return
        frame = sys._current_frames().get(self._thread)
        self.stacks = "" if frame is None else "".join(traceback.format_stack(frame))
        # Ends a sleep, and makes every intercepted call raise. Mostly that is enough, and nothing is forced.
        self._run.stopped.set()
        if not self._over.wait(0.1):
            # The C interface is the only way to raise something in another thread.
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(self._thread), ctypes.py_object(WorkloadStopped)
            )
