"""Waiting for the next event: a call, the end of a process, output, or the time of what was put off."""

from __future__ import annotations

import heapq
import select
import time
from collections.abc import Callable
from typing import Protocol

Ready = Callable[[int], object]
"""What to do about a descriptor; given the events that poll(2) reports."""


class Watcher(Protocol):
    """Something that looks around by itself between events."""

    def until(self) -> float:
        """When it wants to look again, by the monotonic clock."""

    def look(self, happened: bool) -> None:
        """Look; ``happened`` says that something was done since the last time."""


class Poller:
    """One poll(2) over everything that a run waits for. Actions must not block."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._ready: dict[int, Ready] = {}
        self._held: list[tuple[float, int, Callable[[], object]]] = []
        self._order = 0
        self.watcher: Watcher | None = None

    @property
    def holding(self) -> bool:
        """Something was put off and is not due yet."""
        return bool(self._held)

    def watch(self, fd: int, ready: Ready) -> None:
        """Call ``ready`` whenever there is something to read from ``fd``, or it was hung up."""
        self.expect(fd, select.POLLIN, ready)

    def expect(self, fd: int, events: int, ready: Ready) -> None:
        """Call ``ready`` at any of ``events`` of ``fd``, and when it was hung up. Asked again: changed."""
        self._ready[fd] = ready
        self._poll.register(fd, events)

    def forget(self, fd: int) -> None:
        """Stop watching ``fd``. Call it before the descriptor is closed: its number is given out again."""
        self._poll.unregister(fd)
        del self._ready[fd]

    def later(self, seconds: float, action: Callable[[], object], tid: int = 0) -> None:
        """Call ``action`` in this many seconds of real time; ties go by the order of asking.

        ``tid`` is the thread that waits for it, which matters only to other clocks than the real one.
        """
        self._order += 1
        # The number in between: actions cannot be compared.
        heapq.heappush(self._held, (time.monotonic() + seconds, self._order, action))

    def turn(self, deadline: float) -> None:
        """Wait until something happens or ``deadline`` (of the monotonic clock) has come, and see to it."""
        until = min(deadline, self._held[0][0]) if self._held else deadline
        if self.watcher is not None:
            until = min(until, self.watcher.until())
        left = until - time.monotonic()
        # One millisecond more: poll(2) must not return just before what it waits for is due.
        events = self._poll.poll(left * 1000 + 1 if left > 0 else 0)
        happened = bool(events)
        for fd, event in events:
            ready = self._ready.get(fd)
            if ready is not None:  # An action that came before may have ended this one's watch.
                ready(event)
        while self._held and self._held[0][0] <= time.monotonic():
            # Taken off first: the action may put another one off.
            _, _, action = heapq.heappop(self._held)
            action()
            happened = True
        if self.watcher is not None:
            self.watcher.look(happened)

    def only(self, called: list[tuple[int, int]]) -> Callable[[], bool]:
        """A question: does nothing but ``called`` (descriptors with events) happen within a millisecond?"""
        poll = self._poll.poll
        return lambda: poll(1) == called
