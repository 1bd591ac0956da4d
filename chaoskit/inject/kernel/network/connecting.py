"""Handles the workload's ``connect`` calls: leads them to the relay, and injects their faults."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable
from functools import partial

from chaoskit.faults.shapes import Errno, Shape
from chaoskit.faults.traffic import Down, Unanswered
from chaoskit.inject.kernel.border import CannotExecute, FaultEffect
from chaoskit.inject.kernel.files.translate import Duplicate
from chaoskit.inject.kernel.listener import Stopped
from chaoskit.inject.kernel.network import sockets
from chaoskit.inject.kernel.network.calls import NetCall
from chaoskit.inject.kernel.network.connection import Scene
from chaoskit.inject.kernel.network.relay import Caller, Relay

_LENGTH = struct.Struct("=I")
_ENTERED = 0.005
"""Seconds that a released thread takes to enter its call, and the kernel to copy the address."""

Done = Callable[[NetCall, Stopped, int | None], None]
"""Records a call with its result and answers it."""


class Connecting:
    """Handles ``connect``; ``done`` is called with each result."""

    def __init__(self, scene: Scene, relay: Relay, done: Done) -> None:
        self._scene = scene
        self._relay = relay
        self._done = done
        self._refusing: dict[str, int] = {}
        """How many more connections each peer refuses; -1 for all."""

    def connect(self, call: NetCall, stopped: Stopped) -> None:
        """Lead a connection to the relay when the other side has been reached."""
        if call.to is None:
            self.refuse(call, stopped)
        elif not call.family:
            self._again(call, stopped)
        elif self._is_down(call.to.peer):
            self._done(call, stopped, self.refused(call))
        elif call.to.peer in self._scene.silenced:
            self._silent(call)
            self.go_on(call, stopped)
        else:
            assert call.address is not None
            # The answer comes when the other side is reached, which for loopback is at once.
            caller = Caller(call.task, call.link, call.address, call.to)
            self._relay.reach(caller, partial(self._reached, call, caller, stopped))

    def refuse(self, call: NetCall, stopped: Stopped) -> None:
        """Refuse an undeclared address outside this machine."""
        text = (
            f"{call.address} was unreachable in this run: it is not on this machine and was not declared. "
            "Declare it, and name what it stands for: chaos.peer(name, address=…)."
        )
        self._scene.log.caveat("undeclared", str(call.address), text)
        stopped.answer(-errno.ENETUNREACH)

    def refused(self, call: NetCall) -> int:
        """Let the kernel refuse a connection, so that the socket gets the right state."""
        assert call.address is not None
        port = self._relay.traps.closed(sockets.plain_family(call.address))
        with Duplicate(call.task.process, call.fd) as mine:
            return sockets.connect(mine, call.address.instead(port))

    def peername(self, call: NetCall, stopped: Stopped) -> None:
        """Answer getpeername(2) with the address that the program asked for, not with ours."""
        address = self._relay.address_of(call.link)
        connection = self._relay.connection(call.link)
        memory = call.task.process.memory
        size = memory.read(call.args[2], _LENGTH.size)
        if address is None or len(size) != _LENGTH.size or connection is None or connection.client.gone:
            stopped.go_on()
            return
        # A small buffer gets what fits, and the length that it would need (getpeername(2)).
        (room,) = _LENGTH.unpack(size)
        memory.write(call.args[1], address.whole[:room])
        memory.write(call.args[2], _LENGTH.pack(len(address.whole)))
        stopped.answer(0)

    def effect(self, shape: Shape, call: NetCall) -> FaultEffect:
        """What a fault does to a ``connect``.

        Raises:
            CannotExecute: for a fault that is impossible here.
        """
        assert call.to is not None
        match shape:
            case Errno(name, number, lasting):
                # A server that is down loses its open connections too.
                if lasting:
                    self._refusing[call.to.peer] = -1
                    self._relay.cut_off(call.to.peer)
                answer = self.refused(call) if name == "ECONNREFUSED" else -number
                return FaultEffect(f"answered {name}", answer=answer)
            case Down(times):
                self._refusing[call.to.peer] = times - 1
                return FaultEffect(f"refused, and so are the next {times - 1}", answer=self.refused(call))
            case Unanswered():
                self._silent(call)
                return FaultEffect("no answer comes", answer=call.fate)
        raise CannotExecute("a connection that is made knows no such fault")

    def _reached(self, call: NetCall, caller: Caller, stopped: Stopped, failed: int) -> None:
        try:
            if failed == errno.ECONNREFUSED:
                result = self.refused(call)
            elif failed:
                result = -failed
            else:
                with Duplicate(call.task.process, call.fd) as mine:
                    result = self._relay.join(caller, mine)
        except CannotExecute:
            result = -errno.ECONNABORTED  # The calling thread is gone.
        self._done(call, stopped, result)

    def go_on(self, call: NetCall, stopped: Stopped) -> None:
        """Answer a call that was struck, or let the caller itself wait in vain.

        Only a call in the kernel obeys signals and time-outs. So we replace the address in the caller's
        memory for a moment, while it is in the kernel and cannot notice.
        """
        if call.instead is None:
            self._done(call, stopped, call.fate)
            return
        assert call.address is not None
        memory, at, raw = call.task.process.memory, call.args[1], call.address.raw
        memory.overwrite(at, call.instead)
        self._done(call, stopped, None)
        self._scene.round.poller.later(_ENTERED, partial(memory.overwrite, at, raw[: len(call.instead)]))

    def _silent(self, call: NetCall) -> None:
        """Begin a connection that is never answered: to a port whose queue is full."""
        assert call.address is not None
        port = self._relay.traps.deaf(sockets.plain_family(call.address))
        deaf = call.address.instead(port)
        with Duplicate(call.task.process, call.fd) as mine:
            if sockets.waits(mine):
                call.instead = deaf
            else:
                call.fate = sockets.connect(mine, deaf)

    def _is_down(self, peer: str) -> bool:
        left = self._refusing.get(peer, 0)
        if left > 0:
            self._refusing[peer] = left - 1
        return left != 0

    def _again(self, call: NetCall, stopped: Stopped) -> None:
        """Handle a second connect, which asks for the result of the first, or a datagram's."""
        try:
            with Duplicate(call.task.process, call.fd) as mine:
                result = self._relay.again(call.link, mine)
        except CannotExecute:
            result = None
        if result is None:
            stopped.go_on()
        else:
            stopped.answer(result)
