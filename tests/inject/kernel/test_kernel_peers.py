"""The other ends of sockets: of every kind and family, by each of the two ways to ask the kernel."""

from __future__ import annotations

import os
import socket

import pytest

from chaoskit.inject.kernel.clock import peers

ME = os.getpid()


@pytest.fixture(params=["sock_diag", "proc"])
def asked(request, monkeypatch):
    """``peers.inet_peers`` of this process, by netlink and where that does not answer."""
    if request.param == "proc":
        monkeypatch.setattr(peers, "_answers", refusing)
    return lambda: peers.inet_peers(os.getpid())


def refusing(request: bytes):
    raise FileNotFoundError(2, "No such file or directory")


def listening(host: str, **more):
    try:
        return socket.create_server(
            (host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET, **more
        )
    except OSError:
        pytest.skip(f"{host} is not to be had here")


# Where it listens, and by which address a client comes: one server in two takes both families.
PAIRS = [
    ("127.0.0.1", "127.0.0.1", {}),
    ("0.0.0.0", "127.0.0.1", {}),
    ("::1", "::1", {}),
    ("::", "::1", {}),
    ("::", "127.0.0.1", {"dualstack_ipv6": True}),
    ("::", "::ffff:127.0.0.1", {"dualstack_ipv6": True}),
]


@pytest.mark.parametrize(("server", "client", "options"), PAIRS)
def test_both_ends_of_a_connection_know_each_other(asked, server, client, options):
    """Also where one is of IPv4 and the other has its address as one of IPv6."""
    with (
        listening(server, **options) as listener,
        socket.create_connection((client, listener.getsockname()[1])) as here,
        listener.accept()[0] as there,
    ):
        connected, _, unacknowledged = asked()
        assert connected[inode(here)] == inode(there)
        assert connected[inode(there)] == inode(here)
        assert not {inode(here), inode(there)} & unacknowledged


@pytest.mark.parametrize(("server", "client", "options"), PAIRS)
def test_a_datagram_socket_reaches_what_is_bound_there(asked, server, client, options):
    """By the address itself, or by the one that stands for all."""
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    with listening(server), socket.socket(family, socket.SOCK_DGRAM) as there:
        if options:
            there.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        there.bind((server, 0))
        with socket.socket(socket.AF_INET6 if ":" in client else socket.AF_INET, socket.SOCK_DGRAM) as here:
            here.connect((client, there.getsockname()[1]))
            assert asked().reaching[inode(here)] == inode(there)


def test_one_that_is_not_connected_reaches_none(asked):
    """Anyone may send to it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here:
        here.bind(("127.0.0.1", 0))
        assert inode(here) not in asked().reaching


def test_a_connection_under_way_reaches_the_listener(asked):
    """The listener takes no more: the first waits in its queue, the next is not answered."""
    with listening("127.0.0.1", backlog=0) as listener:
        waiting = [socket.socket() for _ in range(4)]
        try:
            for one in waiting:
                one.setblocking(False)
                one.connect_ex(listener.getsockname())
            _, reaching, _ = asked()
            assert inode(waiting[-1]) in reaching
            assert {reaching[inode(one)] for one in waiting if inode(one) in reaching} == {inode(listener)}
        finally:
            for one in waiting:
                one.close()


def test_another_namespace_is_read_from_its_tables(monkeypatch):
    """What netlink says is of the namespace of the process that asks."""
    monkeypatch.setattr(peers, "_namespace", {"self": 1, str(ME): 2}.get)
    monkeypatch.setattr(peers, "_answers", lambda request: pytest.fail("the wrong namespace was asked"))
    with (
        listening("127.0.0.1") as listener,
        socket.create_connection(listener.getsockname()) as here,
        listener.accept()[0] as there,
    ):
        assert peers.inet_peers(ME).connected[inode(here)] == inode(there)


def test_ends_of_local_sockets_know_each_other():
    here, there = socket.socketpair()
    with here, there:
        found = peers.unix_peers()
        assert found[inode(here)] == inode(there)
        assert found[inode(there)] == inode(here)


def inode(one: socket.socket) -> int:
    return os.fstat(one.fileno()).st_ino
