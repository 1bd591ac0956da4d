"""A relayed connection: two wires and the traffic over them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from chaoskit.core.operation import NetworkDetail
from chaoskit.inject.base import PeerRequest
from chaoskit.inject.kernel.border import Happening, Happenings, Timekeeping
from chaoskit.inject.kernel.log import Log, Where
from chaoskit.inject.kernel.network.ahead import Unread
from chaoskit.inject.kernel.network.names import Destination
from chaoskit.inject.kernel.network.wire import MOST, Sockets, Wire
from chaoskit.inject.kernel.seccomp.syscalls import Spec
from chaoskit.inject.kernel.workload.tree import Task

_NO_CALL = Spec("", "", None, None)
KEPT = 1 << 20
"""How many bytes of a request the record of a peer keeps."""


@dataclass(slots=True)
class Spoken:
    """Something sent over a connection, or asked of a name server; see :class:`…log.Call`."""

    family: str
    target: str
    task: Task
    spec: Spec = _NO_CALL
    second: None = None


@dataclass(slots=True)
class Scene:
    """What all connections of one run share."""

    log: Log
    happenings: Happenings
    round: Sockets
    time: Timekeeping
    requests: list[PeerRequest]
    unread: Unread = field(default_factory=Unread)
    silenced: set[str] = field(default_factory=set)
    """Peers that cannot be reached any more."""
    connections: int = 0
    """The number of connections so far."""


class Talk(Protocol):
    """Understands the traffic of one connection, and passes it on as the faults demand."""

    def from_client(self, data: bytes) -> None: ...

    def from_server(self, data: bytes) -> None: ...

    def over(self) -> None:
        """The other side has sent everything, or the connection has ended."""

    @property
    def outstanding(self) -> bool:
        """True if a request is not answered yet."""


class Connection:
    """Carries bytes between the workload (``client``) and its peer (``server``)."""

    def __init__(
        self,
        scene: Scene,
        destination: Destination,
        task: Task,
        wires: tuple[Wire, Wire],
        talk: Callable[[Connection], Talk],
    ) -> None:
        self.scene = scene
        self.destination = destination
        self.peer = destination.peer
        scene.connections += 1
        self.number = scene.connections
        self.where: Where | None = None
        """In a recording: where the thread stood that last sent something."""
        self._task = task
        self.client, self.server = wires
        self.muted = False
        self.put_off = False
        """True if an answer has come and is held until a time of the workload's clock."""
        self.talk: Talk = talk(self)
        client, server = wires
        client.got, client.over, client.broken = self._from_client, self._client_over, self._client_broken
        server.got, server.over, server.broken = self._from_server, self._server_over, self._server_broken
        # Set here, since neither wire can be made before the other.
        client.drained = lambda: server.read(not self.muted)
        server.drained = lambda: client.read(True)
        client.watch()
        server.watch()

    @property
    def closed(self) -> bool:
        """True if both sides are gone."""
        return self.client.gone and self.server.gone

    @property
    def outstanding(self) -> bool:
        """True if an answer is on its way, or data waits to be sent."""
        if self.muted or self.closed or self.put_off:
            return False
        return self.talk.outstanding or bool(self.client.waiting or self.server.waiting)

    def begin(self, family: str, target: str, detail: NetworkDetail) -> Happening:
        """Begin an operation; the result says what strikes it."""
        self.scene.unread.catch_up()
        return self.scene.happenings.begin(Spoken(family, target, self._task), detail, self.where)

    def to_client(self, data: bytes) -> None:
        """Send data to the workload."""
        if not self.muted:
            self.client.send(data)
            # The sender must notice a slow reader, as it would without us.
            if self.client.waiting > MOST:
                self.server.read(False)

    def to_server(self, data: bytes) -> None:
        """Send data to the other side."""
        self.server.send(data)
        if self.server.waiting > MOST:
            self.client.read(False)

    def reset(self) -> None:
        """Reset the workload's side when it has all data; the other side sees an end."""
        self.server.close()
        self.client.when_acknowledged(self.client.reset)

    def finish(self) -> None:
        """Close the workload's side normally when it has all data; the other side sees an end."""
        self.server.close()
        self.client.finish()
        self.client.when_acknowledged(self.client.close)

    def mute(self) -> None:
        """Let nothing through any more in either direction, not even an end."""
        self.muted = True
        self.server.read(False)

    def close(self) -> None:
        """Close both sides at the end of the run."""
        self.talk.over()
        self.client.close()
        self.server.close()

    def _from_client(self, data: bytes) -> None:
        if not self.muted:
            self.talk.from_client(data)

    def _from_server(self, data: bytes) -> None:
        if not self.muted:
            self.talk.from_server(data)

    def _client_over(self) -> None:
        # A silent connection passes nothing on, not even that the workload has gone.
        if self.muted:
            self.close()
            return
        self.server.finish()
        self._end_if_over()

    def _server_over(self) -> None:
        if self.muted:
            return
        self.talk.over()
        self.client.finish()
        self._end_if_over()

    def _end_if_over(self) -> None:
        if self.client.ended and self.server.ended and not (self.client.waiting or self.server.waiting):
            self.close()

    def _client_broken(self) -> None:
        self.talk.over()
        self.client.close()
        # The workload has reset the connection; pass that on.
        self.server.reset()

    def _server_broken(self) -> None:
        if not self.muted:
            self.talk.over()
            self.server.close()
            self.client.when_acknowledged(self.client.reset)
