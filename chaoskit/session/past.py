"""Telling a fresh server what one before it was told: the conversations of a run that lost its power.

What a protocol is told means something within its connection: a log-in, a transaction, the recipients of a
letter. So what went over one connection goes over one again, in its order, and each request waits for an
answer as it did then.
"""

from __future__ import annotations

import select
import socket
import time

from chaoskit.core.operation import NetworkDetail

_PATIENCE = 2.0
"""Seconds until an answer has to begin."""
_SILENCE = 0.05
"""Seconds behind part of an answer after which it counts as whole: few are as long as they were then."""


class Untold(Exception):
    """The server does not take what the one before took; says why."""


class Conversation:
    """One connection to a fresh server, over which the same is said as over one of the past.

    Raises:
        Untold: if there is no connection to be had.
    """

    def __init__(self, name: str, host: str, port: int) -> None:
        self._name = name
        try:
            self._socket = socket.create_connection((host, port), timeout=_PATIENCE)
        except OSError as why:
            raise Untold(f"{name} took no connection ({why.strerror or why})") from None

    def hear(self, received: int) -> None:
        """What the server says first.

        Raises:
            Untold: if it says nothing.
        """
        if received and not self._answer(received):
            raise Untold(f"{self._name} began with nothing, where {received} bytes came then")

    def say(self, detail: NetworkDetail) -> bytes:
        """Send a request of the past, and wait for its answer; return what was sent.

        Raises:
            Untold: if the request is not known to its end, or is not answered.
        """
        raw = b"" if detail.request is None else detail.request.read()
        if len(raw) < detail.sent:
            raise Untold(f"a request of {detail.sent} bytes to {self._name} was not kept to its end")
        try:
            self._socket.sendall(raw)
        except OSError as why:
            raise Untold(f"{self._name} has ended the connection ({why.strerror or why})") from None
        # Without an answer then there need not be one now.
        if detail.received and not self._answer(detail.received):
            raise Untold(f"{self._name} did not answer {raw[:40]!r}, which was answered then")
        return raw

    def _answer(self, expected: int) -> int:
        """Wait for this many bytes, or for as many as there are; return how many came."""
        got, deadline = 0, time.monotonic() + _PATIENCE
        while got < expected:
            left = _SILENCE if got else deadline - time.monotonic()
            if not select.select([self._socket], [], [], max(0.0, left))[0]:
                break
            try:
                data = self._socket.recv(65536)
            except OSError:
                break
            if not data:
                break
            got += len(data)
        return got

    def close(self) -> None:
        """Say that this is all, and wait for the other side to have seen it."""
        with self._socket:
            try:
                self._socket.shutdown(socket.SHUT_WR)
                deadline = time.monotonic() + _PATIENCE
                while select.select([self._socket], [], [], max(0.0, deadline - time.monotonic()))[0]:
                    if not self._socket.recv(65536):
                        break
            except OSError:
                return
