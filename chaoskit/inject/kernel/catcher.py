"""Receive calls at once, even while the supervisor is busy with others.

A signal can interrupt a notified call until it is received, and the call then fails with EINTR. That includes
``close``, which the kernel never interrupts otherwise: programs do not repeat it, and the descriptor stays
open. So a process with no other work receives each call as soon as it is made, and passes it on through a
pipe. Answers do not go through that process: every holder of the listener may give them (seccomp_unotify(2)).
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import select
import signal
import socket
import struct
from typing import NoReturn

from chaoskit.inject import private, processes
from chaoskit.inject.kernel.seccomp import abi

_PATIENCE = 0.5
"""Seconds that it has to confirm that it has stopped. Then it is killed, and the next run gets another."""
_DESCRIPTORS = struct.Struct("=2i")
_ATTRIBUTES = struct.Struct("=IIQiIQQQ")
"""``struct sched_attr`` of linux/sched/types.h."""
_SLICE = 100_000
"""The shortest time slice that the kernel gives, in nanoseconds."""
_BEGIN, _STOP, _DONE = b"b", b"s", b"d"


class Catcher:
    """The receiving process of a supervisor; it may serve many runs."""

    def __init__(self) -> None:
        # Both ends are close-on-exec, and the child closes its copy.
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours.settimeout(_PATIENCE)
        parent = os.getpid()
        self._pid = processes.fork()
        if self._pid == 0:
            _catch(theirs, parent)
        theirs.close()
        # A descriptor, since a process id may be reused.
        self._pidfd = os.pidfd_open(self._pid)
        # Later workloads do not inherit these: a descriptor with such a number is their own, perhaps a leak.
        for fd in (self._ours.fileno(), self._pidfd):
            private.withhold(fd)

    def begin(self, listener: int) -> int:
        """Begin to receive from ``listener``; return the pipe that its calls can be read from.

        Raises:
            OSError: if its process is gone.
        """
        reader, writer = os.pipe2(os.O_CLOEXEC)
        try:
            given = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, _DESCRIPTORS.pack(listener, writer))]
            self._ours.sendmsg([_BEGIN], given)
            self._ours.recv(1)
        except OSError:
            os.close(reader)
            raise
        finally:
            os.close(writer)
        return reader

    def stop(self) -> bool:
        """Stop receiving; return False if it did not stop, and must be dismissed."""
        try:
            self._ours.send(_STOP)
            return self._ours.recv(1) == _DONE
        except OSError:
            return False

    def leave(self) -> None:
        """In a workload, whose copies are closed with all that is withheld: own nothing any more."""
        self._ours.detach()
        self._pidfd = -1

    def forget(self) -> None:
        """Close the descriptors; in a fork of the process that it serves, the copies."""
        for fd in (self._ours.fileno(), self._pidfd):
            private.give_back(fd)
        self._ours.close()
        if self._pidfd >= 0:
            os.close(self._pidfd)

    def dismiss(self) -> None:
        """End the process."""
        # A block that collects all children may have collected this one.
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            os.waitpid(self._pid, 0)
        self.forget()


_hired: tuple[int, Catcher] | None = None
"""The process that has a catcher, and the catcher. A fork inherits the variable but not the catcher."""


def receiving(listener: int, guard: processes.Guard) -> int:
    """Let this process's catcher receive from ``listener``; return the pipe with its calls.

    The catcher is made if there is none, and lives as long as ``guard``. Returns -1 if there is none: then
    the supervisor receives calls when it can.
    """
    global _hired
    for _ in range(2):
        try:
            if _hired is None or _hired[0] != os.getpid():
                let_go()
                _hired = (os.getpid(), Catcher())
                guard.at_dismissal(let_go)
            return _hired[1].begin(listener)
        except OSError:
            # An earlier one may have been collected as a left-over child.
            let_go()
    return -1


def over() -> None:
    """The run is over."""
    if _hired is not None and not _hired[1].stop():
        let_go()


def let_go() -> None:
    """End this process's catcher, if it has one; of another's, close the copies that a fork inherited."""
    global _hired
    if _hired is not None:
        owner, catcher = _hired
        if owner == os.getpid():
            catcher.dismiss()
        else:
            catcher.forget()
    _hired = None


def leave() -> None:
    """In a workload: keep nothing of the supervisor's catcher."""
    if _hired is not None:
        _hired[1].leave()


def _catch(control: socket.socket, parent: int) -> NoReturn:
    try:
        processes.die_with(parent)
        processes.name("chaoskit-catcher")
        _hurry()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        # The reader of a pipe whose write end we held would never see its end.
        os.closerange(0, control.fileno())
        os.closerange(control.fileno() + 1, 1 << 20)
        while True:
            message, ancillary, _, _ = control.recvmsg(1, socket.CMSG_SPACE(_DESCRIPTORS.size))
            if message == _BEGIN:
                _pass_on(control, *_DESCRIPTORS.unpack(ancillary[0][2]))
            elif message == _STOP:
                control.send(_DONE)
            else:
                break
    finally:
        os._exit(0)


def _hurry() -> None:
    """Be scheduled first as soon as a call is made, if this user may."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except OSError:
        # Without privileges: a short slice has an early deadline (sched_setattr(2), Linux 6.12).
        wanted = ctypes.create_string_buffer(_ATTRIBUTES.pack(_ATTRIBUTES.size, 0, 0, 0, 0, _SLICE, 0, 0))
        abi.libc().syscall({"x86_64": 314, "aarch64": 274}[abi.machine()], 0, wanted, 0)


def _pass_on(control: socket.socket, listener: int, writer: int) -> None:
    """Receive until told otherwise, or until nothing can come any more."""
    poll = select.poll()
    poll.register(control.fileno(), select.POLLIN)
    poll.register(listener, select.POLLIN)
    call = bytearray(abi.NOTIF.size)
    only = [(listener, select.POLLIN)]
    control.send(_DONE)
    try:
        while poll.poll() == only:
            call[:] = abi.NO_NOTIF
            try:
                fcntl.ioctl(listener, abi.IOCTL_RECV, call)
            except OSError:  # The call was withdrawn in between.
                continue
            os.write(writer, call)
    except OSError:  # The supervisor has stopped reading.
        pass
    finally:
        os.close(listener)
        os.close(writer)
