"""Servers that a scenario talks to: real programs, whose state no crash of the workload undoes."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import IO, Any, NoReturn

from chaoskit.core.errors import UsageError, wrong
from chaoskit.core.operation import Operation
from chaoskit.inject import channel, processes
from chaoskit.inject.base import PeerAddress, PeerRequest
from chaoskit.session.past import Conversation

_NAME = re.compile(r"(\*\.)?[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?")
_MOST = 254
"""Workloads see each peer at a different address, 127.77.0.1 to 127.77.0.254."""
_READY = 10.0
"""Seconds that a server may take until it listens."""
_SOON = 0.002
"""Seconds between two attempts to connect to a server that does not listen yet."""
_LOCAL = "127.0.0.1"


class Peer:
    """One server: known by a name in the workload, by an address outside.

    ``requests`` has what it has received from workloads, in order: whole HTTP requests, or for other
    protocols what was sent in each exchange. ``url`` is for the test itself.
    """

    def __init__(self, name: str, host: str, port: int, process: _PeerProcess | None = None) -> None:
        self.name = name
        self.host = host
        self.port = port
        self.requests: list[PeerRequest] = []
        self._process = process

    @property
    def url(self) -> str:
        """The server's real address, for requests by the test itself."""
        return f"http://{self.host}:{self.port}"

    def stop(self) -> None:
        """End the server; from then on connections to it are refused."""
        if self._process is not None:
            self._process.end()


class Peers:
    """The servers of one case."""

    def __init__(self) -> None:
        self._peers: dict[str, Peer] = {}

    @property
    def addresses(self) -> tuple[PeerAddress, ...]:
        """Their names and addresses."""
        return tuple(PeerAddress(one.name, one.host, one.port) for one in self._peers.values())

    def add(self, name: str, address: tuple[str, int] | None, start: Any) -> Peer:
        """Declare a server, and start it if ``start`` is given.

        Raises:
            UsageError: for a wrong name, address or start, and for a server that does not listen.
        """
        if channel.inside():
            raise UsageError(f"peer({name!r}) was called inside a workload; expected it before run().")
        if not isinstance(name, str) or _NAME.fullmatch(name) is None:
            raise wrong("name of a peer", name, "a host name such as 'api.example', without a port")
        if name in self._peers:
            raise wrong("name of a peer", name, "one that was not declared before in this test")
        if len(self._peers) == _MOST:
            raise UsageError(f"{name} is peer {_MOST + 1} of this test; expected {_MOST} at most.")
        # With neither the name leads nowhere; with both there is one server too many.
        if (address is None) == (start is None):
            raise wrong(
                "peer", name, "either start=, what is to be started, or address=, where it runs already"
            )
        host, port, process = (*_checked(address), None) if address is not None else _started(name, start)
        peer = self._peers[name] = Peer(name, host, port, process)
        return peer

    def note(self, requests: Iterable[PeerRequest]) -> None:
        """Add the requests of a run."""
        for one in requests:
            self._peers[one.peer].requests.append(one)

    def replay(self, past: Sequence[Operation]) -> None:
        """Repeat what a run had sent before the power loss, since the outside world has seen it.

        Raises:
            Untold: if a server does not accept it as the one before did. What was sent by then stays.
        """
        open_now: dict[tuple[int, str, int], Conversation] = {}
        try:
            for operation in past:
                detail = operation.network
                peer = self._peers.get(detail.peer)
                if peer is None or operation.call not in ("http", "exchange", "greeting"):
                    continue
                # The content of a request that was not sent completely is unknown.
                if operation.call == "http" and detail.request is None:
                    continue
                key = (operation.place.run, peer.name, detail.connection)
                if key not in open_now:
                    open_now[key] = Conversation(peer.name, peer.host, peer.port)
                if operation.call == "greeting":
                    open_now[key].hear(detail.received)
                    continue
                raw = open_now[key].say(detail)
                body = raw.partition(b"\r\n\r\n")[2] if operation.call == "http" else raw
                peer.requests.append(PeerRequest(peer.name, detail.method, detail.path, body))
        finally:
            for one in open_now.values():
                one.close()

    def close(self) -> None:
        """End all servers that were started."""
        for peer in self._peers.values():
            peer.stop()


class _PeerProcess:
    """A server process, with all its descendants."""

    def __init__(self, serve: Callable[[], object]) -> None:
        self.errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed when it ends
        parent = os.getpid()
        self._pid = processes.fork()
        if self._pid == 0:
            _become(serve, parent, self.errors)

    def alive(self) -> bool:
        """Return False once it has ended."""
        if self._pid and os.waitpid(self._pid, os.WNOHANG) != (0, 0):
            self._pid = 0
        return self._pid != 0

    def said(self) -> str:
        """The end of what it has written to its standard error."""
        self.errors.seek(0)
        return self.errors.read()[-2000:].decode(errors="replace").strip()

    def end(self) -> None:
        """Kill it and everything that it has started."""
        pid, self._pid = self._pid, 0
        if pid:
            processes.kill_tree(pid)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
        self.errors.close()


def _become(serve: Callable[[], object], parent: int, errors: IO[bytes]) -> NoReturn:
    status = 1
    try:
        processes.die_with(parent)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        # Its output would appear between the lines of the test.
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        os.dup2(errors.fileno(), 2)
        serve()
        status = 0
    except BaseException:
        import traceback

        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(status)


def _checked(address: object) -> tuple[str, int]:
    if not (isinstance(address, tuple) and len(address) == 2 and isinstance(address[1], int)):
        raise wrong("address of a peer", address, "host and port, as in ('127.0.0.1', 5432)")
    host, port = address
    try:
        # Resolve the name now: it may lead elsewhere later, and faults must not strike strangers.
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4][0]
    except OSError as error:
        raise wrong("address of a peer", address, f"a host that can be found ({error})") from None
    return str(found), port


def _started(name: str, start: Any) -> tuple[str, int, _PeerProcess]:
    if isinstance(start, Mapping):
        from chaoskit.session import stub

        routes = stub.checked(start)
        listener = socket.create_server((_LOCAL, 0), backlog=128)
        with listener:
            port = listener.getsockname()[1]
            # The socket listens before the process serves: an early client waits.
            return _LOCAL, port, _PeerProcess(lambda: stub.serve(listener, routes))
    port = _free_port()
    if callable(start):
        server = _PeerProcess(lambda: start(port))
    elif isinstance(start, list | tuple) and start and all(isinstance(word, str) for word in start):
        words = [word.replace("{port}", str(port)) for word in start]
        if words == list(start):
            raise wrong("start", start, "a command with {port} where its port belongs")
        server = _PeerProcess(lambda: os.execvp(words[0], words))
    else:
        raise wrong("start", start, "a function that is given its port, a command, or routes of HTTP")
    _wait(name, port, server)
    return _LOCAL, port, server


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_LOCAL, 0))
        return int(probe.getsockname()[1])


def _wait(name: str, port: int, server: _PeerProcess) -> None:
    deadline = time.monotonic() + _READY
    while time.monotonic() < deadline and server.alive():
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex((_LOCAL, port)) == 0:
                return
        time.sleep(_SOON)
    said, ended = server.said(), not server.alive()
    server.end()
    how = "ended" if ended else f"did not listen within {_READY:g} s"
    raise UsageError(
        f"the server of peer {name!r} {how}; expected it to listen on {_LOCAL}, port {port}, which it is "
        f"given. {said}".strip()
    )
