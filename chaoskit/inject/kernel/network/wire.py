"""One side of a relayed connection, which never blocks and keeps as little data as possible."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from functools import partial

from chaoskit.inject.kernel.network import sockets
from chaoskit.inject.kernel.poller import Poller

MOST = 1 << 20
"""Bytes that may wait for one side; beyond that the other side is not read, as real back-pressure."""
_LITTLE, _MUCH = 1 << 14, 1 << 18
"""Bytes that are read at once. A large buffer comes from the kernel and goes back to it, which takes eight
times as long as reading a small message."""
_SOON = 0.0005
"""Seconds between two checks whether everything sent was acknowledged."""


class Sockets:
    """The sockets of all connections, which the run's poller watches and :meth:`turn` checks at once."""

    def __init__(self, poller: Poller) -> None:
        self.poller = poller
        self._now = select.poll()
        self._ready: dict[int, Callable[[int], object]] = {}
        self._busy = False

    def expect(self, fd: int, events: int, ready: Callable[[int], object]) -> None:
        """Call ``ready`` at any of ``events``; without events stop that."""
        if events:
            self._ready[fd] = ready
            self._now.register(fd, events)
            self.poller.expect(fd, events, partial(self._see_to, fd))
        elif self._ready.pop(fd, None) is not None:
            self._now.unregister(fd)
            self.poller.forget(fd)

    def turn(self, wait: float = 0.0) -> bool:
        """Handle everything that has happened; True if there was something."""
        # Not within a message: its operation is just beginning, which may lead here.
        if self._busy or not self._ready:
            return False
        found = self._now.poll(wait * 1000)
        # An earlier event may have closed this socket.
        for fd, events in found:
            self._see_to(fd, events)
        return bool(found)

    def _see_to(self, fd: int, events: int) -> None:
        ready = self._ready.get(fd)
        if ready is None:
            return
        before, self._busy = self._busy, True
        try:
            ready(events)
        finally:
            self._busy = before


class Wire:
    """A socket and the data that waits to be sent to it.

    ``got`` is called with data from it, ``over`` at the end of its data, ``broken`` when the connection was
    reset. The connection that owns the wire sets them.
    """

    def __init__(self, sock: socket.socket, around: Sockets) -> None:
        sock.setblocking(False)
        # Otherwise a small answer would wait for an acknowledgement that we delay (RFC 896).
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.got: Callable[[bytes], object] = bytes
        self.over: Callable[[], object] = bool
        self.broken: Callable[[], object] = bool
        self.drained: Callable[[], object] = bool
        """Called when all waiting data was sent."""
        self._round = around
        self._queue = bytearray()
        self._at_once = _LITTLE
        self._no_more = False
        self.ended = False
        """True if it has sent the end of its data."""
        self.shut = False
        """True if the end of our data was sent to it."""
        self.gone = False
        self.reading = True

    @property
    def waiting(self) -> int:
        """How many bytes wait to be sent."""
        return len(self._queue)

    def watch(self) -> None:
        """Watch the events that matter now."""
        if self.gone:
            return
        # Never for a hang-up alone, which poll(2) would report forever.
        wants = (select.POLLIN if self.reading and not self.ended else 0) | (
            select.POLLOUT if self._queue else 0
        )
        self._round.expect(self.sock.fileno(), wants, self._happened)

    def read(self, reading: bool) -> None:
        """Continue or stop reading from it."""
        if self.reading != reading:
            self.reading = reading
            self.watch()

    def send(self, data: bytes) -> None:
        """Send now, or when there is room."""
        if self.gone or self._no_more:
            return
        if not self._queue:
            # Nearly always there is room, and nothing has to be kept.
            try:
                done = self.sock.send(data)
            except OSError:
                done = 0
            if done == len(data):
                return
            data = data[done:]
        self._queue += data
        self._flush()
        self.watch()

    def finish(self) -> None:
        """Send the end of the data after the rest."""
        self._no_more = True
        self._flush()

    def close(self) -> None:
        """Close at once, normally."""
        self._leave(lambda sock: sock.close())

    def reset(self) -> None:
        """Close at once, with a reset."""
        self._leave(sockets.reset)

    def when_acknowledged(self, then: Callable[[], object]) -> None:
        """Call ``then`` when everything sent has arrived: a reset would discard the rest."""
        if self.gone or not (self._queue or sockets.unsent(self.sock)):
            then()
        else:
            self._round.poller.later(_SOON, partial(self.when_acknowledged, then))

    def _leave(self, how: Callable[[socket.socket], object]) -> None:
        if not self.gone:
            self._round.expect(self.sock.fileno(), 0, self._happened)
            self.gone = True
            how(self.sock)

    def _happened(self, events: int) -> None:
        if events & select.POLLOUT:
            self._flush()
            self.watch()
        # A hang-up counts too: after the remaining data comes the error, or the end.
        if self.gone or not events & ~select.POLLOUT:
            return
        try:
            data = self.sock.recv(self._at_once)
        except BlockingIOError:
            return
        except OSError:
            self.broken()
            return
        if data:
            # A full buffer means that more may have come.
            self._at_once = _MUCH if len(data) >= _LITTLE else _LITTLE
            # Acknowledge at once: the sender's kernel may hold its next small message back for that (RFC
            # 896), for 40 ms while all seems to sleep and time would be skipped.
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            self.got(data)
            return
        self.ended = True
        self.watch()
        self.over()

    def _flush(self) -> None:
        # Tell the owner only if there was a queue.
        had = bool(self._queue)
        try:
            while self._queue and not self.gone:
                done = self.sock.send(self._queue)
                del self._queue[:done]
        except BlockingIOError:
            return
        except OSError:
            # It closed without reading everything, which is the same as a reset by it.
            self._queue.clear()
            self.broken()
            return
        if self._no_more and not self.shut and not self.gone:
            self.shut = True
            try:
                self.sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass
        if had:
            self.drained()
