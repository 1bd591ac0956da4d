"""Passes an answer on as its fault demands."""

from __future__ import annotations

from functools import partial

from chaoskit.faults.shapes import Delayed
from chaoskit.faults.traffic import Corrupted, Cut, KilledAt, Partitioned, Sliced, Unsent
from chaoskit.inject.kernel.border import Happening
from chaoskit.inject.kernel.network import sockets
from chaoskit.inject.kernel.network.connection import Connection

_SLICES = 64
"""This many pieces show whether a program reassembles an answer; the rest comes at once."""
_PAUSE = 0.001
"""Seconds between two checks whether a piece was read: the next piece waits for that."""
_PATIENCE = 1000
"""After this many checks the next piece follows in any case: a program may read only when all is there."""

OF_STREAMS = (Unsent, Cut, Sliced, Corrupted, Delayed, Partitioned, KilledAt)
"""The faults that can strike any kind of traffic."""


def stopped(connection: Connection, happening: Happening) -> bool:
    """Carry out the fault of a request; True if nothing of it may reach the other side."""
    match happening.shape:
        case Unsent():
            happening.prove("reset before anything of the request was passed on")
            connection.reset()
        case KilledAt("request"):
            happening.kill("SIGKILL to all before anything of the request was passed on")
        case Partitioned():
            happening.prove(f"nothing passes between the workload and {connection.peer} any more")
            # By peer, since a partition outlives connections.
            connection.scene.silenced.add(connection.peer)
            connection.mute()
        case _:
            return False
    return True


class Answering:
    """An answer on its way to the workload."""

    def __init__(self, connection: Connection, happening: Happening) -> None:
        self._connection = connection
        self._happening = happening
        self._passed = 0
        self._shape = happening.shape
        self._held: list[bytes] = []

    def take(self, data: bytes) -> None:
        """A part of the answer has come."""
        connection, before = self._connection, self._passed
        self._passed += len(data)
        match self._shape:
            case None:
                connection.to_client(data)
            case KilledAt():
                self._happening.kill("SIGKILL to all when the answer came")
            case Cut(how, after):
                self._cut(how, data, after - before)
            case Corrupted(at):
                self._corrupt(data, at - before)
            case Delayed(seconds=seconds):
                self._delay(data, seconds)
            case Sliced(size):
                self._slice(data, size)
            case _:
                connection.to_client(data)

    def _cut(self, how: str, data: bytes, left: int) -> None:
        connection = self._connection
        if len(data) <= left:
            connection.to_client(data)
            return
        if left:
            connection.to_client(data[:left])
        self._happening.prove(f"{how} after {self._passed - len(data) + left} bytes of the answer")
        if how == "silent":
            connection.mute()
        elif how == "reset":
            connection.reset()
        else:
            connection.finish()

    def _corrupt(self, data: bytes, at: int) -> None:
        if 0 <= at < len(data):
            data = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
            self._happening.prove("one bit flipped")
            self._shape = None
        self._connection.to_client(data)

    def _delay(self, data: bytes, seconds: float) -> None:
        self._held.append(data)
        if len(self._held) == 1:
            # Stop reading meanwhile, so that later data does not overtake it.
            self._connection.server.read(False)
            self._connection.put_off = True
            self._happening.prove(f"the answer held for {seconds:g} s")
            self._connection.scene.time.later(seconds, self._release)

    def _release(self) -> None:
        self._shape, self._connection.put_off = None, False
        for data in self._held:
            self._connection.to_client(data)
        self._held = []
        self._connection.server.read(True)

    def _slice(self, data: bytes, size: int) -> None:
        pieces = [data[at : at + size] for at in range(0, min(len(data), size * _SLICES), size)]
        # The receiving kernel would join pieces that are sent without a pause.
        pieces.append(data[size * _SLICES :])
        self._shape = Delayed(0.0, "0")  # Data that comes meanwhile is kept and follows the pieces.
        self._held = [b""]
        self._connection.server.read(False)
        self._happening.prove(f"the answer in pieces of {size} bytes")
        self._next(pieces)

    def _next(self, pieces: list[bytes], patience: int = _PATIENCE) -> None:
        client = self._connection.client
        if not pieces or client.gone:
            self._release()
            return
        if patience and sockets.unread(client.sock):
            patience -= 1
        else:
            self._connection.to_client(pieces[0])
            pieces, patience = pieces[1:], _PATIENCE
        self._connection.scene.round.poller.later(_PAUSE, partial(self._next, pieces, patience))
