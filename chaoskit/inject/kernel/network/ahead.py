"""What is passed on first and understood later, since no fault can strike it.

A program feels how long the relay takes: with each message understood before it goes on, a small request
takes three times as long as without us. Where nothing can strike, bytes are passed on as they come.
"""

from __future__ import annotations

from collections.abc import Callable

_MOST_PARTS = 64
_MOST_BYTES = 1 << 16
"""So much is understood at once: longer, and the program would feel it after all."""


class Unread:
    """The parts of all connections of a run that were passed on and are not understood, in their order.

    Of one order for all connections: what a peer was asked is recorded as it came.
    """

    def __init__(self) -> None:
        self._parts: list[tuple[Callable[[bytes], object], bytes]] = []
        self._bytes = 0
        self.heads = 0
        """How many operations they may begin, at most."""

    def put(self, understand: Callable[[bytes], object], data: bytes, heads: int) -> None:
        """Have ``understand`` called with ``data`` when it matters, or when much has come together.

        With it they may begin ``heads`` operations.
        """
        self._parts.append((understand, data))
        self._bytes += len(data)
        self.heads = heads
        if len(self._parts) >= _MOST_PARTS or self._bytes >= _MOST_BYTES:
            self.catch_up()

    def catch_up(self) -> None:
        """Understand all of it now."""
        while self._parts:
            parts, self._parts = self._parts, []
            self._bytes = self.heads = 0
            for understand, data in parts:
                understand(data)


class Ahead:
    """Sends what a message is found to be made of, but for what was sent before it was looked at."""

    def __init__(self, send: Callable[[bytes], object]) -> None:
        self._send = send
        self._early = 0
        self.last = False
        """What came last was sent before it was looked at, and so was all before it."""

    def pass_on(self, data: bytes) -> None:
        """Send what is understood later."""
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
