"""Lets the faults of a network strike a small client on this machine."""

from __future__ import annotations

import errno
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from chaoskit.core.schedule import Schedule
from chaoskit.doctor.diagnosis import Item
from chaoskit.inject import processes
from chaoskit.inject.base import Backend, PeerAddress, Plan, Ran
from chaoskit.inject.leftovers import scratch

AREA = "network"
_NAME = "peer.example"


@dataclass(frozen=True, slots=True)
class Exchange:
    """A schedule and its required outcome; an empty schedule is a run without faults."""

    name: str
    schedule: str
    judge: Callable[[Ran], bool]
    hint: str


def _failed(ran: Ran, number: int) -> bool:
    return isinstance(ran.error, OSError) and ran.error.errno == number


EXCHANGES = (
    Exchange(
        "the relay",
        "",
        lambda ran: ran.value == (b"PING", True),
        "Loopback must be up: ip link set lo up. A firewall must let 127.0.0.0/8 through.",
    ),
    Exchange(
        "a name that does not resolve",
        f"dns({_NAME}/A)#1=NXDOMAIN",
        lambda ran: isinstance(ran.error, socket.gaierror),
        "'hosts:' in /etc/nsswitch.conf must have 'dns', and /etc/hosts must not have the names of peers.",
    ),
    Exchange(
        "a refused connection",
        f"connect({_NAME}:7)#1=ECONNREFUSED",
        lambda ran: _failed(ran, errno.ECONNREFUSED),
        "pidfd_getfd must be allowed; a container's seccomp profile may forbid it.",
    ),
    Exchange(
        "a lost answer",
        f"exchange({_NAME})#1=reset[0]",
        lambda ran: _failed(ran, errno.ECONNRESET) and len(ran.requests) == 1,
        "Resets must get through on loopback: see the firewall.",
    ),
)


def exchanges(backend: Backend) -> Iterator[Item]:
    """Try each exchange, with a server in another process."""
    try:
        with _server() as port:
            yield from (_attempt(backend, one, port) for one in EXCHANGES)
    except OSError as error:
        hint = "Loopback must be up: ip link set lo up."
        yield Item(AREA, "a server on this machine", "no", f"{type(error).__name__}: {error}", hint)


def client() -> tuple[bytes, bool]:
    """Send one request; return the answer, and whether the socket shows the address that was requested."""
    with socket.socket() as sock:
        sock.settimeout(5)
        # Use bytes: for text Python loads a codec, which costs more than everything else here.
        address = socket.getaddrinfo(_NAME.encode(), 7, socket.AF_INET, socket.SOCK_STREAM)[0][4]
        sock.connect(address)
        sock.sendall(b"ping")
        return sock.recv(4), sock.getpeername() == address


def _attempt(backend: Backend, one: Exchange, port: int) -> Item:
    with scratch() as root:
        strikes = Schedule.parse(one.schedule).strikes
        peers = (PeerAddress(_NAME, "127.0.0.1", port),)
        plan = Plan(root, strikes=strikes, timeout=10.0, peers=peers)
        try:
            ran = backend.run(client, plan)
        except Exception as error:  # any error is what the user came to see
            return Item(AREA, one.name, "no", f"{type(error).__name__}: {error}", one.hint)
    if len(ran.receipts) != len(strikes):
        return Item(AREA, one.name, "no", f"{one.schedule} did not strike: {ran.error!r}", one.hint)
    if not one.judge(ran):
        return Item(AREA, one.name, "no", f"the client got {ran.value!r}, {ran.error!r}", one.hint)
    return Item(AREA, one.name, "ok", one.schedule or "a client got its answer, and sees the peer's address")


@contextmanager
def _server() -> Iterator[int]:
    """A server that answers in capitals, until the end of the block."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        pid = processes.fork()
        if pid == 0:
            _serve(listener)
    try:
        yield port
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _serve(listener: socket.socket) -> None:
    try:
        while True:
            connection, _ = listener.accept()
            with connection:
                try:
                    connection.sendall(connection.recv(100).upper())
                except OSError:
                    continue
    finally:
        os._exit(0)
