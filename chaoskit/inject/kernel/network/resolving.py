"""Leads a resolver's calls to our name server without the resolver noticing."""

from __future__ import annotations

import errno
import os
import socket
import struct

from chaoskit.inject.kernel.border import CannotExecute
from chaoskit.inject.kernel.files.translate import Duplicate
from chaoskit.inject.kernel.listener import Stopped
from chaoskit.inject.kernel.network import sockets
from chaoskit.inject.kernel.network.addresses import packed
from chaoskit.inject.kernel.network.calls import NetCall, is_stream
from chaoskit.inject.kernel.network.dns import NameServer
from chaoskit.inject.kernel.network.relay import link_of

PORT = 53
_LENGTH = struct.Struct("=I")


class Resolving:
    """Handles calls on sockets that lead to a name server."""

    def __init__(self, server: NameServer) -> None:
        self._server = server

    def connect(self, call: NetCall, stopped: Stopped) -> None:
        """Connect a socket for a name server to ours, which does not offer TCP."""
        assert call.address is not None
        try:
            with Duplicate(call.task.process, call.fd) as mine:
                # TCP is used after truncated answers; ours are short.
                if is_stream(sockets.kind(mine)):
                    stopped.answer(-errno.ECONNREFUSED)
                    return
                port = self._server.take(call.link, call.address)
                result = sockets.connect(mine, _to_us(call, port))
                local = sockets.local(mine)
        except CannotExecute:
            stopped.go_on()
            return
        if local is not None:
            self._server.bound(local.port, call.task)
        stopped.answer(result)

    def receive(self, call: NetCall, stopped: Stopped) -> None:
        """Receive an answer of our name server as if it came from the requested one."""
        asked = self._server.stands_for(call.link)
        assert asked is not None
        self._server.turn()
        try:
            with Duplicate(call.task.process, call.fd) as mine:
                if not sockets.readable(mine):
                    stopped.go_on()
                    return
                answer = os.read(mine, 65536)[: call.args[2]]
        except (CannotExecute, OSError):
            stopped.go_on()
            return
        memory = call.task.process.memory
        memory.write(call.args[1], answer)
        memory.write(call.args[4], asked.whole)
        memory.write(call.args[5], _LENGTH.pack(len(asked.whole)))
        stopped.answer(len(answer))

    def waiting(self, call: NetCall) -> NetCall | None:
        """Understand a poll of one socket that asks for a name; None for other polls."""
        if call.args[1] != 1 or not self._server.asked:
            return None
        fd = self._polled(call)
        link = None if fd is None else link_of(call.task, fd)
        if link is None or self._server.stands_for(link) is None:
            return None
        call.link = link
        return call

    def poll(self, call: NetCall, stopped: Stopped) -> None:
        """End a resolver's wait at once if no answer will come."""
        self._server.turn()
        fd = self._polled(call)
        ready, address = True, None
        try:
            if fd is not None:
                with Duplicate(call.task.process, fd) as mine:
                    address = sockets.local(mine)
                    ready = sockets.readable(mine)
        except CannotExecute:
            pass
        if ready or address is None or not self._server.is_silent(address.port):
            stopped.go_on()
            return
        # As after a time-out: no events of the one descriptor (struct pollfd, poll(2)).
        call.task.process.memory.write(call.args[0] + 6, b"\0\0")
        stopped.answer(0)

    def _polled(self, call: NetCall) -> int | None:
        raw = call.task.process.memory.read(call.args[0], 4)
        return int.from_bytes(raw, "little", signed=True) if len(raw) == 4 else None


def _to_us(call: NetCall, port: int) -> bytes:
    """The address of our name server in the family of the caller's socket."""
    assert call.address is not None
    host = "127.0.0.1" if call.address.family == socket.AF_INET else "::ffff:127.0.0.1"
    return packed(call.address.family, host, port)
