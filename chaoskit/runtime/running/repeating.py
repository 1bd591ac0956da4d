"""A thread that repeats work beside the program: a publisher, a watch, a monitor."""

from __future__ import annotations

import logging
import os
import threading
from typing import Self

from chaoskit.core.errors import UsageError, wrong
from chaoskit.runtime.closing import ClosedOnExit
from chaoskit.runtime.numbers import is_number
from chaoskit.runtime.stop import end

__all__ = ["Repeating"]

logger = logging.getLogger("chaoskit")


class Repeating(ClosedOnExit):
    """A thread that works once at its start, and then at an interval in seconds, until it is closed.

    A subclass defines the work in ``_once``. Its exceptions are logged, and the thread goes on: the next time
    may succeed, and the program has other work. A forked child does not get the thread, but can start it
    again.

    Raises:
        UsageError: the interval is not above zero.
    """

    def __init__(self, what: str, every: float) -> None:
        """``what`` names the work in messages, and the thread."""
        if not (is_number(every) and every > 0):
            raise wrong("every", every, "seconds, more than zero")
        self._what, self._every = what, every
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()

    def _once(self) -> object:
        """Do the work once."""
        raise NotImplementedError

    def start(self) -> Self:
        """Start the thread.

        Raises:
            UsageError: it is running already.
        """
        if self._pid != os.getpid():
            self._pid, self._thread = os.getpid(), None
            self._forked()
        if self._thread is not None:
            raise UsageError(
                f"the {self._what} runs already; expected one that does not. Make a second one, or close this"
                " one first."
            )
        # A new event: a thread that waits for the old one may still be running.
        self._over = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(self._over,), name=f"chaoskit {self._what}", daemon=True
        )
        self._thread.start()
        return self

    def close(self) -> None:
        """End the thread after its current work. Further calls do nothing; it may be started again."""
        thread = self._thread
        if thread is not None and self._pid == os.getpid():
            end(thread, self._over)
        # Only now: otherwise a close that ran out of memory could not be repeated.
        self._thread = None

    def _forked(self) -> None:
        """Repair, in a forked child, what the thread may have held during the fork."""

    def __enter__(self) -> Self:
        return self.start()

    def _run(self, over: threading.Event) -> None:
        while True:
            try:
                self._once()
            except Exception as error:
                logger.warning("the %s failed, and goes on: %r", self._what, error, exc_info=error)
            if over.wait(self._every):
                return
