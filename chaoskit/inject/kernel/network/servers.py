"""The workload as a server: the sockets that it listens on."""

from __future__ import annotations

import ctypes
import errno
import os
import select
import socket
from collections.abc import Callable
from functools import partial

from chaoskit.faults.shapes import Errno, Shape
from chaoskit.inject.kernel.border import CannotExecute, FaultEffect
from chaoskit.inject.kernel.files.translate import Duplicate
from chaoskit.inject.kernel.network import sockets
from chaoskit.inject.kernel.network.calls import NetCall, address_in, is_stream
from chaoskit.inject.kernel.network.wire import Sockets
from chaoskit.inject.kernel.seccomp import abi

FAMILIES = frozenset({"bind", "listen", "accept", "socket"})


def socket_call(call: NetCall) -> NetCall | None:
    """Understand the creation of a TCP socket; the filter stops only Internet sockets."""
    if call.args[1] & 0xF != socket.SOCK_STREAM:
        return None  # Most UDP sockets are a resolver's, which decides how many it opens.
    call.family = "socket"
    call.target = "inet" if call.args[0] == socket.AF_INET else "inet6"
    return call


def decode(call: NetCall) -> NetCall | None:
    """Understand bind, listen or accept of a TCP socket; None for others, or with nothing to accept."""
    try:
        with Duplicate(call.task.process, call.fd) as mine:
            if not is_stream(sockets.kind(mine)):
                return None
            if call.spec.family == "bind":
                address = address_in(call.spec, call.task, call.args)
            else:
                address = sockets.local(mine)
            if call.spec.family == "accept" and not sockets.readable(mine) and not sockets.waits(mine):
                return None  # The call says EAGAIN and has no effect.
    except CannotExecute:
        return None
    if address is None:
        return None
    call.family, call.address, call.target = call.spec.family, address, str(address)
    return call


def perform(call: NetCall) -> int | None:
    """Carry a bind or listen out to know its result; None leaves the call to the kernel."""
    if call.family not in ("bind", "listen"):
        return None
    try:
        with Duplicate(call.task.process, call.fd) as mine:
            number = call.spec.number(abi.machine())
            assert number is not None
            if call.family == "listen":
                return abi.libc().syscall(number, mine, call.args[1])
            assert call.address is not None
            raw = call.address.raw
            return abi.libc().syscall(number, mine, ctypes.create_string_buffer(raw, len(raw)), len(raw))
    except CannotExecute:
        return None


def effect(shape: Shape, call: NetCall, around: Sockets) -> FaultEffect:
    """An errno; with ECONNABORTED the next connection is removed from the queue.

    Raises:
        CannotExecute: for every other fault.
    """
    if not isinstance(shape, Errno):
        raise CannotExecute("a server's call can only fail")
    # The client has gone, so the next call must not accept it (accept(2), "Error handling").
    if shape.number == errno.ECONNABORTED and call.family == "accept":
        return FaultEffect("a connection reset before it was accepted", waits=partial(_abort, call, around))
    return FaultEffect(f"answered {shape.name}", answer=-shape.number)


def _abort(call: NetCall, around: Sockets, answer: Callable[[int], object]) -> None:
    """Reset the next connection when it comes."""
    with Duplicate(call.task.process, call.fd) as mine:
        listener = socket.socket(fileno=os.dup(mine))

    def come(_: int) -> None:
        around.expect(listener.fileno(), 0, come)
        with listener:
            accepted, _address = listener.accept()
        sockets.reset(accepted)
        answer(-errno.ECONNABORTED)

    around.expect(listener.fileno(), select.POLLIN, come)
