"""The addresses that peers' names get, and where addresses lead."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass

from chaoskit.inject.base import PeerAddress
from chaoskit.inject.kernel.network.addresses import Address

_NETWORK = "127.77.0."
"""Peers get loopback addresses, since the kernel has a route to those."""


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
        """The address that ``name`` gets; None if it was not declared."""
        # Names are case-insensitive (RFC 4343), and may end with the dot of the root.
        wanted = name.lower().rstrip(".")
        for address, one in self._addresses.items():
            if one.name.lower() == wanted or ("*" in one.name and fnmatch.fnmatchcase(wanted, one.name)):
                return address
        return None

    def destination(self, address: Address) -> Destination | None:
        """Where ``address`` leads; None if it is neither declared nor on this machine."""
        host, port = str(address.plain), address.port
        # An address that we gave out stands for its name; the same server answers at every port.
        declared = self._addresses.get(host)
        if declared is not None:
            return Destination(declared.name, f"{declared.name}:{port}", declared.host, declared.port, True)
        for one in self._peers:
            if one.port == port and host == one.host:
                # Its real port is random, and must not be part of a name.
                return Destination(one.name, one.name, host, port, True)
        # A test harness must not strike what belongs to others.
        if not address.loopback:
            return None
        return Destination(str(address), str(address), host, port, False)
