"""Passes bytes on first and parses them later, where no fault can strike them.

The program waits for the relay: if each message were parsed first, a small request would take three times as
long as without us.
"""

from __future__ import annotations

from collections.abc import Callable

_MOST_PARTS = 64
_MOST_BYTES = 1 << 16
"""How much is parsed at once; more would cause a noticeable pause."""


class Unread:
    """Data of a run's connections that was passed on but not parsed yet, in order of arrival.

    All connections share one order, so that the record of a peer's requests keeps it.
    """

    def __init__(self) -> None:
        self._parts: list[tuple[Callable[[bytes], object], bytes]] = []
        self._bytes = 0
        self.heads = 0
        """The most operations that the unparsed parts may begin."""

    def put(self, understand: Callable[[bytes], object], data: bytes, heads: int) -> None:
        """Call ``understand`` with ``data`` later: in :meth:`catch_up`, or when much is waiting.

        ``heads`` is the most operations that all waiting parts may begin, including this one.
        """
        self._parts.append((understand, data))
        self._bytes += len(data)
        self.heads = heads
        if len(self._parts) >= _MOST_PARTS or self._bytes >= _MOST_BYTES:
            self.catch_up()

    def catch_up(self) -> None:
        """Parse everything that is waiting."""
        while self._parts:
            parts, self._parts = self._parts, []
            self._bytes = self.heads = 0
            for understand, data in parts:
                understand(data)


class Ahead:
    """Sends the parts of a message when they are parsed, except bytes sent before."""

    def __init__(self, send: Callable[[bytes], object]) -> None:
        self._send = send
        self._early = 0
        self.last = False
        """True while every byte so far was sent before its parsing."""

    def pass_on(self, data: bytes) -> None:
        """Send bytes that will be parsed later."""
        self._send(data)
        self._early += len(data)
        self.last = True

    def __call__(self, part: bytes) -> None:
        """Send the unsent rest of ``part``."""
        if self._early >= len(part):
            self._early -= len(part)
            return
        part, self._early = part[self._early :], 0
        self._send(part)
