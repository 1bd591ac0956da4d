"""Names and connections of a workload that talks to declared peers, in Python's ``socket`` module.

The name of a peer resolves to the address where that peer really listens; no other name exists, and no
other machine is reached, as with the kernel backend. C libraries resolve and connect on their own.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, NoReturn

from chaoskit.core.operation import NetworkDetail
from chaoskit.inject.inprocess import answers, bindings, listening
from chaoskit.inject.inprocess.call import PythonCall
from chaoskit.inject.inprocess.files import Args, Original, Words
from chaoskit.inject.inprocess.run import WatchedRun
from chaoskit.inject.inprocess.wrapping import Interception


def replaced(run: WatchedRun) -> Callable[[], object]:
    """Let ``run`` see name look-ups and connections; return a function that undoes it."""
    connections = _DeclaredPeers(run)
    run.connections = connections
    # On a real disk getaddrinfo is one of the functions that are searched once for all runs.
    names = {socket.getaddrinfo: Interception(socket.getaddrinfo, asked)} if run.machine.in_memory else {}
    at_end = ExitStack()
    at_end.callback(connections.close)
    at_end.callback(listening.replaced(connections.streams, run))
    at_end.callback(bindings.replaced(names) if names else bool)
    # Both are inherited from a C class, whose attributes cannot be set.
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex

    def connecting(sock: Any, address: Any) -> Any:
        return connections.made(sock, address, connect)

    def connecting_ex(sock: Any, address: Any) -> Any:
        try:
            return connections.made(sock, address, connect_ex)
        except OSError as error:
            return error.errno

    for name, function in (("connect", connecting), ("connect_ex", connecting_ex)):
        setattr(socket.socket, name, function)

    def undo() -> None:
        at_end.close()
        for name in ("connect", "connect_ex"):
            delattr(socket.socket, name)

    return undo


def asked(run: WatchedRun, original: Original, args: Args, words: Words) -> PythonCall | None:
    """A name look-up, if those are seen; see :class:`_DeclaredPeers`."""
    return None if run.connections is None else run.connections.asked(original, args, words)


class _DeclaredPeers:
    """The peer of an address, once its name was looked up.

    With hand-picked faults and no declared peers every name and address stands for itself.
    """

    def __init__(self, run: WatchedRun) -> None:
        self._run = run
        self._peers = {peer.name: peer for peer in run.plan.peers}
        self._names: dict[tuple[str, int], str] = {}
        self._holes: list[socket.socket] = []
        self.streams = listening.PeerStreams(run)

    def close(self) -> None:
        """The run is over."""
        for one in self._holes:
            one.close()

    def asked(self, original: Original, args: Args, words: Words) -> PythonCall | None:
        """A name look-up; None for an address, or the name of this machine."""
        rest = dict(zip(("host", "port", "family", "type", "proto", "flags"), args, strict=False)) | words
        host, port = rest.pop("host", None), rest.pop("port", None)
        host = host.decode() if isinstance(host, bytes) else host
        if not isinstance(host, str) or host in ("", "localhost") or _is_address(host):
            return None
        peer = self._peers.get(host)
        if peer is None and not self._peers:
            return PythonCall(
                *("dns", f"{host}/A", "getaddrinfo", lambda: self._found(host, original(host, port, **rest))),
                lambda: NetworkDetail(host),
                result=len,
            )
        if peer is None:
            return PythonCall("", "", "getaddrinfo", lambda: self._unknown(host), NetworkDetail)
        self._names[peer.host, peer.port] = f"{host}:{port}"

        def do() -> Any:
            return original(peer.host, peer.port, **rest)

        detail = NetworkDetail(host)
        return PythonCall("dns", f"{host}/A", "getaddrinfo", do, lambda: detail, result=len)

    def made(self, sock: Any, address: Any, original: Callable[..., Any]) -> Any:
        """Connect ``sock``, or do what a strike does to it.

        Raises:
            OSError: that of the connection or of a strike; also for a machine that is not a declared peer.
        """
        if self._run.passes() or sock.family not in (socket.AF_INET, socket.AF_INET6):
            return original(sock, address)
        host, port = address[:2]
        target = self._names.get((host, port), f"{host}:{port}")
        if (
            self._peers
            and target == f"{host}:{port}"
            and not (_is_address(host) and ipaddress.ip_address(host).is_loopback)
        ):
            self._caveat(target)
            raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))
        detail = NetworkDetail(target.rpartition(":")[0])

        call = PythonCall("connect", target, "connect", bool, lambda: detail)
        call.do = lambda: self._begun(sock, address, target, original)
        call.result = lambda number: -(number or 0)
        call.silence = lambda: self._into_silence(sock, original)
        call.timeout = sock.gettimeout()
        return self._run.make(call)

    def _begun(self, sock: Any, address: Any, target: str, original: Callable[..., Any]) -> Any:
        if target.rpartition(":")[0] in self.streams.silenced:
            if sock.gettimeout() == 0:
                return self._into_silence(sock, original)
            if sock.gettimeout() is None:
                self._run.hang()
            raise TimeoutError("timed out")
        try:
            number = original(sock, address)
        except BlockingIOError:
            # It continues in the background (connect(2), EINPROGRESS).
            self.streams.opened(sock, target)
            raise
        if number in (None, 0, errno.EINPROGRESS):
            self.streams.opened(sock, target)
        return number

    def _into_silence(self, sock: Any, original: Callable[..., Any]) -> Any:
        """Connect to something that never answers: a listener whose queue is full (listen(2))."""
        local = "127.0.0.1" if sock.family == socket.AF_INET else "::1"
        hole, filler = socket.socket(sock.family), socket.socket(sock.family)
        self._holes += [hole, filler]
        hole.bind((local, 0))
        hole.listen(0)
        filler.connect(hole.getsockname())
        return original(sock, hole.getsockname())

    def _found(self, host: str, found: Any) -> Any:
        for *_, address in found:
            self._names[address[:2]] = f"{host}:{address[1]}"
        return found

    def _unknown(self, host: str) -> NoReturn:
        self._caveat(host)
        raise socket.gaierror(*answers.NAMES["NXDOMAIN"])

    def _caveat(self, name: str) -> None:
        text = f"{name} is not reached, since no peer stands for it; declare it with chaos.peer"
        self._run.caveat("undeclared", name, text)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
