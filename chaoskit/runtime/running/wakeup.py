"""Delivers signals to a thread of ours even while the main thread is stuck in C code.

Python's own handlers run between two steps of the main thread, so a main thread that hangs inside a library
never sees a signal. But the interpreter writes the signal's number to a descriptor the moment it arrives
(``signal.set_wakeup_fd``); another thread that reads from there can act.
"""

from __future__ import annotations

import functools
import os
import signal
import socket
import weakref

# No signal has one of these numbers.
NUDGE = 0
END = 255

_installed: weakref.WeakSet[SignalMailbox] = weakref.WeakSet()


class SignalMailbox:
    """Numbers of signals, and our own :data:`NUDGE` and :data:`END`, for one reading thread."""

    def __init__(self) -> None:
        # A pair of sockets, as in asyncio, because Windows cannot wait for pipes.
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self._before: int | None = None

    def install(self) -> None:
        """Have every signal that has a Python handler posted here. Main thread only."""
        _watch_forks()
        self._before = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        _installed.add(self)

    def uninstall(self) -> None:
        """Restore the previous descriptor, unless another has replaced ours in the meantime."""
        if self._before is not None:
            now = signal.set_wakeup_fd(self._before)
            if now != self._writer.fileno():
                signal.set_wakeup_fd(now)
            self._before = None
        _installed.discard(self)

    def post(self, number: int) -> None:
        """Post a number; safe in a signal handler. If the box is full, the reader wakes up anyway."""
        try:
            self._writer.send(bytes([number]))
        except OSError:
            pass

    def handled(self, number: int) -> None:
        """Called by the Python handler: posts the signal if the interpreter could not.

        An asyncio loop that handles signals replaces the descriptor with its own.
        """
        now = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        if now != self._writer.fileno():
            signal.set_wakeup_fd(now)
            self.post(number)

    def take(self, timeout: float | None) -> bytes:
        """Wait for numbers and return them; none after ``timeout`` seconds, END if the box was closed."""
        try:
            self._reader.settimeout(timeout)
            numbers = self._reader.recv(64) or bytes([END])
        except TimeoutError:
            return b""
        except OSError:
            return bytes([END])
        self._pass_on(numbers)
        return numbers

    def close(self) -> None:
        """Close both ends; a reader that still waits gets END."""
        try:
            self._writer.close()
        finally:
            self._reader.close()

    def _pass_on(self, numbers: bytes) -> None:
        """Forward the signals to the descriptor that was set before ours."""
        signals = numbers.replace(bytes([NUDGE]), b"").replace(bytes([END]), b"")
        before = self._before
        if signals and before is not None and before != -1:
            try:
                os.write(before, signals)
            except OSError:
                pass  # it is closed or full, as it might be without us


@functools.cache
def _watch_forks() -> None:
    """Take the mailbox from forked children: through the shared sockets their signals reach the parent."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_in_child)


def _in_child() -> None:
    if _installed:
        signal.set_wakeup_fd(-1)
        _installed.clear()
