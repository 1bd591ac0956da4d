"""The progress of a long exploration: one changing line on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import contextlib
import os
import time
from typing import Any

import pytest

_QUIET = 2.0
"""Seconds before anything is printed: most explorations are over by then."""
_PAUSE = 0.5
"""The least seconds between two changes of the line."""
_LINE_EVERY = 30.0
"""Seconds between two lines in a log, which is to show that the job is not stuck."""


class Progress:
    """Rewrites one line on the terminal; without one, and in continuous integration, it adds lines.

    Silent under xdist, whose workers have no terminal.
    """

    def __init__(self, config: pytest.Config, name: str = "") -> None:
        self._reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
        self._capture: Any = config.pluginmanager.get_plugin("capturemanager")
        self._name = name
        self._shown = False
        self._on = self._reporter is not None and not hasattr(config, "workerinput")
        self._rewrites = bool(getattr(self._reporter, "isatty", False)) and not os.environ.get("CI")
        self._began = time.monotonic()
        self._next = self._began + (_QUIET if self._rewrites else _LINE_EVERY)

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if not self._on or now < self._next:
            return
        self._next = now + (_PAUSE if self._rewrites else _LINE_EVERY)
        text = f"chaoskit: {done:,} of {total:,} cases"
        with self._terminal():
            if self._rewrites:
                if not self._shown:
                    self._reporter.ensure_newline()
                self._reporter.rewrite(text, erase=True)
            else:
                self._reporter.ensure_newline()
                self._reporter.write_line(f"{text} in {now - self._began:.0f} s: {self._name}")
                # Nothing else flushes if the output goes to a file.
                self._reporter.flush()
        self._shown = True

    def close(self) -> None:
        """Leave the line empty."""
        if self._shown and self._rewrites:
            with self._terminal():
                self._reporter.rewrite("", erase=True)
                self._reporter.rewrite("")

    def _terminal(self) -> contextlib.AbstractContextManager[Any]:
        if self._capture is None:
            return contextlib.nullcontext()
        # pytest captures standard output at the file descriptor, so the terminal needs the capture suspended.
        disabled: contextlib.AbstractContextManager[Any] = self._capture.global_and_fixture_disabled()
        return disabled
