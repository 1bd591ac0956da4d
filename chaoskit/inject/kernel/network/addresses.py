"""Addresses of sockets as system calls carry them: ip(7), ipv6(7)."""

from __future__ import annotations

import ipaddress
import socket
import struct
from dataclasses import dataclass

LONGEST = 128
"""Bytes of ``struct sockaddr_storage``: more is none."""
_FAMILY = struct.Struct("=H")
_PORT = struct.Struct("!H")
_IN = struct.Struct("!4s8x")
_IN6 = struct.Struct("!I16sI")


@dataclass(frozen=True, slots=True)
class Address:
    """An address of the Internet; ``raw`` is how the program wrote it."""

    family: int
    host: str
    port: int
    raw: bytes

    @property
    def plain(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
        """The address itself; one of IPv4 that was written as IPv6 is one of IPv4."""
        found = ipaddress.ip_address(self.host.partition("%")[0])
        mapped = getattr(found, "ipv4_mapped", None)
        return mapped or found

    @property
    def loopback(self) -> bool:
        """It leads to this machine. So does the unspecified address (ip(7), INADDR_ANY)."""
        return self.plain.is_loopback or self.plain.is_unspecified

    @property
    def whole(self) -> bytes:
        """How the kernel writes it: without what the program has put behind it."""
        return self.raw[: 16 if self.family == socket.AF_INET else 28]

    def __str__(self) -> str:
        return f"{self.plain}:{self.port}"

    def instead(self, port: int) -> bytes:
        """The loopback address at ``port`` for a socket that was to go to this one."""
        # A socket of IPv6 may lead to an address of IPv4, and then only to one (ipv6(7)).
        if self.family == socket.AF_INET:
            return packed(self.family, "127.0.0.1", port)
        return packed(self.family, "::1" if self.plain.version == 6 else "::ffff:127.0.0.1", port)


def read(raw: bytes) -> Address | None:
    """Understand an address; None for one that is not of the Internet."""
    if len(raw) < 8:
        return None
    (family,) = _FAMILY.unpack_from(raw)
    (port,) = _PORT.unpack_from(raw, 2)
    if family == socket.AF_INET:
        return Address(family, socket.inet_ntop(family, raw[4:8]), port, raw)
    if family == socket.AF_INET6 and len(raw) >= 24:
        return Address(family, socket.inet_ntop(family, raw[8:24]), port, raw)
    return None


def packed(family: int, host: str, port: int) -> bytes:
    """An address as a system call wants it."""
    # The family in the order of the machine, the port in that of the network.
    head = _FAMILY.pack(family) + _PORT.pack(port)
    number = socket.inet_pton(family, host)
    if family == socket.AF_INET:
        return head + _IN.pack(number)
    return head + _IN6.pack(0, number, 0)
