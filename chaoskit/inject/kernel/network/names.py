"""Which program an address leads to, and the addresses that names of peers are given."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass

from chaoskit.inject.base import PeerAddress
from chaoskit.inject.kernel.network.addresses import Address

_NETWORK = "127.77.0."
"""Addresses of peers are of the loopback network, so that the kernel has a way to them."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a connection really goes. ``peer`` names exchanges, ``target`` the connection itself."""

    peer: str
    target: str
    host: str
    port: int
    declared: bool


class Names:
    """The peers of one run."""

    def __init__(self, peers: Sequence[PeerAddress]) -> None:
        self._peers = tuple(peers)
        self._addresses = {f"{_NETWORK}{number}": one for number, one in enumerate(peers, 1)}

    def address(self, name: str) -> str | None:
        """The address that ``name`` is given; None for one that was not declared."""
        # Names are compared without regard to case (RFC 4343), and may end with the dot of the root.
        wanted = name.lower().rstrip(".")
        for address, one in self._addresses.items():
            if one.name.lower() == wanted or ("*" in one.name and fnmatch.fnmatchcase(wanted, one.name)):
                return address
        return None

    def destination(self, address: Address) -> Destination | None:
        """Where ``address`` leads; None if it was not declared and is not of this machine."""
        host, port = str(address.plain), address.port
        # An address that we gave out is the name itself; whichever port is asked for, one server answers.
        declared = self._addresses.get(host)
        if declared is not None:
            return Destination(declared.name, f"{declared.name}:{port}", declared.host, declared.port, True)
        for one in self._peers:
            if one.port == port and host == one.host:
                # Its own port was drawn by chance, and must not be in any name.
                return Destination(one.name, one.name, host, port, True)
        # A harness must not fault-test what belongs to others.
        if not address.loopback:
            return None
        return Destination(str(address), str(address), host, port, False)
