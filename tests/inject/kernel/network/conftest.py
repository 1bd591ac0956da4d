"""Servers in processes beside the workload, and one run of the kernel backend that may talk to them."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chaoskit.session.peers import Peer, Peers


@pytest.fixture
def peers() -> Iterator[Peers]:
    """The servers of one test; all end with it."""
    made = Peers()
    yield made
    made.close()


@pytest.fixture
def talk(root: str, peers: Peers, run_below: Callable[[str, Peers], Any]) -> Any:
    """Run a workload below ``root``, which may talk to these servers."""
    return run_below(root, peers)


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
