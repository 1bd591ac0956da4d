"""Measures a workload's imports: every case is a new process, and pays for them again.

Only in recordings, since it replaces the function that Python calls for an ``import``.
"""

from __future__ import annotations

import builtins
import os
import sys
import time
from typing import Any

WORTH_SAYING = 0.1
"""Seconds below which an import hardly prolongs a sweep."""


class Imports:
    """Adds up the processor seconds of imports by the line that imports.

    Not by a clock, since faults may set the workload's clocks.
    """

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._under_way = False

    def listen(self) -> None:
        """Measure all imports of this process from now on."""
        usual: Any = builtins.__import__

        def measured(name: str, *rest: Any, **more: Any) -> Any:
            # Nested imports are part of the outer one, and most imports find a loaded module.
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
        """The lines that are worth moving, with their cost in each case."""
        return [f"{line}: {took:.1f} s" for line, took in self._seconds.items() if took >= WORTH_SAYING]
