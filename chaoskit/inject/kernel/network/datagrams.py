"""Datagrams sent to an address."""

from __future__ import annotations

import os
import socket

from chaoskit.faults.shapes import Errno, Shape
from chaoskit.faults.traffic import Dropped, Twice
from chaoskit.inject.kernel.border import CannotExecute, FaultEffect
from chaoskit.inject.kernel.files.translate import Duplicate
from chaoskit.inject.kernel.network.calls import NetCall


def perform(call: NetCall) -> int | None:
    """Send a datagram for a declared peer; None leaves the call to the kernel."""
    assert call.to is not None
    # A loopback address needs no change; a declared name stands for another address.
    if not call.to.declared or call.spec.name != "sendto":
        return None
    return _send(call, 1)


def effect(shape: Shape, call: NetCall) -> FaultEffect:
    """An error, an unnoticed loss, or a second delivery.

    Raises:
        CannotExecute: for every other fault, and for several datagrams in one call.
    """
    match shape:
        case Errno(name, number):
            return FaultEffect(f"answered {name}", answer=-number)
        case Dropped() | Twice() if call.spec.name != "sendto":
            raise CannotExecute(f"what {call.spec.name} sends is not read")
        case Dropped():
            return FaultEffect("not sent", answer=call.args[2])
        case Twice():
            return FaultEffect("sent twice", answer=_send(call, 2))
    raise CannotExecute("a datagram knows no such fault")


def _send(call: NetCall, times: int) -> int:
    assert call.to is not None
    data = call.task.process.memory.read(call.args[1], call.args[2])
    if len(data) != call.args[2]:
        raise CannotExecute("its data cannot be read")
    with Duplicate(call.task.process, call.fd) as mine, socket.socket(fileno=os.dup(mine)) as sock:
        try:
            # Without waiting for room: meanwhile the supervisor would serve no other call.
            for _ in range(times):
                sent = sock.sendto(data, socket.MSG_DONTWAIT, (call.to.host, call.to.port))
        except OSError as error:
            return -(error.errno or 0)
    return sent
