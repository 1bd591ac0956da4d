"""The calls of the network and the meaning of their arguments; numbers as in :mod:`…seccomp.syscalls`."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from chaoskit.inject.kernel.seccomp import abi
from chaoskit.inject.kernel.seccomp.syscalls import Condition, Spec

SERVICE = "service"
"""The family of calls that are not operations: the domain answers them, or only notes them."""

FASTOPEN = 0x20000000
"""``MSG_FASTOPEN`` (linux/socket.h): connects without a connect."""
_FASTOPEN_CONNECT = 30
"""``TCP_FASTOPEN_CONNECT`` (linux/tcp.h)."""


@dataclass(frozen=True, slots=True)
class NetSpec(Spec):
    """The meaning of a call's arguments, by their indices.

    ``address`` and ``length`` are those of an address, ``message`` points to a ``struct msghdr``.
    """

    address: int | None = None
    length: int | None = None
    message: int | None = None


def _given(argument: int) -> tuple[Condition, ...]:
    return ((argument, "given", ()),)


_INTERNET = ((0, "any", (socket.AF_INET, socket.AF_INET6)),)
# This lets the listener be handed over under its own filter.
_SENDS: tuple[Condition, ...] = ((2, "clear", (abi.MSG_PROBE,)),)
_FAST = ((1, "any", (socket.IPPROTO_TCP,)), (2, "any", (_FASTOPEN_CONNECT,)))

SPECS: tuple[NetSpec, ...] = (
    # In every run: the destination of a connection must not depend on faults.
    NetSpec("connect", "connect", 42, 203, always=True, address=1, length=2),
    NetSpec("getpeername", SERVICE, 52, 205, always=True, address=1, length=2),
    NetSpec("recvfrom", SERVICE, 45, 207, _given(4), always=True, address=4, length=5),
    NetSpec("setsockopt", SERVICE, 54, 208, _FAST, always=True),  # type: ignore[arg-type]
    NetSpec("sendto", "sendto", 44, 206, _given(4), always=True, address=4, length=5),
    NetSpec("sendmsg", "sendto", 46, 211, _SENDS, always=True, message=1),
    NetSpec("sendmmsg", "sendto", 307, 269, always=True, message=1),
    NetSpec("socket", "socket", 41, 198, _INTERNET),  # type: ignore[arg-type]
    NetSpec("bind", "bind", 49, 200, address=1, length=2),
    NetSpec("listen", "listen", 50, 201),
    NetSpec("accept", "accept", 43, 202),
    NetSpec("accept4", "accept", 288, 242),
    # For a query that was struck: waiting in vain for its answer must take no time.
    NetSpec("poll", "dns", 7, None),
    NetSpec("ppoll", "dns", 271, 73),
    # Only in recordings, since no strike is at this family: it shows which line of Python sends a request.
    NetSpec("sendto", SERVICE, 44, 206),
    NetSpec("write", SERVICE, 1, 64),
    NetSpec("writev", SERVICE, 20, 66),
)
"""See connect(2), getpeername(2), recv(2), send(2), sendmmsg(2), socket(2), bind(2), listen(2), accept(2)."""

CONNECT = SPECS[0]
BIND = next(spec for spec in SPECS if spec.name == "bind")
