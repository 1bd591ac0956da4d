"""Understands the calls of the network."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

from chaoskit.inject.kernel.network.addresses import Address, read
from chaoskit.inject.kernel.network.names import Destination
from chaoskit.inject.kernel.network.sockets import longest
from chaoskit.inject.kernel.network.table import NetSpec
from chaoskit.inject.kernel.seccomp import abi
from chaoskit.inject.kernel.workload.tree import Task

_MESSAGE = struct.Struct("=QI")
"""The first fields of ``struct msghdr``: pointer to the address, and its length."""
SERVICE = ""


@dataclass(slots=True)
class NetCall:
    """A notified call. ``family`` is empty unless it is an operation; see :class:`…border.Domain`."""

    spec: NetSpec
    task: Task
    args: tuple[int, ...]
    family: str = SERVICE
    target: str = ""
    second: None = None
    link: str = ""
    address: Address | None = None
    to: Destination | None = None
    fate: int | None = None
    """The final answer: 0 or minus the errno."""
    instead: bytes | None = None
    """The address that the caller's own call must connect to."""

    @property
    def fd(self) -> int:
        """The descriptor of the socket."""
        return abi.signed(self.args[0])


def address_in(spec: NetSpec, task: Task, args: tuple[int, ...]) -> Address | None:
    """The Internet address given to a call; None if there is none."""
    return read(raw_address(spec, task, args))


def raw_address(spec: NetSpec, task: Task, args: tuple[int, ...]) -> bytes:
    """The address given to a call as the program wrote it, of any kind; empty if there is none."""
    # Read it only once, before any decision: the program may change it meanwhile.
    memory = task.process.memory
    at, length = (args[spec.address], args[spec.length or 0]) if spec.address is not None else (0, 0)
    if spec.message is not None:
        raw = memory.read(args[spec.message], _MESSAGE.size)
        if len(raw) == _MESSAGE.size:
            at, length = _MESSAGE.unpack(raw)
    return memory.read(at, longest(length & 0xFFFFFFFF)) if at else b""


def flags_of(call: NetCall) -> int:
    """The flags of a sending call."""
    return call.args[2] if call.spec.name == "sendmsg" else call.args[3]


def is_stream(kind: tuple[int, int]) -> bool:
    """True for a TCP socket."""
    return kind[0] in (socket.AF_INET, socket.AF_INET6) and kind[1] == socket.SOCK_STREAM


def is_datagram(kind: tuple[int, int]) -> bool:
    """True for a UDP socket."""
    return kind[0] in (socket.AF_INET, socket.AF_INET6) and kind[1] == socket.SOCK_DGRAM
