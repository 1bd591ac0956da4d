"""Servers of a scenario: how they are declared, started, recorded and ended."""

from __future__ import annotations

import http.client
import json
import os
import socket
import sys
from collections.abc import Iterator

import pytest

from chaoskit.core.errors import UsageError
from chaoskit.core.operation import Bytes, NetworkDetail, Operation
from chaoskit.inject.base import PeerAddress, Plan
from chaoskit.inject.kernel import KernelBackend
from chaoskit.session.declared import parsed, told_of
from chaoskit.session.peers import Peer, Peers


@pytest.fixture
def peers() -> Iterator[Peers]:
    """The servers of one test; all end with it."""
    made = Peers()
    yield made
    made.close()


def ask(peer: Peer, method: str, path: str, body: bytes = b"") -> tuple[int, str, bytes]:
    """Ask a server directly; return status, kind and body."""
    connection = http.client.HTTPConnection(peer.host, peer.port, timeout=5)
    connection.request(method, path, body)
    answer = connection.getresponse()
    try:
        return answer.status, answer.headers["Content-Type"], answer.read()
    finally:
        connection.close()


def test_routes_answer_in_each_of_their_forms(peers: Peers) -> None:
    """Bytes, text, JSON, a status, pairs, triples, functions, patterns; and 404 for everything else."""
    routes = {
        "GET /bytes": b"abc",
        "GET /text": "abc",
        "GET /json": {"a": [1]},
        "DELETE /item/*": 204,
        "GET /pair": (503, "later"),
        "GET /triple": (200, {"Content-Type": "text/csv"}, "a,b"),
        "POST /echo": lambda request: (201, {"got": request.body.decode(), "query": request.query}),
        "/any": "any",
    }
    peer = peers.add("api.example", None, routes)
    assert ask(peer, "GET", "/bytes") == (200, "application/octet-stream", b"abc")
    assert ask(peer, "GET", "/text") == (200, "text/plain; charset=utf-8", b"abc")
    assert ask(peer, "GET", "/json") == (200, "application/json", b'{"a": [1]}')
    assert ask(peer, "DELETE", "/item/7")[0] == 204
    assert ask(peer, "GET", "/pair")[::2] == (503, b"later")
    assert ask(peer, "GET", "/triple") == (200, "text/csv", b"a,b")
    status, _, body = ask(peer, "POST", "/echo?x=1", b"hello")
    assert (status, json.loads(body)) == (201, {"got": "hello", "query": "x=1"})
    assert ask(peer, "PUT", "/any")[2] == b"any"
    assert ask(peer, "GET", "/else")[0] == 404


def test_a_command_and_a_function_serve_and_end(peers: Peers) -> None:
    """Both are there when they are declared, and gone when they are stopped."""

    def serve(port: int) -> None:
        with socket.create_server(("127.0.0.1", port)) as listener:
            while True:
                connection, _ = listener.accept()
                connection.close()

    command = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "{port}"]
    for peer in (peers.add("a.example", None, serve), peers.add("b.example", None, command)):
        with socket.create_connection((peer.host, peer.port), 5):
            pass
        peer.stop()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((peer.host, peer.port), 5)


def test_a_server_that_does_not_listen_is_told_with_its_words(peers: Peers) -> None:
    """What it wrote on its standard error is in the message."""

    def fails(port: int) -> None:
        raise RuntimeError(f"no licence for port {port}")

    with pytest.raises(UsageError, match=r"(?s)'a.example' ended; expected it to listen.*no licence"):
        peers.add("a.example", None, fails)


@pytest.mark.parametrize(
    ("name", "address", "start", "expected"),
    [
        ("a b", None, {"/": ""}, "a host name"),
        ("api.example:80", None, {"/": ""}, "without a port"),
        ("a.example", None, None, "either start="),
        ("a.example", ("127.0.0.1", 1), {"/": ""}, "either start="),
        ("a.example", "127.0.0.1:1", None, "host and port"),
        ("a.example", None, 7, "a function that is given its port"),
        ("a.example", None, ["server", "8080"], "{port}"),
        ("a.example", None, {"no slash": ""}, "a method and a path"),
        ("a.example", None, {"/": 1.5}, "bytes, text"),
    ],
)
def test_wrong_use_is_answered_with_what_was_expected(
    peers: Peers, name: str, address: object, start: object, expected: str
) -> None:
    """A name, an address or a start that cannot be right is refused at once."""
    with pytest.raises(UsageError) as told:
        peers.add(name, address, start)  # type: ignore[arg-type]
    assert expected in str(told.value)


def test_a_name_is_declared_once(peers: Peers) -> None:
    """A second server of the same name would get nothing."""
    peers.add("a.example", ("127.0.0.1", 1), None)
    with pytest.raises(UsageError, match="declared before"):
        peers.add("a.example", ("127.0.0.1", 2), None)


def test_what_a_lost_run_had_sent_is_sent_again(peers: Peers) -> None:
    """After a power loss a fresh server has got what the outside has seen, and so says its record."""
    peer = peers.add("a.example", None, {"POST /pay": lambda request: 201})
    raw = b"POST /pay HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n100"
    said = NetworkDetail("a.example", sent=len(raw), method="POST", path="/pay", request=Bytes(raw))
    never = NetworkDetail("a.example", method="POST", path="/pay")
    peers.replay([Operation(0, "http", "", detail=said), Operation(1, "http", "", detail=never)])
    assert [(one.method, one.path, one.body) for one in peer.requests] == [("POST", "/pay", b"100")]


def test_a_connection_from_before_the_run_is_refused(peers: Peers, tmp_path: object) -> None:
    """Nothing on it would be seen: the message names the peer and what to do."""
    peer = peers.add("a.example", None, {"/": "x"})
    plan = Plan(os.path.realpath(str(tmp_path)), peers=(PeerAddress("a.example", peer.host, peer.port),))
    with (
        socket.create_connection((peer.host, peer.port)),
        pytest.raises(UsageError, match=r"connected to a\.example .* connect inside the workload"),
    ):
        KernelBackend().run(lambda: None, plan)
    assert KernelBackend().run(lambda: None, plan).ok


def test_servers_of_the_command_line(peers: Peers, tmp_path: object) -> None:
    """A name with a command or an address; what is told of it are its place and its requests."""
    assert parsed(["a.example=serve {port}", "b.example=127.0.0.1:80"]) == (
        ("a.example", "serve {port}"),
        ("b.example", "127.0.0.1:80"),
    )
    peer = peers.add("a-b.example", ("127.0.0.1", 80), None)
    told = told_of([peer], str(tmp_path))
    assert told["CHAOSKIT_PEER_A_B_EXAMPLE"] == "127.0.0.1:80"
    with open(told["CHAOSKIT_REQUESTS"]) as file:
        assert file.read() == ""
    assert told_of([], str(tmp_path)) == {}
