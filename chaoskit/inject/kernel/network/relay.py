"""The relay: our side of every connection that the workload makes.

When the other side has been reached, the supervisor connects the workload's socket, through a duplicate, to a
listener of ours. From then on everything is real TCP: readiness, options and errors are the kernel's, and no
call has to stop.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from collections.abc import Callable
from functools import partial

from chaoskit.inject.kernel.network import sockets
from chaoskit.inject.kernel.network.addresses import Address
from chaoskit.inject.kernel.network.connection import Connection, Scene
from chaoskit.inject.kernel.network.exchanges import Opening
from chaoskit.inject.kernel.network.names import Destination
from chaoskit.inject.kernel.network.wire import Wire
from chaoskit.inject.kernel.workload.tree import Task

_BACKLOG = 128
_PATIENCE = 0.25
"""Seconds that the other side has at the end for its last request, before the test looks at it."""
_CONNECTED = (0, -errno.EINPROGRESS)


class Caller:
    """A connection that the workload asks for: the thread, its socket, and the destination."""

    def __init__(self, task: Task, link: str, address: Address, to: Destination) -> None:
        self.task = task
        self.link = link
        self.address = address
        self.to = to
        self.upstream: socket.socket | None = None


class Relay:
    """All connections of one run."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._listeners: dict[int, socket.socket] = {}
        self._expected: dict[int, Caller] = {}
        self._connections: list[Connection] = []
        self._by_link: dict[str, tuple[Caller, Connection | None]] = {}
        self._ports: set[int] = set()
        """Ports that the workload's sockets have been given."""
        self.traps = sockets.Traps()

    # Reaching the other side.

    def reach(self, caller: Caller, then: Callable[[int], object]) -> None:
        """Connect to the destination; call ``then`` with 0 or the errno, perhaps much later."""
        family = socket.AF_INET6 if ":" in caller.to.host else socket.AF_INET
        # The other side first: if it refuses, the workload must be refused too.
        upstream = socket.socket(family)
        upstream.setblocking(False)
        sockets.share_port(upstream)
        caller.upstream = upstream
        try:
            failed = upstream.connect_ex((caller.to.host, caller.to.port))
        except OSError as error:
            failed = error.errno or errno.EHOSTUNREACH
        if failed == errno.EINPROGRESS:
            # On loopback the result is known at once.
            if not sockets.readable(upstream.fileno(), select.POLLOUT):
                self._scene.round.expect(
                    upstream.fileno(), select.POLLOUT, partial(self._reached, upstream, then)
                )
                return
            failed = sockets.error_of(upstream)
        self._outcome(upstream, failed, then)

    def _reached(self, upstream: socket.socket, then: Callable[[int], object], _: int) -> None:
        self._scene.round.expect(upstream.fileno(), 0, bool)
        self._outcome(upstream, sockets.error_of(upstream), then)

    def _outcome(self, upstream: socket.socket, failed: int, then: Callable[[int], object]) -> None:
        if failed:
            upstream.close()
        then(failed)

    # The workload's side.

    def join(self, caller: Caller, mine: int) -> int:
        """Connect the workload's socket, through its duplicate ``mine``, to us; return the result."""
        family = sockets.plain_family(caller.address)
        port = self._listener(family).getsockname()[1]
        self._look_alike(caller, mine)
        result = sockets.connect(mine, caller.address.instead(port))
        # Our listener will recognize it by its port, which the kernel has chosen by now.
        local = sockets.local(mine) if result in _CONNECTED else None
        if local is None:
            if caller.upstream is not None:
                caller.upstream.close()
            return result
        self._by_link[caller.link] = (caller, None)
        self._expected[local.port] = caller
        self._accept(family)
        return result

    def _look_alike(self, caller: Caller, mine: int) -> None:
        """Give the workload's socket the address that the server sees, which is ours, if that is possible."""
        assert caller.upstream is not None
        host, port = caller.upstream.getsockname()[:2]
        # Two connections to different servers may have one port of ours, but both would lead to our listener.
        if port not in self._ports and sockets.bind_like(mine, caller.address.family, host, port):
            self._ports.add(port)

    def again(self, link: str, mine: int) -> int | None:
        """The result of a second connect on a relayed socket; None for other sockets."""
        found = self._by_link.get(link)
        if found is None:
            return None
        address = found[0].address
        port = self._listener(sockets.plain_family(address)).getsockname()[1]
        return sockets.connect(mine, address.instead(port))

    def address_of(self, link: str) -> Address | None:
        """The address that the workload believes a socket to be connected to."""
        found = self._by_link.get(link)
        return None if found is None else found[0].address

    def connection(self, link: str) -> Connection | None:
        """The connection of a socket; None if it has none."""
        found = self._by_link.get(link)
        return None if found is None else found[1]

    def forget(self, link: str) -> None:
        """Drop a socket whose number was reused."""
        self._by_link.pop(link, None)

    def cut_off(self, peer: str) -> None:
        """Reset all connections to a peer, which is down."""
        for one in self._connections:
            if one.peer == peer and not one.closed:
                one.reset()

    def _listener(self, family: int) -> socket.socket:
        if family not in self._listeners:
            listener = socket.socket(family)
            listener.setblocking(False)
            listener.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
            listener.listen(_BACKLOG)
            self._listeners[family] = listener
            self._scene.round.expect(listener.fileno(), select.POLLIN, lambda _: self._accept(family))
        return self._listeners[family]

    def _accept(self, family: int) -> None:
        listener = self._listeners[family]
        while True:
            try:
                accepted, address = listener.accept()
            except OSError:
                return
            caller = self._expected.pop(address[1], None)
            if caller is None or caller.upstream is None:
                accepted.close()  # Not a socket of the workload: it must not notice us.
                continue
            wires = Wire(accepted, self._scene.round), Wire(caller.upstream, self._scene.round)
            connection = Connection(self._scene, caller.to, caller.task, wires, Opening)
            self._by_link[caller.link] = (caller, connection)
            if caller.to.peer in self._scene.silenced:
                connection.mute()
            self._connections.append(connection)
            # Closed connections are dropped when there are many.
            if len(self._connections) > 256:
                self._connections = [one for one in self._connections if not one.closed]

    # Time.

    @property
    def outstanding(self) -> list[int]:
        """Our ends of connections whose peers owe an answer; 0 for an end that is gone."""
        return [_inode(one.server) for one in self._connections if one.outstanding]

    @property
    def relayed(self) -> dict[int, int | None]:
        """Maps each of our sockets to the one that it relays from; to None if it is silent."""
        found: dict[int, int | None] = {}
        for one in self._connections:
            if not (one.client.gone or one.server.gone):
                client, server = _inode(one.client), _inode(one.server)
                still = one.muted or one.put_off
                found |= {client: None if still else server, server: None if still else client}
        return found

    def end(self) -> None:
        """Let the workload's data arrive, then close everything."""
        deadline = time.monotonic() + _PATIENCE
        # The workload has ended: only bytes on their way are left, followed by the end.
        while self._scene.round.turn():
            pass
        # Otherwise the test would examine the server while it is still working.
        while self.outstanding and time.monotonic() < deadline:
            self._scene.round.turn(deadline - time.monotonic())
        for connection in self._connections:
            connection.close()
        for caller in self._expected.values():
            if caller.upstream is not None:
                caller.upstream.close()
        for listener in self._listeners.values():
            self._scene.round.expect(listener.fileno(), 0, bool)
            listener.close()
        self.traps.close()


def link_of(task: Task, fd: int) -> str | None:
    """A unique identity of a socket; None if the descriptor is not a socket."""
    link = task.link(fd)
    return link if link is not None and link.startswith("socket:") else None


def _inode(wire: Wire) -> int:
    return 0 if wire.gone else os.fstat(wire.sock.fileno()).st_ino
