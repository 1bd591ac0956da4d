"""What is done with sockets here: the workload's, by way of a duplicate, and our own."""

from __future__ import annotations

import array
import ctypes
import fcntl
import os
import select
import socket
import struct
import termios

from chaoskit.inject.kernel.network.addresses import LONGEST, Address, packed, read
from chaoskit.inject.kernel.network.table import CONNECT
from chaoskit.inject.kernel.seccomp import abi

LINGER_ZERO = struct.pack("ii", 1, 0)
"""With this a close sends a reset (socket(7), SO_LINGER)."""
_FULL = 4
"""Connections that fill the queue of a listener with a backlog of 0, and more."""


def connect(fd: int, raw: bytes) -> int:
    """connect(2) on a duplicate; 0 or minus the errno. Flags of the open file are left as they are."""
    # Not by a socket object: that would change O_NONBLOCK, which the workload shares.
    number = CONNECT.number(abi.machine())
    assert number is not None
    return abi.libc().syscall(number, fd, ctypes.create_string_buffer(raw, len(raw)), len(raw))


def kind(fd: int) -> tuple[int, int]:
    """Family and type of the socket behind a descriptor; (0, 0) if it is not a socket."""
    # A copy of the descriptor, since the object closes what it is given.
    try:
        found = socket.socket(fileno=os.dup(fd))
    except OSError:
        return 0, 0
    with found:
        return int(found.family), int(found.type) & 0xF


def local(fd: int) -> Address | None:
    """The address that the socket behind a descriptor is bound to."""
    return _named(fd, "getsockname")


def _named(fd: int, how: str) -> Address | None:
    try:
        with socket.socket(fileno=os.dup(fd)) as found:
            if found.family not in (socket.AF_INET, socket.AF_INET6):
                return None
            host, port = getattr(found, how)()[:2]
            return read(packed(int(found.family), host.partition("%")[0], port))
    except OSError:
        return None


def readable(fd: int, events: int = select.POLLIN) -> bool:
    """Something can be read, or accepted, at once; or what else ``events`` ask for can be done."""
    poll = select.poll()
    poll.register(fd, events)
    return bool(poll.poll(0))


def waits(fd: int) -> bool:
    """Calls on the descriptor wait until they can be carried out."""
    return not fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK


def unsent(sock: socket.socket) -> int:
    """How many bytes the other side has not acknowledged yet (tcp(7), SIOCOUTQ)."""
    waiting = array.array("i", [0])
    try:
        fcntl.ioctl(sock, termios.TIOCOUTQ, waiting)
    except OSError:
        return 0
    return waiting[0]


def unread(sock: socket.socket) -> int:
    """How many bytes have come to the other end, on this machine, and were not read there (proc(5)).

    0 where the kernel does not tell.
    """
    try:
        ours, theirs = sock.getsockname()[1], sock.getpeername()[1]
    except OSError:
        return 0
    # An IPv4 connection of an IPv6 socket stands in the other table.
    for table in ("tcp", "tcp6"):
        try:
            with open(f"/proc/net/{table}") as rows:
                for row in rows:
                    _, local, remote, _, queues, *_ = row.split()
                    if local.endswith(f":{theirs:04X}") and remote.endswith(f":{ours:04X}"):
                        return int(queues.partition(":")[2], 16)
        except OSError:
            continue
    return 0


def error_of(sock: socket.socket) -> int:
    """What a connection that was begun has failed with; 0 if it has not."""
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


def reset(sock: socket.socket) -> None:
    """Close with a reset, and forget what was not sent."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
    except OSError:
        pass
    sock.close()


class Traps:
    """Loopback ports at which the kernel refuses connections, or leaves them without an answer."""

    def __init__(self) -> None:
        self._kept: list[socket.socket] = []
        self._closed: dict[int, int] = {}
        self._deaf: dict[int, int] = {}

    def closed(self, family: int) -> int:
        """A port that is taken and at which nothing listens."""
        if family not in self._closed:
            self._closed[family] = self._bound(family).getsockname()[1]
        return self._closed[family]

    def deaf(self, family: int) -> int:
        """A port whose queue is full: the kernel drops what asks for a connection (listen(2))."""
        if family not in self._deaf:
            listener = self._bound(family)
            listener.listen(0)
            # The kernel takes one more than the backlog, and some half-open ones.
            for _ in range(_FULL):
                caller = socket.socket(family)
                caller.setblocking(False)
                caller.connect_ex(listener.getsockname())
                self._kept.append(caller)
            self._deaf[family] = listener.getsockname()[1]
        return self._deaf[family]

    def _bound(self, family: int) -> socket.socket:
        sock = socket.socket(family)
        self._kept.append(sock)
        sock.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
        return sock

    def close(self) -> None:
        """Let them go."""
        for sock in self._kept:
            sock.close()


def plain_family(address: Address) -> int:
    """The family that a connection to ``address`` really uses."""
    return socket.AF_INET if address.plain.version == 4 else socket.AF_INET6


def longest(length: int) -> int:
    """How many bytes of an address are read."""
    return min(length, LONGEST)
