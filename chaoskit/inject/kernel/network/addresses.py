"""Addresses of sockets as system calls carry them: ip(7), ipv6(7)."""

from __future__ import annotations

import ipaddress
import socket
import struct
from dataclasses import dataclass

LONGEST = 128
"""Bytes of ``struct sockaddr_storage``: no address is longer."""
_FAMILY = struct.Struct("=H")
_PORT = struct.Struct("!H")
_IN = struct.Struct("!4s8x")
_IN6 = struct.Struct("!I16sI")


@dataclass(frozen=True, slots=True)
class Address:
    """An Internet address; ``raw`` is how the program wrote it."""

    family: int
    host: str
    port: int
    raw: bytes

    @property
    def plain(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
        """The address itself; an IPv4 address that is written as IPv6 becomes IPv4 again."""
        found = ipaddress.ip_address(self.host.partition("%")[0])
        mapped = getattr(found, "ipv4_mapped", None)
        return mapped or found

    @property
    def loopback(self) -> bool:
        """True if it leads to this machine, as the unspecified address does (ip(7), INADDR_ANY)."""
        return self.plain.is_loopback or self.plain.is_unspecified

    @property
    def whole(self) -> bytes:
        """The address as the kernel writes it: without anything that the program put after it."""
        return self.raw[: 16 if self.family == socket.AF_INET else 28]

    def __str__(self) -> str:
        return f"{self.plain}:{self.port}"

    def instead(self, port: int) -> bytes:
        """The loopback address at ``port``, for a socket that wants to reach this address."""
        # An IPv6 socket may be connected to an IPv4 address, and then needs one here too (ipv6(7)).
        if self.family == socket.AF_INET:
            return packed(self.family, "127.0.0.1", port)
        return packed(self.family, "::1" if self.plain.version == 6 else "::ffff:127.0.0.1", port)


def read(raw: bytes) -> Address | None:
    """Understand an address; None if it is not an Internet address."""
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
    """An address as system calls expect it."""
    # The family is in the machine's byte order, the port in that of the network.
    head = _FAMILY.pack(family) + _PORT.pack(port)
    number = socket.inet_pton(family, host)
    if family == socket.AF_INET:
        return head + _IN.pack(number)
    return head + _IN6.pack(0, number, 0)
