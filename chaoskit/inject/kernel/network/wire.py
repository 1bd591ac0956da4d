"""One side of a relayed connection: it never blocks, and never holds more than it must."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from functools import partial

from chaoskit.inject.kernel.network import sockets
from chaoskit.inject.kernel.poller import Poller

MOST = 1 << 20
"""Bytes that may wait for one side; then the other one is not read: real back-pressure."""
_LITTLE, _MUCH = 1 << 14, 1 << 18
"""Bytes that are read at once: memory for much of it is had of the kernel and given back, which takes eight
times as long as to read a small message."""
_SOON = 0.0005
"""Seconds until it is looked again whether all that was sent has been acknowledged."""


class Sockets:
    """The sockets of all connections: those of a run's poller, and to be looked at without waiting."""

    def __init__(self, poller: Poller) -> None:
        self.poller = poller
        self._now = select.poll()
        self._ready: dict[int, Callable[[int], object]] = {}
        self._busy = False

    def expect(self, fd: int, events: int, ready: Callable[[int], object]) -> None:
        """Call ``ready`` at any of ``events``; without any, no more."""
        if events:
            self._ready[fd] = ready
            self._now.register(fd, events)
            self.poller.expect(fd, events, partial(self._see_to, fd))
        elif self._ready.pop(fd, None) is not None:
            self._now.unregister(fd)
            self.poller.forget(fd)

    def turn(self, wait: float = 0.0) -> bool:
        """See to all that has happened; True if something had."""
        # What is half said must be said first: its operation begins, and all that is before it is asked for.
        if self._busy or not self._ready:
            return False
        found = self._now.poll(wait * 1000)
        # One that came before may have closed this one.
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
    """A socket with what waits to be sent to it.

    ``got`` is called with what comes from it, ``over`` once it has sent all that it will, ``broken`` when
    the connection was reset. They are set by the connection that has the wire.
    """

    def __init__(self, sock: socket.socket, around: Sockets) -> None:
        sock.setblocking(False)
        # Else a small answer would wait for an acknowledgement that we delay (RFC 896).
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.got: Callable[[bytes], object] = bytes
        self.over: Callable[[], object] = bool
        self.broken: Callable[[], object] = bool
        self.drained: Callable[[], object] = bool
        """Called when what waited was sent."""
        self._round = around
        self._queue = bytearray()
        self._at_once = _LITTLE
        self._no_more = False
        self.ended = False
        """It has sent the end of its data."""
        self.shut = False
        """It was sent the end of ours."""
        self.gone = False
        self.reading = True

    @property
    def waiting(self) -> int:
        """Bytes that wait to be sent."""
        return len(self._queue)

    def watch(self) -> None:
        """Begin, or go on with what is wanted now."""
        if self.gone:
            return
        # Never for hanging up alone: poll(2) would report that for ever.
        wants = (select.POLLIN if self.reading and not self.ended else 0) | (
            select.POLLOUT if self._queue else 0
        )
        self._round.expect(self.sock.fileno(), wants, self._happened)

    def read(self, reading: bool) -> None:
        """Go on reading from it, or stop."""
        if self.reading != reading:
            self.reading = reading
            self.watch()

    def send(self, data: bytes) -> None:
        """Send, now or when there is room."""
        if self.gone or self._no_more:
            return
        if not self._queue:
            # Nearly always there is room, and then nothing has to be kept or waited for.
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
        """Send the end of the data once the rest was sent."""
        self._no_more = True
        self._flush()

    def close(self) -> None:
        """Close at once, in order."""
        self._leave(lambda sock: sock.close())

    def reset(self) -> None:
        """Close at once, with a reset."""
        self._leave(sockets.reset)

    def when_acknowledged(self, then: Callable[[], object]) -> None:
        """Call ``then`` once all that was sent has arrived: a reset would take away what has not."""
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
        # Hung up counts as well: what is left to be read ends with the error, or with the end.
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
            # With as much as was asked for, more may have come.
            self._at_once = _MUCH if len(data) >= _LITTLE else _LITTLE
            # At once: the kernel may hold the sender's next small message back until this one is acknowledged
            # (RFC 896), 40 ms in which all seems to sleep, and time would be skipped.
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            self.got(data)
            return
        self.ended = True
        self.watch()
        self.over()

    def _flush(self) -> None:
        # The owner only wants to know when a queue that was there has gone.
        had = bool(self._queue)
        try:
            while self._queue and not self.gone:
                done = self.sock.send(self._queue)
                del self._queue[:done]
        except BlockingIOError:
            return
        except OSError:
            # It went away with what it had not read. That is the same as a reset of its side.
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
