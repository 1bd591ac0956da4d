"""A second delivery of a request, unknown to the workload."""

from __future__ import annotations

import socket
from collections.abc import Callable

from chaoskit.inject.kernel.network.names import Destination
from chaoskit.inject.kernel.network.wire import Sockets, Wire

_PATIENCE = 1.0
"""Seconds that a server has to answer this delivery before the real one follows."""


class Ghost:
    """Sends ``raw`` over another connection; calls ``then`` after the answer, or if none comes."""

    def __init__(self, around: Sockets, to: Destination, raw: bytes, then: Callable[[], object]) -> None:
        family = socket.AF_INET6 if ":" in to.host else socket.AF_INET
        sock = socket.socket(family)
        sock.setblocking(False)
        # The server has just accepted a connection; if it refuses this one, there is no second delivery.
        sock.connect_ex((to.host, to.port))
        self._then: Callable[[], object] | None = then
        self._wire = wire = Wire(sock, around)
        wire.got, wire.over, wire.broken = lambda _: self._done(), self._done, self._done
        wire.send(raw)
        wire.watch()
        around.poller.later(_PATIENCE, self._done)

    def _done(self) -> None:
        then, self._then = self._then, None
        self._wire.close()
        if then is not None:
            then()
