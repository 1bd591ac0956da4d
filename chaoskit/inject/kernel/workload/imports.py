"""What a workload imports, and how long that takes: every case pays for it again, as it is a new process.

Looked at in recordings only, since the function that Python calls for an ``import`` is replaced for it.
"""

from __future__ import annotations

import builtins
import os
import sys
import time
from typing import Any

WORTH_SAYING = 0.1
"""Seconds of an import below which a sweep is hardly longer for it."""


class Imports:
    """Adds up, by the line that asked, the seconds of processor time that imports take.

    Time of the processor, and not of a clock: that may be the workload's own, which faults set.
    """

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._under_way = False

    def listen(self) -> None:
        """Measure all imports of this process from now on."""
        usual: Any = builtins.__import__

        def measured(name: str, *rest: Any, **more: Any) -> Any:
            # What an import imports is a part of it. And most imports find what is there.
            if self._under_way or name in sys.modules:
                return usual(name, *rest, **more)
            asked, began = sys._getframe(1), time.thread_time()
            self._under_way = True
            try:
                return usual(name, *rest, **more)
            finally:
                self._under_way = False
                file = os.path.basename(asked.f_code.co_filename)
                text = f"{file}:{asked.f_lineno} (import {name.partition('.')[0]})"
                self._seconds[text] = self._seconds.get(text, 0.0) + time.thread_time() - began

        builtins.__import__ = measured

    def slow(self) -> list[str]:
        """The lines that are worth moving, with what they cost each case."""
        return [f"{line}: {took:.1f} s" for line, took in self._seconds.items() if took >= WORTH_SAYING]
