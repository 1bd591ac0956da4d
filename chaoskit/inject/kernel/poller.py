"""Waits for the next event: a call, the end of a process, output, or the time of a deferred action."""

from __future__ import annotations

import heapq
import select
import time
from collections.abc import Callable
from typing import Protocol

Ready = Callable[[int], object]
"""What to do about a descriptor; takes the events that poll(2) reports."""


class Watcher(Protocol):
    """Something that is checked between events."""

    def until(self) -> float:
        """When it must be checked again, by the monotonic clock."""

    def look(self, happened: bool) -> None:
        """Check; ``happened`` is True if an event was handled since the last check."""


class Poller:
    """One poll(2) over everything a run waits for. Actions must not block."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._ready: dict[int, Ready] = {}
        self._held: list[tuple[float, int, Callable[[], object]]] = []
        self._order = 0
        self.watcher: Watcher | None = None

    @property
    def holding(self) -> bool:
        """True if a deferred action is not due yet."""
        return bool(self._held)

    def watch(self, fd: int, ready: Ready) -> None:
        """Call ``ready`` whenever ``fd`` is readable or its other end has hung up."""
        self.expect(fd, select.POLLIN, ready)

    def expect(self, fd: int, events: int, ready: Ready) -> None:
        """Call ``ready`` at ``events`` of ``fd``, and at a hang-up. A second call replaces the first."""
        self._ready[fd] = ready
        self._poll.register(fd, events)

    def forget(self, fd: int) -> None:
        """Stop watching ``fd``. Call this before it is closed, since its number is reused."""
        self._poll.unregister(fd)
        del self._ready[fd]

    def later(self, seconds: float, action: Callable[[], object], tid: int = 0) -> None:
        """Call ``action`` in this many seconds of real time; ties in order of registration.

        ``tid``, the thread that waits for it, matters only to virtual clocks.
        """
        self._order += 1
        # The number breaks ties: actions cannot be compared.
        heapq.heappush(self._held, (time.monotonic() + seconds, self._order, action))

    def turn(self, deadline: float) -> None:
        """Wait for events until ``deadline`` (of the monotonic clock), and handle them."""
        until = min(deadline, self._held[0][0]) if self._held else deadline
        if self.watcher is not None:
            until = min(until, self.watcher.until())
        left = until - time.monotonic()
        # One millisecond more: poll(2) must not return just before a deferred action is due.
        events = self._poll.poll(left * 1000 + 1 if left > 0 else 0)
        happened = bool(events)
        for fd, event in events:
            ready = self._ready.get(fd)
            if ready is not None:  # An earlier action may have ended this watch.
                ready(event)
        while self._held and self._held[0][0] <= time.monotonic():
            # Remove it first: the action may defer another one.
            _, _, action = heapq.heappop(self._held)
            action()
            happened = True
        if self.watcher is not None:
            self.watcher.look(happened)

    def only(self, called: list[tuple[int, int]]) -> Callable[[], bool]:
        """A function: does nothing but ``called`` (descriptors with events) happen within a millisecond?"""
        poll = self._poll.poll
        return lambda: poll(1) == called
