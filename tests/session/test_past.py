"""What a fresh server is told again after a power loss, and what cannot be told again."""

from __future__ import annotations

import os
import socket
import socketserver
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chaoskit.core.operation import Bytes, NetworkDetail, Operation
from chaoskit.session.past import Untold
from chaoskit.session.peers import Peer, Peers


@pytest.fixture
def peers() -> Iterator[Peers]:
    """The servers of one test; all end with it."""
    made = Peers()
    yield made
    made.close()


def keeper(challenge: Callable[[], bytes]) -> Callable[[int], None]:
    """A server that greets, takes values of those alone that have logged in, and lists them."""
    kept: list[bytes] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            asked = challenge()
            self.wfile.write(b"hello " + asked + b"\n")
            known = False
            for line in self.rfile:
                word, _, rest = line.strip().partition(b" ")
                if word == b"AUTH":
                    known = rest == asked
                    if not known:
                        return
                elif word == b"ADD" and known:
                    kept.append(rest)
                self.wfile.write(b" ".join(kept) + b"\n" if word == b"LIST" else b"ok\n")

    def serve(port: int) -> None:
        with socketserver.ThreadingTCPServer(("127.0.0.1", port), Handler) as server:
            server.serve_forever()

    return serve


def said(index: int, call: str, connection: int, sent: bytes = b"", received: int = 3) -> Operation:
    detail: Any = NetworkDetail(
        "a.example", sent=len(sent), received=received, request=Bytes(sent), connection=connection
    )
    return Operation(index, call, "a.example", detail=detail)


PAST = [
    said(0, "greeting", 1, received=10),
    said(1, "greeting", 2, received=10),
    said(2, "exchange", 1, b"AUTH key\n"),
    # Over a connection that has not logged in: refused, then as now.
    said(3, "exchange", 2, b"ADD lost\n"),
    said(4, "exchange", 1, b"ADD a\n"),
    said(5, "exchange", 1, b"ADD b\n"),
]


def kept_by(peer: Peer) -> bytes:
    with (
        socket.create_connection((peer.host, peer.port), timeout=5) as asking,
        asking.makefile("rwb") as file,
    ):
        file.readline()
        file.write(b"LIST\n")
        file.flush()
        return file.readline().strip()


def test_a_log_in_holds_for_the_connection_over_which_it_was_made(peers: Peers) -> None:
    """What was said over one connection is said over one again: the server keeps what it kept then."""
    peer = peers.add("a.example", None, keeper(lambda: b"key"))
    peers.replay(PAST)
    assert kept_by(peer) == b"a b"
    assert [one.body for one in peer.requests] == [b"AUTH key\n", b"ADD lost\n", b"ADD a\n", b"ADD b\n"]


def test_a_challenge_cannot_be_met_again(peers: Peers) -> None:
    """The server of today asks for something else than that of then, and the reason is told."""
    peers.add("a.example", None, keeper(lambda: os.urandom(2).hex().encode()))
    with pytest.raises(Untold, match=r"a\.example .*(ended the connection|did not answer b'AUTH key)"):
        peers.replay(PAST)


def test_a_request_that_was_not_kept_whole_is_not_sent_in_part(peers: Peers) -> None:
    """Half of a request would tell the server something that the workload never said."""
    peer = peers.add("a.example", None, keeper(lambda: b"key"))
    detail = NetworkDetail("a.example", sent=9, received=3, request=Bytes(b"ADD"), connection=1)
    with pytest.raises(Untold, match=r"9 bytes to a\.example was not kept to its end"):
        peers.replay([Operation(0, "exchange", "a.example", detail=detail)])
    assert kept_by(peer) == b""
    assert peer.requests == []


def test_a_server_that_is_not_there_is_told_nothing(peers: Peers) -> None:
    """Its connections are refused, and the reason names it."""
    peers.add("a.example", None, keeper(lambda: b"key")).stop()
    with pytest.raises(Untold, match=r"a\.example took no connection"):
        peers.replay(PAST)
