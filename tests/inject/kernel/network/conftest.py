"""Servers in processes beside the workload, and one run of the kernel backend that may talk to them."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import pytest

from chaoskit.core.schedule import Schedule
from chaoskit.inject.base import Command, PeerAddress, Plan, Ran
from chaoskit.inject.kernel import KernelBackend
from chaoskit.session.peers import Peer, Peers


class Talk(Protocol):
    """Runs ``work`` below the fixture ``root``, with the servers that were declared."""

    def __call__(
        self,
        work: Callable[[], Any] | Command,
        schedule: str = "",
        *,
        record: bool = False,
        timeout: float = 20.0,
    ) -> Ran: ...


@pytest.fixture
def peers() -> Iterator[Peers]:
    """The servers of one test; all end with it."""
    made = Peers()
    yield made
    made.close()


@pytest.fixture
def talk(root: str, peers: Peers) -> Talk:
    """One run with these servers."""
    backend = KernelBackend()

    def run(
        work: Callable[[], Any] | Command,
        schedule: str = "",
        *,
        record: bool = False,
        timeout: float = 20.0,
    ) -> Ran:
        strikes = Schedule.parse(schedule).strikes
        addresses: tuple[PeerAddress, ...] = peers.addresses
        return backend.run(work, Plan(root, 1, record, strikes, timeout=timeout, peers=addresses))

    return run


@pytest.fixture
def lines(peers: Peers) -> Peer:
    """A server of no known protocol: it greets, and answers each line with the line in capitals."""
    return peers.add("db.example", None, _capitals)


def _capitals(port: int) -> None:
    listener = socket.create_server(("127.0.0.1", port))
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            with connection.makefile("rwb") as stream:
                for line in stream:
                    stream.write(line.upper())
                    stream.flush()
            os._exit(0)
        connection.close()
