"""What is said over sockets of Python code: heard and struck whatever the client is."""

from __future__ import annotations

import asyncio
import errno
import http.client
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from chaoskit import injecting
from chaoskit.core.errors import ScheduleError

ANSWER = b'{"paid": true}'
PATIENCE = 20


class _Shop(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.server.got.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    def log_message(self, *_: Any) -> None:
        """Silent."""


class _Server(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Shop)
        self.got: list[bytes] = []

    def handle_error(self, *_: Any) -> None:
        """A client that is killed or reset is what is tested."""


@pytest.fixture
def shop() -> Iterator[_Server]:
    server = _Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def by_urllib(port: int) -> bytes:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/pay", b"100", timeout=PATIENCE) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        # It holds a file, of which newer Pythons say that it was left open.
        error.close()
        raise


def by_http_client(port: int) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("POST", "/pay", b"100")
        answer = connection.getresponse()
        if answer.status != 200:
            raise OSError(f"status {answer.status}")
        return answer.read()
    finally:
        connection.close()


def by_httpx(port: int) -> bytes:
    httpx = pytest.importorskip("httpx")
    with httpx.Client(timeout=PATIENCE, trust_env=False) as client:
        answer = client.post(f"http://127.0.0.1:{port}/pay", content=b"100")
        answer.raise_for_status()
        return bytes(answer.content)


def by_asyncio(port: int) -> bytes:
    async def ask() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(b"POST /pay HTTP/1.1\r\nHost: shop\r\nContent-Length: 3\r\n\r\n100")
            head = await reader.readuntil(b"\r\n\r\n")
            if b" 200 " not in head:
                raise OSError(head.decode())
            return await reader.readexactly(len(ANSWER))
        finally:
            writer.close()

    return asyncio.run(ask())


def by_aiohttp(port: int) -> bytes:
    aiohttp = pytest.importorskip("aiohttp")

    async def ask() -> bytes:
        url = f"http://127.0.0.1:{port}/pay"
        session = aiohttp.ClientSession(raise_for_status=True)
        async with session, session.post(url, data=b"100") as answer:
            return bytes(await answer.read())

    return asyncio.run(ask())


Client = Callable[[int], bytes]
CLIENTS = (by_urllib, by_http_client, by_httpx, by_asyncio, by_aiohttp)
FAULTS = {
    "reset[request]": 0,
    "status[503]": 0,
    "reset[0]": 1,
    "eof[20]": 1,
    "lost[504]": 1,
    "body[cut]": 1,
}


@pytest.mark.parametrize("client", CLIENTS)
def test_every_client_in_python_is_struck(
    shop: _Server, tmp_path: Path, client: Callable[[int], bytes]
) -> None:
    """It fails or gets another answer, the server has done what the fault says, and the proof is there."""
    for fault, done in FAULTS.items():
        shop.got.clear()
        with injecting(f"http(127.0.0.1,POST,/pay)#1={fault}", path=tmp_path) as seen:
            try:
                answer = client(shop.server_port)
            except Exception as error:  # Each client has its own.
                answer = repr(error).encode()
        assert answer != ANSWER, fault
        assert (len(shop.got), len(seen.faults)) == (done, 1), fault
    assert client(shop.server_port) == ANSWER


@pytest.mark.parametrize("client", CLIENTS)
def test_without_a_fault_it_is_only_heard(
    shop: _Server, tmp_path: Path, client: Callable[[int], bytes]
) -> None:
    """One connection, one request with its status and sizes, the answer as it is."""
    with injecting(lambda operation: None, path=tmp_path) as seen:
        assert client(shop.server_port) == ANSWER
    assert [one.call for one in seen.operations if one.call in ("connect", "http", "exchange")] == [
        "connect",
        "http",
    ]
    said = next(one for one in seen.operations if one.call == "http").network
    assert (said.method, said.path, said.status) == ("POST", "/pay", 200)
    assert said.received == said.head + len(ANSWER)


def test_a_request_is_delivered_twice(shop: _Server, tmp_path: Path) -> None:
    """The client is told once, and knows of nothing."""
    with injecting("http(127.0.0.1,POST,/pay)#1=twice", path=tmp_path) as seen:
        assert by_http_client(shop.server_port) == ANSWER
    assert (shop.got, len(seen.faults)) == ([b"100", b"100"], 1)


@pytest.mark.parametrize(("moment", "done"), [("request", 0), ("answer", 1)])
def test_a_kill_comes_before_or_after_the_server_knows(
    shop: _Server, tmp_path: Path, moment: str, done: int
) -> None:
    """What follows is not done any more."""
    with injecting(f"http(127.0.0.1,POST,/pay)#1=kill[{moment}]", path=tmp_path) as seen:
        by_http_client(shop.server_port)
        (tmp_path / "paid").write_text("yes")
    assert seen.killed
    assert len(shop.got) == done
    assert not (tmp_path / "paid").exists()


@pytest.mark.parametrize("text", ["ECONNREFUSED", "silent"])
def test_connections_are_struck_by_hand(shop: _Server, tmp_path: Path, text: str) -> None:
    """Refused, or without an answer within the client's patience, which is not waited for."""
    expected = TimeoutError if text == "silent" else ConnectionRefusedError
    struck = injecting(f"connect(127.0.0.1:{shop.server_port})#1={text}", path=tmp_path)
    with struck, pytest.raises(expected):
        socket.create_connection(("127.0.0.1", shop.server_port), PATIENCE)
    assert shop.got == []


def test_a_socket_that_does_not_wait_is_never_connected(shop: _Server, tmp_path: Path) -> None:
    """It has begun to connect, as the kernel tells it, and nothing comes of that."""
    with (
        injecting(f"connect(127.0.0.1:{shop.server_port})#1=silent", path=tmp_path) as seen,
        socket.socket() as sock,
    ):
        sock.setblocking(False)
        assert sock.connect_ex(("127.0.0.1", shop.server_port)) == errno.EINPROGRESS
        with pytest.raises(OSError, match="not connected"):
            sock.getpeername()
    assert len(seen.faults) == 1


def test_names_are_struck_by_hand(tmp_path: Path) -> None:
    """No name server is asked."""
    with injecting("dns(shop.example/A)#1=NXDOMAIN", path=tmp_path), pytest.raises(socket.gaierror):
        socket.create_connection(("shop.example", 80), PATIENCE)


@pytest.fixture
def bank() -> Iterator[int]:
    """Greets, and answers each line. Its thread is gone at the end: a workload cannot be forked beside it."""
    connections: list[socket.socket] = []

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connections.append(connection)
            # A client that is struck may leave at any moment.
            with suppress(OSError), connection, connection.makefile("rwb") as stream:
                stream.write(b"ready\n")
                stream.flush()
                for line in stream:
                    stream.write(b"done " + line)
                    stream.flush()

    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=serve, args=(listener,), daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    for one in (listener, *connections):
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
    thread.join()
    listener.close()


def said(port: int) -> list[bytes]:
    """A greeting and two exchanges."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock, sock.makefile("rwb") as stream:
        lines = [stream.readline()]
        for text in (b"one\n", b"two\n"):
            stream.write(text)
            stream.flush()
            lines.append(stream.readline())
        return lines


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("greeting(127.0.0.1)#1=eof[3]", [b"rea", BrokenPipeError]),
        ("greeting(127.0.0.1)#1=silent[0]", [TimeoutError]),
        ("exchange(127.0.0.1)#1=reset[request]", [ConnectionResetError]),
        ("exchange(127.0.0.1)#2=reset[0]", [ConnectionResetError]),
        ("exchange(127.0.0.1)#2=silent[4]", [TimeoutError]),
        ("exchange(127.0.0.1)#2=corrupt[0]", [b"ready\n", b"done one\n", b"eone two\n"]),
        ("exchange(127.0.0.1)#1=slice[1]", [b"ready\n", b"done one\n", b"done two\n"]),
        ("exchange(127.0.0.1)#1=delay[0.01]", [b"ready\n", b"done one\n", b"done two\n"]),
        ("exchange(127.0.0.1)#1=partition", [TimeoutError]),
    ],
)
def test_turns_of_another_protocol_are_struck(
    bank: int, tmp_path: Path, schedule: str, expected: list[Any]
) -> None:
    """A greeting, and exchanges that are numbered over all connections of the peer."""
    with injecting(schedule, path=tmp_path) as seen:
        if isinstance(expected[-1], bytes):
            assert said(bank) == expected
        else:
            with pytest.raises(expected[-1]):
                said(bank)
    assert len(seen.faults) == 1


def test_a_partition_outlives_its_connection(bank: int, tmp_path: Path) -> None:
    """The next connection to the same peer is not answered either."""
    with injecting("exchange(127.0.0.1)#1=partition", path=tmp_path):
        for _ in range(2):
            with pytest.raises(TimeoutError):
                said(bank)
    assert said(bank)[0] == b"ready\n"


def test_a_socket_that_is_handed_to_c_is_told(bank: int, tmp_path: Path) -> None:
    """TLS takes the descriptor: what is said from there on is not seen, and that is said."""
    with injecting(lambda operation: None, path=tmp_path) as seen:
        sock = socket.create_connection(("127.0.0.1", bank), PATIENCE)
        socket.socket(fileno=sock.detach()).close()
    assert [one.kind for one in seen.around] == ["unrelayed"]


def test_a_socket_is_as_before_when_the_block_is_left(tmp_path: Path, bank: int) -> None:
    """Its methods are those of the class in C again."""
    before = {
        name: getattr(socket.socket, name) for name in ("send", "recv", "recv_into", "detach", "connect")
    }
    with injecting("exchange(127.0.0.1)#1=reset[0]", path=tmp_path, must_strike=False):
        assert socket.socket.recv is not before["recv"]
    assert {name: getattr(socket.socket, name) for name in before} == before


def test_what_cannot_be_done_here_is_refused_by_name(tmp_path: Path) -> None:
    """A peer that is down for three connections is none."""
    refused = injecting("exchange(a.example)#1=down[3]", path=tmp_path)
    with pytest.raises(ScheduleError, match="not known to the inprocess backend"), refused:
        pass
