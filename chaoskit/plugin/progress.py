"""How far a long exploration has come, as one line on a terminal."""

from __future__ import annotations

import contextlib
import os
import time
from typing import Any

import pytest

_QUIET = 2.0
"""Seconds before anything is printed: most explorations are over by then."""
_PAUSE = 0.5
"""Seconds between two changes of the line, at least."""


class Progress:
    """Rewrites one line on the terminal. Silent without one, under xdist, and in continuous integration."""

    def __init__(self, config: pytest.Config) -> None:
        self._reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
        self._capture: Any = config.pluginmanager.get_plugin("capturemanager")
        self._next = time.monotonic() + _QUIET
        self._shown = False
        self._on = _wanted(config, self._reporter)

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if not self._on or now < self._next:
            return
        self._next = now + _PAUSE
        with self._terminal():
            if not self._shown:
                self._reporter.ensure_newline()
                self._shown = True
            self._reporter.rewrite(f"chaoskit: {done:,} of {total:,} cases", erase=True)

    def close(self) -> None:
        """Leave the line empty."""
        if self._shown:
            with self._terminal():
                self._reporter.rewrite("", erase=True)
                self._reporter.rewrite("")

    def _terminal(self) -> contextlib.AbstractContextManager[Any]:
        if self._capture is None:
            return contextlib.nullcontext()
        # pytest captures standard output at the file descriptor: the terminal is behind it.
        disabled: contextlib.AbstractContextManager[Any] = self._capture.global_and_fixture_disabled()
        return disabled


def _wanted(config: pytest.Config, reporter: Any) -> bool:
    if reporter is None or hasattr(config, "workerinput") or os.environ.get("CI"):
        return False
    return bool(getattr(reporter, "isatty", False))
