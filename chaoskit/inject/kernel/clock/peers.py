"""The other ends of this machine's sockets, as the kernel reports them: sock_diag(7).

The kernel is asked whenever all threads of a workload sleep, and this interface answers four times as fast as
the tables of proc(5). Those are read only if it does not answer, or for a network namespace other than ours.
"""

from __future__ import annotations

import os
import re
import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

from chaoskit.inject import processes

__all__ = ["InetPeers", "UnixPeers", "inet_peers", "unix_peers"]

_DIAG = 4  # NETLINK_SOCK_DIAG
_HEADER = struct.Struct("=IHHII")
_SOCK_DIAG_BY_FAMILY, _DUMP = 20, 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_ERROR, _DONE = 2, 3
_UNIX = struct.Struct("=BBHIIIII")
# UDIAG_SHOW_PEER with UNIX_DIAG_PEER, and UDIAG_SHOW_ICONS with UNIX_DIAG_ICONS (linux/unix_diag.h).
_SHOW_PEER, _PEER, _SHOW_WAITING, _WAITING = 4, 2, 8, 3
_INET = struct.Struct("=BBBBI48x")
# struct inet_diag_msg: family, state; ports, addresses; what is not acknowledged; inode.
_ANSWER = struct.Struct("=BB2x2s2s16s16s12x8xI4xI")
_EVERY_STATE = 0xFFFFFFFF


class UnixPeers(NamedTuple):
    """Local sockets by inode: ``connected`` has the other ends, ``open`` those that wait for connections.

    Until a connection is accepted, its other end is the listening socket.
    """

    connected: dict[int, int]
    open: set[int]


def unix_peers() -> UnixPeers:
    """The local sockets of the whole machine."""
    found = UnixPeers({}, set())
    show = _SHOW_PEER | _SHOW_WAITING
    asked = _UNIX.pack(socket.AF_UNIX, 0, 0, _EVERY_STATE, 0, show, _EVERY_STATE, _EVERY_STATE)
    waiting: dict[int, int] = {}
    for message in _answers(asked):
        state, inode = struct.unpack_from("=xxBxI", message)
        if state == _LISTENS:
            found.open.add(inode)
        attributes = message[16:]
        while len(attributes) >= 4:
            length, kind = struct.unpack_from("=HH", attributes)
            if kind == _PEER and length >= 8:
                (found.connected[inode],) = struct.unpack_from("=I", attributes, 4)
            elif kind == _WAITING:
                clients = struct.unpack_from(f"={(length - 4) // 4}I", attributes, 4)
                waiting |= dict.fromkeys(clients, inode)
            attributes = attributes[max(4, (length + 3) & ~3) :]
    found.connected.update(waiting)
    return found


def _answers(asked: bytes) -> Iterator[bytes]:
    """The messages that the kernel sends for one request.

    Raises:
        OSError: if it does not know the protocol. Its module may be missing.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _DIAG) as connection:
        connection.send(_HEADER.pack(_HEADER.size + len(asked), _SOCK_DIAG_BY_FAMILY, _DUMP, 1, 0) + asked)
        while True:
            data = connection.recv(1 << 18)
            while len(data) >= _HEADER.size:
                length, kind, *_ = _HEADER.unpack_from(data)
                if kind == _DONE or length < _HEADER.size:
                    return
                if kind == _ERROR:
                    (number,) = struct.unpack_from("=i", data, _HEADER.size)
                    raise OSError(-number, os.strerror(-number))
                yield data[_HEADER.size : length]
                data = data[(length + 3) & ~3 :]


_End: TypeAlias = tuple[bytes, int]
"""Address and port."""
_SYN_SENT, _TIME_WAIT, _LISTENS = 2, 6, 10  # include/net/tcp_states.h
_ENDED = frozenset({7, 8, 9, 11})  # CLOSE, CLOSE_WAIT, LAST_ACK, CLOSING: the other end sends no more
_NOT_ACCEPTED = frozenset({1, 3, 8})
"""ESTABLISHED, SYN_RECV, CLOSE_WAIT: without an inode, such a connection is still in its listener's queue."""
_ANY = {4: bytes(4), 16: bytes(16)}
_MAPPED = bytes(10) + b"\xff\xff"
"""How an IPv6 address begins that stands for an IPv4 address (RFC 4291, 2.5.5.2)."""


class _Row(NamedTuple):
    """One socket: its ends, its state, how many of the bytes it sent are not acknowledged, and its inode."""

    local: _End
    remote: _End
    state: int
    unacknowledged: int
    inode: int


class InetPeers(NamedTuple):
    """The other ends of TCP and UDP sockets, by inode, if both ends are on this machine.

    ``connected`` has the peers of connections; until one is accepted, that is the listening socket.
    ``reaching`` has the listening socket of a connection that is being made, and for a UDP socket the one
    bound to the address that it sends to. ``open`` are the sockets that anything may contact, ``abroad``
    those whose other end is not here, ``unacknowledged`` those whose data has not all arrived.
    """

    connected: dict[int, int]
    reaching: dict[int, int]
    open: set[int]
    abroad: set[int]
    unacknowledged: set[int]


def inet_peers(pid: int) -> InetPeers:
    """The TCP and UDP sockets that the process ``pid`` can see."""
    ends: dict[tuple[_End, _End], int] = {}
    bound: dict[tuple[bool, _End], int] = {}
    reaching: dict[int, tuple[bool, _End]] = {}
    waiting: set[int] = set()
    talking: set[int] = set()
    unacknowledged: set[int] = set()
    queued: list[_Row] = []
    for udp, row in _rows(pid):
        if not row.inode:
            queued.append(row)
        elif udp or row.state in (_SYN_SENT, _LISTENS):
            bound[udp, row.local] = row.inode
            # A socket that is not connected has no port at the other end.
            if row.remote[1]:
                reaching[row.inode] = udp, row.remote
            else:
                waiting.add(row.inode)
        else:
            ends[row.local, row.remote] = row.inode
            if row.state not in _ENDED:
                talking.add(row.inode)
            if row.unacknowledged:
                unacknowledged.add(row.inode)
    for row in queued:
        if listener := _at(bound, False, row.local):
            ends[row.local, row.remote] = listener
    connected = {inode: ends[b, a] for (a, b), inode in ends.items() if (b, a) in ends}
    on_their_way = {inode: there for inode, goal in reaching.items() if (there := _at(bound, *goal))}
    abroad = {*talking, *reaching} - connected.keys() - on_their_way.keys()
    return InetPeers(connected, on_their_way, waiting, abroad, unacknowledged)


def _at(bound: dict[tuple[bool, _End], int], udp: bool, end: _End) -> int | None:
    """The socket bound to an address, or to its port at all addresses of this family or of both."""
    address, port = end
    for one in (address, _ANY[len(address)], _ANY[16]):
        if found := bound.get((udp, (one, port))):
            return found
    return None


_IN_USE = re.compile(rb"^(TCP|UDP)(6?): inuse [1-9]", re.MULTILINE)


def _rows(pid: int) -> Iterator[tuple[bool, _Row]]:
    """All sockets that matter, each with True if it is one of UDP.

    Kinds that are not in use are skipped: an empty table takes the kernel as long to walk as a full one, some
    hundred thousand places, while counting the sockets costs nothing.
    """
    ours = _namespace("self") is not None and _namespace("self") == _namespace(str(pid))
    for counted in ("sockstat", "sockstat6"):
        for kind, six in _IN_USE.findall(processes.read(f"/proc/{pid}/net/{counted}")):
            udp = kind == b"UDP"
            try:
                found = list(_told(udp, six)) if ours else None
            except OSError:
                found = None
            rows = _written(pid, f"{kind.decode().lower()}{six.decode()}") if found is None else found
            # Closed connections leave entries in the table that are not sockets any more, and a busy machine
            # has thousands of them.
            yield from ((udp, row) for row in rows if row.inode or row.state in _NOT_ACCEPTED)


def _namespace(process: str) -> int | None:
    try:
        return os.stat(f"/proc/{process}/ns/net").st_ino
    except OSError:
        return None


def _told(udp: bool, six: bytes) -> Iterator[_Row]:
    family = socket.AF_INET6 if six else socket.AF_INET
    states = _EVERY_STATE & ~(1 << _TIME_WAIT)
    asked = _INET.pack(family, socket.IPPROTO_UDP if udp else socket.IPPROTO_TCP, 0, 0, states)
    size = 16 if six else 4
    for message in _answers(asked):
        _, state, port, to_port, source, to, unacknowledged, inode = _ANSWER.unpack_from(message)
        local = _plain(source[:size]), int.from_bytes(port, "big")
        remote = _plain(to[:size]), int.from_bytes(to_port, "big")
        yield _Row(local, remote, state, unacknowledged, inode)


def _written(pid: int, table: str) -> Iterator[_Row]:
    """The same rows, from a table of proc(5)."""
    try:
        with open(f"/proc/{pid}/net/{table}") as file:
            lines = file.readlines()[1:]
    except OSError:
        return
    for line in lines:
        _, local, remote, state, queues, _, _, _, _, inode, *_ = line.split()
        unacknowledged = int(queues.partition(":")[0], 16)
        yield _Row(_end(local), _end(remote), int(state, 16), unacknowledged, int(inode))


def _end(text: str) -> _End:
    address, _, port = text.partition(":")
    words = [int(address[i : i + 8], 16) for i in range(0, len(address), 8)]
    return _plain(struct.pack(f"={len(words)}I", *words)), int(port, 16)


def _plain(address: bytes) -> bytes:
    """Unwrap an IPv4 address that is mapped into IPv6: the other end may be an IPv4 socket."""
    return address[12:] if address.startswith(_MAPPED) else address
