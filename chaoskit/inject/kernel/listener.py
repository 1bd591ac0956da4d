"""Receives stopped calls and answers them: seccomp_unotify(2)."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from typing import NamedTuple

from chaoskit.inject.kernel.seccomp import abi

GoesBy = Callable[[int, int, int, int], bool]
"""Takes thread, number, architecture and first argument; returns True if the call may go on unexamined."""


class Notification(NamedTuple):
    """A waiting call: the kernel's number for it, its thread, the call's number and arguments."""

    ident: int
    tid: int
    number: int
    arch: int
    args: tuple[int, ...]


class Listener:
    """Receives calls and answers them. Every received call must be answered exactly once."""

    def __init__(self) -> None:
        self._fd = -1
        self.source = -1
        """Where calls come from: the kernel's descriptor, or the pipe of a catcher."""
        self._received = 0
        self._first = self._last = 0
        self.released: set[int] = set()
        """The workload's descriptors that :meth:`release` has replaced by ``/dev/null``."""
        # Writable buffers: for others Python's ioctl raises and catches an error at every call.
        self._call = bytearray(abi.NOTIF.size)
        self._reply = bytearray(abi.ANSWER.size)

    def attach(self, fd: int) -> None:
        """Begin to use the descriptor that the kernel gave for the filter."""
        self._fd = self.source = fd
        try:
            # Run the woken thread on the waiter's CPU: a cheaper hand-over (Linux 6.6).
            fcntl.ioctl(fd, abi.IOCTL_SET_FLAGS, abi.FD_SYNC_WAKE_UP)
        except OSError:
            pass  # An older kernel, where each call takes a little longer.

    @property
    def withdrawn(self) -> int:
        """How many calls were gone before they were received: the thread died, or a signal interrupted it.

        The kernel numbers notifications consecutively, so the missing numbers are those calls. A call that
        was received is not interrupted any more (``SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV``).
        """
        return self._last - self._first + 1 - self._received if self._received else 0

    def receive(self, goes_by: GoesBy | None, alone: Callable[[], bool], most: int) -> Notification | None:
        """Receive up to ``most`` calls and let them go on while ``goes_by`` is true; return the first other.

        None means that there is other work: a call was withdrawn, or ``alone``, which is called after each
        call that goes on, has returned False.
        """
        take, send, unpack = self._next, self._send, abi.NOTIF.unpack
        for _ in range(most):
            data = take()
            if data is None:
                return None
            # A tight loop for calls that are only counted: there may be thousands.
            ident, tid, _, number, arch, _, first, *others = unpack(data)
            missed, self._last = ident != self._last + 1, ident
            self._received += 1
            if missed:  # The very first call has a number as well.
                self._first = self._first or ident
            if goes_by is None or not goes_by(tid, number, arch, first):
                return Notification(ident, tid, number, arch, (first, *others))
            if not send(ident, 0, 0, abi.FLAG_CONTINUE) or missed or not alone():
                return None
        return None

    def drop(self) -> None:
        """Receive a call of a killed workload: it is neither answered nor counted."""
        self._next()

    def _next(self) -> bytes | bytearray | None:
        """The next notification as the kernel writes it; None if it was withdrawn first."""
        if self.source != self._fd:
            data = os.read(self.source, abi.NOTIF.size)
            return data if len(data) == abi.NOTIF.size else None
        call = self._call
        # The kernel refuses a buffer that is not zeroed.
        call[:] = abi.NO_NOTIF
        try:
            fcntl.ioctl(self._fd, abi.IOCTL_RECV, call)
        except OSError:
            return None
        return call

    def go_on(self, ident: int) -> bool:
        """Let the kernel carry the call out; False if its thread is gone."""
        return self._send(ident, 0, 0, abi.FLAG_CONTINUE)

    def answer(self, ident: int, result: int) -> bool:
        """Answer with a result or minus the errno; False if its thread is gone."""
        return self._send(ident, max(result, 0), min(result, 0), 0)

    def _send(self, ident: int, value: int, error: int, flags: int) -> bool:
        abi.ANSWER.pack_into(self._reply, 0, ident, value, error, flags)
        while True:
            try:
                fcntl.ioctl(self._fd, abi.IOCTL_SEND, self._reply)
            except InterruptedError:  # By a signal to us; Python does not repeat an ioctl.
                continue
            except OSError:
                return False
            return True

    def give(self, ident: int, mine: int, cloexec: bool) -> int:
        """Give the thread a copy of descriptor ``mine`` as the result of its call.

        Returns its number there, or minus the errno that was answered instead.
        """
        flags = abi.ADDFD_FLAG_SEND
        request = bytearray(abi.ADDFD.pack(ident, flags, mine, 0, os.O_CLOEXEC if cloexec else 0))
        try:
            return int(fcntl.ioctl(self._fd, abi.IOCTL_ADDFD, request, True))
        except OSError as error:
            result = -(error.errno or errno.EIO)
            # The call still waits: answer with the error that its open would have met.
            self.answer(ident, result)
            return result

    def release(self, ident: int, fd: int) -> bool:
        """Replace a descriptor by ``/dev/null``, which releases its file and locks."""
        with open(os.devnull, "rb") as null:
            request = abi.ADDFD.pack(ident, abi.ADDFD_FLAG_SETFD, null.fileno(), fd, os.O_CLOEXEC)
            try:
                fcntl.ioctl(self._fd, abi.IOCTL_ADDFD, request)
            except OSError:
                return False
        self.released.add(fd)
        return True


class Stopped:
    """A call that waits for its answer. The holder of this object answers, now or later."""

    __slots__ = ("ident", "listener")

    def __init__(self, listener: Listener, ident: int) -> None:
        self.listener = listener
        self.ident = ident

    def go_on(self) -> bool:
        """Let the kernel carry the call out; False if its thread is gone."""
        return self.listener.go_on(self.ident)

    def answer(self, result: int) -> bool:
        """Answer with a result or minus the errno; False if its thread is gone."""
        return self.listener.answer(self.ident, result)

    def give(self, mine: int, cloexec: bool) -> int:
        """Answer with a copy of our descriptor ``mine``; see :meth:`Listener.give`."""
        return self.listener.give(self.ident, mine, cloexec)

    def release(self, fd: int) -> bool:
        """Release the file behind the caller's descriptor ``fd`` before the answer."""
        return self.listener.release(self.ident, fd)
