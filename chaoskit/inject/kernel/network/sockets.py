"""Operations on sockets: on duplicates of the workload's, and on ours."""

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
from chaoskit.inject.kernel.network.table import BIND, CONNECT, NetSpec
from chaoskit.inject.kernel.seccomp import abi

LINGER_ZERO = struct.pack("ii", 1, 0)
"""With this a close sends a reset (socket(7), SO_LINGER)."""
_FULL = 4
"""More connections than the queue of a listener with a backlog of 0 holds."""


def connect(fd: int, raw: bytes) -> int:
    """connect(2) on a duplicate; 0 or minus the errno. Flags of the open file do not change."""
    # Without a socket object, which would change O_NONBLOCK for the workload too.
    return _addressed(CONNECT, fd, raw)


def _addressed(call: NetSpec, fd: int, raw: bytes) -> int:
    number = call.number(abi.machine())
    assert number is not None
    return abi.libc().syscall(number, fd, ctypes.create_string_buffer(raw, len(raw)), len(raw))


def kind(fd: int) -> tuple[int, int]:
    """Family and type of the socket behind a descriptor; (0, 0) if it is not a socket."""
    # Use a copy, since the object closes its descriptor.
    try:
        found = socket.socket(fileno=os.dup(fd))
    except OSError:
        return 0, 0
    with found:
        return int(found.family), int(found.type) & 0xF


def local(fd: int) -> Address | None:
    """The address that the socket behind a descriptor is bound to."""
    return _named(fd, "getsockname")


def share_port(sock: socket.socket) -> None:
    """Let another socket have the same address, if that one allows it, too (socket(7), SO_REUSEADDR)."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)


def bind_like(fd: int, family: int, host: str, port: int) -> bool:
    """Bind an unbound socket to an address that another has after :func:`share_port`; True if that was done.

    What the program sees of the socket's options does not change.
    """
    if family == socket.AF_INET6 and ":" not in host:
        host = f"::ffff:{host}"
    own = local(fd)
    if own is None or own.port or not own.plain.is_unspecified:
        return False
    with socket.socket(fileno=os.dup(fd)) as sock:
        before = sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
        share_port(sock)
        done = _addressed(BIND, fd, packed(family, host, port))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, before)
    return done == 0


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
    """True if something can be read or accepted at once, or if another of ``events`` is true."""
    poll = select.poll()
    poll.register(fd, events)
    return bool(poll.poll(0))


def waits(fd: int) -> bool:
    """True if calls on the descriptor block."""
    return not fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK


def unsent(sock: socket.socket) -> int:
    """How many bytes the other side has not acknowledged (tcp(7), SIOCOUTQ)."""
    waiting = array.array("i", [0])
    try:
        fcntl.ioctl(sock, termios.TIOCOUTQ, waiting)
    except OSError:
        return 0
    return waiting[0]


def unread(sock: socket.socket) -> int:
    """How many bytes the other end, on this machine, has not read yet (proc(5)).

    0 if the kernel does not say.
    """
    try:
        ours, theirs = sock.getsockname()[1], sock.getpeername()[1]
    except OSError:
        return 0
    # An IPv4 connection of an IPv6 socket is in the other table.
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
    """The errno of a connection attempt that has failed; 0 if it has not."""
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


def reset(sock: socket.socket) -> None:
    """Close with a reset, and discard unsent data."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
    except OSError:
        pass
    sock.close()


class Traps:
    """Loopback ports where the kernel refuses connections, or leaves them without an answer."""

    def __init__(self) -> None:
        self._kept: list[socket.socket] = []
        self._closed: dict[int, int] = {}
        self._deaf: dict[int, int] = {}

    def closed(self, family: int) -> int:
        """A port that is taken, but where nothing listens."""
        if family not in self._closed:
            self._closed[family] = self._bound(family).getsockname()[1]
        return self._closed[family]

    def deaf(self, family: int) -> int:
        """A port whose queue is full: the kernel drops connection requests (listen(2))."""
        if family not in self._deaf:
            listener = self._bound(family)
            listener.listen(0)
            # The kernel accepts one more than the backlog, and some half-open connections.
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
        """Release the ports."""
        for sock in self._kept:
            sock.close()


def plain_family(address: Address) -> int:
    """The family that a connection to ``address`` really uses."""
    return socket.AF_INET if address.plain.version == 4 else socket.AF_INET6


def longest(length: int) -> int:
    """How many bytes of an address to read."""
    return min(length, LONGEST)
