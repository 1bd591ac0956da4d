"""Repeat to a fresh server the conversations of a run that ended in a power loss.

A message means something only within its connection: a log-in, a transaction, the recipients of a letter. So
the messages of one connection go over one connection again, in order, and each request waits for an answer as
it did before.
"""

from __future__ import annotations

import select
import socket
import time

from chaoskit.core.operation import NetworkDetail

_PATIENCE = 2.0
"""Seconds within which an answer must begin."""
_SILENCE = 0.05
"""Seconds of silence after which an answer counts as complete: it may be shorter than the recorded one."""


class Untold(Exception):
    """The server does not accept what the one before it accepted; the message says why."""


class Conversation:
    """One connection to a fresh server, which repeats a connection of the past.

    Raises:
        Untold: if the server takes no connection.
    """

    def __init__(self, name: str, host: str, port: int) -> None:
        self._name = name
        try:
            self._socket = socket.create_connection((host, port), timeout=_PATIENCE)
        except OSError as why:
            raise Untold(f"{name} took no connection ({why.strerror or why})") from None

    def hear(self, received: int) -> None:
        """Wait for the server's greeting, if one of ``received`` bytes came before.

        Raises:
            Untold: if no greeting comes.
        """
        if received and not self._answer(received):
            raise Untold(f"{self._name} began with nothing, where {received} bytes came then")

    def say(self, detail: NetworkDetail) -> bytes:
        """Send a request of the past, and wait for its answer; return what was sent.

        Raises:
            Untold: if the request was not recorded in full, or is not answered.
        """
        raw = b"" if detail.request is None else detail.request.read()
        if len(raw) < detail.sent:
            raise Untold(f"a request of {detail.sent} bytes to {self._name} was not kept to its end")
        try:
            self._socket.sendall(raw)
        except OSError as why:
            raise Untold(f"{self._name} has ended the connection ({why.strerror or why})") from None
        # A request that had no answer before the power loss needs none now.
        if detail.received and not self._answer(detail.received):
            raise Untold(f"{self._name} did not answer {raw[:40]!r}, which was answered then")
        return raw

    def _answer(self, expected: int) -> int:
        """Wait for ``expected`` bytes, or as many as come; return how many came."""
        got, deadline = 0, time.monotonic() + _PATIENCE
        while got < expected:
            left = _SILENCE if got else deadline - time.monotonic()
            if not select.select([self._socket], [], [], max(0.0, left))[0]:
                break
            try:
                data = self._socket.recv(65536)
            except OSError:
                # A reset ends the answer just as the server's close does.
                break
            if not data:
                break
            got += len(data)
        return got

    def close(self) -> None:
        """Shut down our side, and wait until the server has closed its own."""
        with self._socket:
            try:
                self._socket.shutdown(socket.SHUT_WR)
                deadline = time.monotonic() + _PATIENCE
                while select.select([self._socket], [], [], max(0.0, deadline - time.monotonic()))[0]:
                    if not self._socket.recv(65536):
                        break
            except OSError:
                return
