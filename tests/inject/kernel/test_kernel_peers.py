"""The other ends of sockets: of every kind and family, by each of the two ways to ask the kernel."""

from __future__ import annotations

import os
import socket

import pytest

from chaoskit.inject.kernel.clock import peers, reach

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
        found = asked()
        connected, unacknowledged = found.connected, found.unacknowledged
        assert connected[inode(here)] == inode(there)
        assert connected[inode(there)] == inode(here)
        assert not {inode(here), inode(there)} & unacknowledged


@pytest.mark.parametrize(("server", "client", "options"), PAIRS)
def test_a_connection_leads_to_its_listener_until_it_is_accepted(asked, server, client, options):
    """It has no inode until then. Nor has what is left of one that was closed, which leads nowhere."""
    with listening(server, **options) as listener:
        address = client, listener.getsockname()[1]
        with socket.create_connection(address) as here:
            assert asked().connected[inode(here)] == inode(listener)
            with listener.accept()[0] as there:
                assert asked().connected[inode(here)] == inode(there)
            here.shutdown(socket.SHUT_WR)
            assert inode(here) not in asked().connected


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
            reaching = asked().reaching
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
        found = peers.unix_peers().connected
        assert found[inode(here)] == inode(there)
        assert found[inode(there)] == inode(here)


@pytest.mark.parametrize("kind", ["TCP", "UDP", "local"])
def test_who_listens_is_visited_by_those_whom_the_workload_has_met(kind, tmp_path):
    """Once it has waited for something outside, that may know where it listens."""
    family = socket.AF_UNIX if kind == "local" else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM if kind == "UDP" else socket.SOCK_STREAM) as one:
        one.bind(str(tmp_path / "socket") if kind == "local" else ("127.0.0.1", 0))
        if kind != "UDP":
            one.listen()
        for has_met in (False, True):
            seen = reach.Reach(ME, {ME}, (), {}, timed_sockets=False, known_outside=has_met)
            # Of the process that runs the tests: what else it has open and has started is of no interest.
            vars(seen).update(_others=[], _ours=set(), _inside={reach.link("self", one.fileno())})
            assert seen.outside("self", one.fileno()) is has_met


def inode(one: socket.socket) -> int:
    return os.fstat(one.fileno()).st_ino
