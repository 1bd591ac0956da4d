"""What outside the workload can end a wait: peers, terminals, locks of other processes, our pipes.

If a wait is not held by the supervisor, the kernel's clock is outside as well.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Collection, Mapping
from functools import cached_property

from chaoskit.inject import processes
from chaoskit.inject.kernel.clock.peers import InetPeers, UnixPeers, inet_peers, unix_peers

_ON_ONE = frozenset({0, 1, 17, 18, 19, 20, 42, 43, 44, 45, 46, 47, 288, 295, 296, 299, 307, 327, 328})
"""Calls that wait for a descriptor, their first argument: read, write, connect, accept, send … (x86-64)."""
_POLLS, _SELECTS, _EPOLLS = frozenset({7, 271}), frozenset({23, 270}), frozenset({232, 281, 441})
_LOCKS = frozenset({72, 73})  # fcntl, flock
# nanosleep, clock_nanosleep, and what a stop has interrupted.
_TIMED: dict[int, int | None] = dict.fromkeys((35, 230, 219))
# rt_sigtimedwait, ppoll; futex, semtimedop, epoll_pwait2, futex_waitv.
_TIMED |= dict.fromkeys((128, 271), 2) | dict.fromkeys((202, 220, 441, 449), 3)
# select, pselect6, mq_timedsend, mq_timedreceive, io_getevents, io_pgetevents, recvmmsg, futex_wait.
_TIMED |= dict.fromkeys((23, 270, 242, 243, 208, 333, 299, 455), 4)
"""Calls that end by themselves, each with the argument that says when unless it is NULL (x86-64)."""
_TIMED_IN_MS = {7: 2, 232: 3, 281: 3}  # poll, epoll_wait, epoll_pwait
_POLLED = struct.Struct("=ihH")
_EPOLL = "anon_inode:[eventpoll]"
_MEMBER = re.compile(rb"^tfd:\s*(\d+)", re.MULTILINE)
_NAMED = re.compile(r"(pipe|socket):\[(\d+)\]")


def link(pid: int | str, fd: int) -> str:
    """The file of a descriptor, as the kernel spells it; empty if it is not open."""
    try:
        return os.readlink(f"/proc/{pid}/fd/{fd}")
    except OSError:
        return ""


def ends_by_itself(number: int, args: tuple[int, ...]) -> bool:
    """True if a call that waits in the kernel has, or may have, a time-out there.

    Few have one: calls that are not held because they are rare or their caller cannot be inspected.
    """
    if number in _TIMED_IN_MS:
        return _signed(args[_TIMED_IN_MS[number]]) >= 0
    argument = _TIMED.get(number, -1)
    return argument is None or (argument >= 0 and args[argument] != 0)


class Reach:
    """What the processes ``pids`` share with nothing else, at one moment; ``main`` is the first of them.

    ``duplicates`` are this process's duplicates of some of their descriptors. ``relayed`` maps this process's
    relaying sockets to those whose data they pass on, or to None once they pass on nothing. With
    ``timed_sockets`` a wait at a socket may end by a time-out of that socket. ``known_outside`` is True if
    the workload has dealt with something outside, which may then also contact it unasked.
    """

    def __init__(
        self,
        main: int,
        pids: set[int],
        duplicates: Collection[int],
        relayed: Mapping[int, int | None],
        timed_sockets: bool,
        known_outside: bool = True,
    ) -> None:
        self._main = main
        self._pids = pids
        self._duplicates = duplicates
        self._relayed = relayed
        self._timed_sockets = timed_sockets
        self.known_outside = known_outside

    @cached_property
    def _inside(self) -> set[str]:
        """All files that the workload has open."""
        return {link(pid, fd) for pid in self._pids for fd in processes.open_files(pid)}

    @cached_property
    def _ours(self) -> set[str]:
        """All files that this process has open."""
        return {link("self", fd) for fd in processes.open_files() if fd not in self._duplicates}

    def wakes(self, pid: int, number: int, args: tuple[int, ...]) -> bool:
        """True if something outside, including real time, could end the call ``number`` of a process."""
        if ends_by_itself(number, args):
            return True
        if number in _ON_ONE:
            fd = _signed(args[0])
            timed = self._timed_sockets and link(pid, fd).startswith("socket:")
            return timed or self.outside(pid, fd)
        if number in _POLLS:
            data = self._memory(pid, args[0], min(args[1], 4096) * _POLLED.size)
            fds = [fd for fd, _, _ in _POLLED.iter_unpack(data[: len(data) // 8 * 8]) if fd >= 0]
            return any(self.outside(pid, fd) for fd in fds)
        if number in _SELECTS:
            return any(self.outside(pid, fd) for fd in self._selected(pid, args))
        if number in _EPOLLS:
            return self.outside(pid, _signed(args[0]))
        if number in _LOCKS:
            return self._locked_outside(pid)
        # Futexes, children, signals and queues all belong to the workload alone.
        return False

    def _selected(self, pid: int, args: tuple[int, ...]) -> list[int]:
        count = min(args[0], 1024)
        bits = 0
        for address in args[1:4]:
            if address:
                bits |= int.from_bytes(self._memory(pid, address, (count + 7) // 8), "little")
        return [fd for fd in range(count) if bits >> fd & 1]

    def _memory(self, pid: int, address: int, size: int) -> bytes:
        try:
            with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
                memory.seek(address)
                return memory.read(size)
        except (OSError, ValueError):
            return b""

    def outside(self, pid: int | str, fd: int) -> bool:
        """True if something outside the workload could make a descriptor ready."""
        name = link(pid, fd)
        if name.startswith(_EPOLL):
            return any(self.outside(one, member) for one, member in self._members(pid, fd))
        if not name or name.startswith("anon_inode:"):
            return False
        found = _NAMED.fullmatch(name)
        if found is None:
            return self._file_outside(pid, fd)
        if found[1] == "pipe":
            # Other children of this process may hold the other end of what the workload inherited.
            return name in self._ours or any(self._may_hold(other, name) for other in self._others)
        return self._socket_outside(int(found[2]))

    @cached_property
    def _others(self) -> list[int]:
        """Other children of this process, without our own helpers."""
        return [pid for pid in processes.children() - self._pids if not _is_helper(pid)]

    def _may_hold(self, pid: int, name: str) -> bool:
        """True if a process, or one below it, has that file open, or if that cannot be known."""
        if _is_helper(pid):
            return False
        try:
            numbers = os.listdir(f"/proc/{pid}/fd")
        except (FileNotFoundError, ProcessLookupError):
            return False
        except OSError:
            return True
        below = processes.children(pid) - self._pids
        return any(link(pid, int(fd)) == name for fd in numbers) or any(
            self._may_hold(one, name) for one in below
        )

    def _members(self, pid: int | str, fd: int) -> list[tuple[int | str, int]]:
        """The members of an epoll descriptor."""
        members = _MEMBER.findall(processes.read(f"/proc/{pid}/fdinfo/{fd}"))
        # A member is listed by its number in the process that added it, which may be any of them.
        owners = self._pids if pid == "self" else (pid,)
        return [(one, int(member)) for one in owners for member in members]

    def silent(self, pid: int | str, fd: int) -> bool:
        """True if a descriptor is a connection that a fault has silenced."""
        name = link(pid, fd)
        if name.startswith(_EPOLL):
            members = [one for one in self._members(pid, fd) if link(*one)]
            return bool(members) and all(self.silent(*one) for one in members)
        found = _NAMED.fullmatch(name)
        if found is None or found[1] != "socket":
            return False
        connected, reaching = self._peers
        inode = int(found[2])
        peer = connected.get(inode)
        if peer is not None:
            return peer in self._relayed and self._relayed[peer] is None
        # It is being connected to a listener of ours that accepts nothing.
        return f"socket:[{reaching.get(inode)}]" in self._ours

    def _file_outside(self, pid: int | str, fd: int) -> bool:
        """True for terminals, other devices and named pipes, which any process may open."""
        try:
            mode = os.stat(f"/proc/{pid}/fd/{fd}").st_mode
        except OSError:
            return False
        return mode & 0o170000 in (0o020000, 0o010000)

    def _socket_outside(self, inode: int) -> bool:
        """True if a socket's other end is outside or unknown, or if it is open to something outside."""
        if inode in self._inet.open or inode in self._unix.open:
            return self._may_be_visited
        leads = self._leads_outside(inode)
        self.known_outside |= leads is True
        return leads is not False

    def _leads_outside(self, inode: int) -> bool | None:
        """True if what a socket is connected to, or connecting to, is outside; None if that is not known."""
        connected, reaching = self._peers
        peer = connected.get(inode)
        if peer is not None and peer in self._relayed:
            # A relay of ours: what matters is the socket beyond it, unless it passes on nothing any more.
            beyond = self._relayed[peer]
            if beyond is None:
                return False
            peer = connected.get(beyond, 0)
        if peer == 0:
            return None  # Its other end is gone.
        if peer is not None:
            return f"socket:[{peer}]" not in self._inside
        if inode in self._inet.abroad:
            return True
        if inode not in reaching:
            return None
        # Ours are a name server and a listener that accepts nothing: what they will do is scheduled.
        name = f"socket:[{reaching[inode]}]"
        return name not in self._inside and name not in self._ours

    @cached_property
    def _may_be_visited(self) -> bool:
        """True if something outside may know where the workload listens or waits for datagrams.

        These are other children of this process, such as peers, and whatever the workload talks to or has
        waited for. The rest of the machine does not contact a program in a test: if a server and all its
        clients belong to the workload, their time is virtual.
        """
        return self.known_outside or bool(self._others) or self._talks

    @property
    def _talks(self) -> bool:
        """True if a socket of the workload leads outside. This process does not count: it only answers.

        The sockets that it shares with this process were only inherited. They count once it waits for one.
        """
        connected, _ = self._peers
        for one in filter(None, map(_NAMED.fullmatch, self._inside - self._ours)):
            inode = int(one[2])
            is_ours = (
                f"socket:[{connected.get(inode)}]" in self._ours and connected[inode] not in self._relayed
            )
            if one[1] == "socket" and not is_ours and self._leads_outside(inode):
                return True
        return False

    @cached_property
    def _inet(self) -> InetPeers:
        return inet_peers(self._main)

    @cached_property
    def _unix(self) -> UnixPeers:
        return unix_peers()

    @cached_property
    def _peers(self) -> tuple[dict[int, int], dict[int, int]]:
        """By inode, the peers of connected sockets, and those of sockets that are being connected."""
        return {**self._unix.connected, **self._inet.connected}, self._inet.reaching

    def leading_inside(self, sockets: set[int]) -> set[int]:
        """Those of ``sockets`` whose other ends belong to the workload."""
        connected, _ = self._peers
        return {inode for inode in sockets if f"socket:[{connected.get(inode)}]" in self._inside}

    @property
    def undelivered(self) -> bool:
        """True if data sent by the workload has not arrived, or cannot arrive.

        A busy kernel delivers late even on loopback, and until then all threads may sleep.
        """
        return any(f"socket:[{inode}]" in self._inside for inode in self._inet.unacknowledged)

    def _locked_outside(self, pid: int) -> bool:
        """True if a process waits for a lock that is held outside the workload."""
        holder = None
        for line in processes.read("/proc/locks").decode().splitlines():
            fields = line.split()
            if fields[1] != "->":
                holder = int(fields[4])
            elif int(fields[5]) == pid and holder is not None:
                return holder > 0 and holder not in self._pids
        return False


def _is_helper(pid: int) -> bool:
    """True for a process of ours beside the workload: it holds the ends of many pipes, and writes to none."""
    return processes.read(f"/proc/{pid}/comm").startswith(b"chaoskit")


def _signed(word: int) -> int:
    word &= 0xFFFFFFFF
    return word - (1 << 32) if word >> 31 else word
