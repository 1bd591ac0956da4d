"""Streams of an unknown protocol, of which we know only which side spoke last and how much."""

from __future__ import annotations

from chaoskit.core.operation import Bytes, NetworkDetail
from chaoskit.inject import http
from chaoskit.inject.base import PeerRequest
from chaoskit.inject.kernel.border import Happening
from chaoskit.inject.kernel.network.answering import OF_STREAMS, Answering, stopped
from chaoskit.inject.kernel.network.connection import KEPT, Connection, Talk
from chaoskit.inject.kernel.network.requests import Requests


class Opening:
    """A connection whose protocol is not known yet: HTTP if it begins like a request."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._early = b""

    outstanding = False

    def from_client(self, data: bytes) -> None:
        """Wait for a whole line if it may be HTTP, as servers do."""
        self._early += data
        # A request line may come in pieces. Pass nothing on before it is complete: no server answers a part.
        is_http = http.may_be(self._early)
        if is_http is not None:
            known: Talk = Requests(self._connection) if is_http else Exchanges(self._connection)
            self._connection.talk = known
            known.from_client(self._early)

    def from_server(self, data: bytes) -> None:
        """The server speaks first, so this is not HTTP."""
        known = Exchanges(self._connection)
        self._connection.talk = known
        known.from_server(data)
        if self._early:
            known.from_client(self._early)

    def over(self) -> None:
        """Send on the data that was held back."""
        if self._early:
            self._connection.to_server(self._early)
            self._early = b""


class Exchanges:
    """An exchange begins when the client sends for the first time, or after it has received."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._turn = ""
        self._sent = self._received = 0
        self._said = bytearray()
        self._happening: Happening | None = None
        self._answer: Answering | None = None

    @property
    def outstanding(self) -> bool:
        """True if the client spoke last."""
        return self._turn == "client"

    def from_client(self, data: bytes) -> None:
        """Pass on a part of a request."""
        # Consecutive sends are one request, whose end shows only in the answer.
        early = self._turn != "client" and not self._connection.scene.happenings.near("exchange", 1)
        if early:
            self._connection.to_server(data)
        if self._turn != "client":
            self.over()
            happening = self._begin("exchange")
            if stopped(self._connection, happening):
                return
            self._turn = "client"
        self._sent += len(data)
        if len(self._said) + len(data) <= KEPT:
            self._said += data
        if not early:
            self._connection.to_server(data)

    def from_server(self, data: bytes) -> None:
        """Pass on a part of an answer."""
        if not self._turn:
            self._begin("greeting")
        assert self._answer is not None
        self._turn = "server"
        self._received += len(data)
        self._answer.take(data)

    def over(self) -> None:
        """Complete the record of the last exchange."""
        happening, peer = self._happening, self._connection.peer
        if happening is None:
            return
        self._happening = None
        self._connection.scene.unread.catch_up()
        said = bytes(self._said)
        if said and self._connection.destination.declared:
            self._connection.scene.requests.append(PeerRequest(peer, "", "", said))
        if self._connection.scene.log.recording:
            detail = NetworkDetail(
                peer,
                sent=self._sent,
                received=self._received,
                request=Bytes(said),
                connection=self._connection.number,
            )
            happening.known(self._received, detail)

    def _begin(self, family: str) -> Happening:
        connection = self._connection
        happening = connection.begin(family, connection.peer, NetworkDetail(connection.peer))
        if happening.shape is not None and not isinstance(happening.shape, OF_STREAMS):
            happening.impossible("what is said over this connection is not HTTP in clear text")
        # Numbered over all connections of the peer: a pool must make no difference.
        self._sent = self._received = 0
        self._said.clear()
        self._happening = happening
        self._answer = Answering(connection, happening)
        return happening
