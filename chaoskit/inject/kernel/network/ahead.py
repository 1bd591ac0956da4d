"""Bytes that are passed on first and parsed later, since no fault can strike them.

The relay's time is the program's: if each message were parsed before it goes on, a small request would take
three times as long as without us. Where nothing can strike, bytes are passed on as they come.
"""

from __future__ import annotations

from collections.abc import Callable

_MOST_PARTS = 64
_MOST_BYTES = 1 << 16
"""How much is parsed at one go; with more, the program would notice the pause after all."""


class Unread:
    """The parts that a run's connections have passed on and not parsed yet, in order of arrival.

    There is one order for all connections, so that the record of what a peer was asked has it too.
    """

    def __init__(self) -> None:
        self._parts: list[tuple[Callable[[bytes], object], bytes]] = []
        self._bytes = 0
        self.heads = 0
        """The most operations that the parts may begin."""

    def put(self, understand: Callable[[bytes], object], data: bytes, heads: int) -> None:
        """Call ``understand`` with ``data`` later: when :meth:`catch_up` is called, or much has piled up.

        ``heads`` is the most operations that the parts may begin, this one included.
        """
        self._parts.append((understand, data))
        self._bytes += len(data)
        self.heads = heads
        if len(self._parts) >= _MOST_PARTS or self._bytes >= _MOST_BYTES:
            self.catch_up()

    def catch_up(self) -> None:
        """Parse everything that has piled up."""
        while self._parts:
            parts, self._parts = self._parts, []
            self._bytes = self.heads = 0
            for understand, data in parts:
                understand(data)


class Ahead:
    """Sends the parts of a message as they are parsed, except for bytes that were sent before."""

    def __init__(self, send: Callable[[bytes], object]) -> None:
        self._send = send
        self._early = 0
        self.last = False
        """True while every byte so far was sent before it was parsed."""

    def pass_on(self, data: bytes) -> None:
        """Send bytes that will be parsed later."""
        self._send(data)
        self._early += len(data)
        self.last = True

    def __call__(self, part: bytes) -> None:
        """Send what is left of ``part``."""
        if self._early >= len(part):
            self._early -= len(part)
            return
        part, self._early = part[self._early :], 0
        self._send(part)
