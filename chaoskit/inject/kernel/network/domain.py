"""The network as a domain: distributes calls to the modules that handle them."""

from __future__ import annotations

import errno
from collections.abc import Collection
from functools import cached_property
from typing import ClassVar

from chaoskit.core.operation import NetworkDetail
from chaoskit.faults.shapes import Shape
from chaoskit.faults.traffic import Unanswered
from chaoskit.inject.armed import Armed
from chaoskit.inject.kernel.border import Around, CannotExecute, FaultEffect
from chaoskit.inject.kernel.files.translate import Duplicate
from chaoskit.inject.kernel.listener import Stopped
from chaoskit.inject.kernel.network import datagrams, servers, sockets
from chaoskit.inject.kernel.network.calls import NetCall, address_in, flags_of, is_datagram, is_stream
from chaoskit.inject.kernel.network.connecting import Connecting
from chaoskit.inject.kernel.network.connection import Scene
from chaoskit.inject.kernel.network.dns import NameServer
from chaoskit.inject.kernel.network.local import LocalSockets
from chaoskit.inject.kernel.network.names import Names
from chaoskit.inject.kernel.network.relay import Relay, link_of
from chaoskit.inject.kernel.network.resolving import PORT, Resolving
from chaoskit.inject.kernel.network.table import FASTOPEN, SPECS, NetSpec
from chaoskit.inject.kernel.network.table import SERVICE as NOTED
from chaoskit.inject.kernel.network.wire import Sockets
from chaoskit.inject.kernel.seccomp.syscalls import Spec
from chaoskit.inject.kernel.workload.tree import Process, Task


class Network:
    """Communication with other programs; see :class:`chaoskit.inject.kernel.border.Domain`."""

    specs: ClassVar[tuple[Spec, ...]] = SPECS

    def __init__(self, around: Around) -> None:
        self._around = around
        self._log = around.log
        self._local = LocalSockets(around.log) if around.plan.record else None

    # Parts are made on demand: most workloads have no connection, and each case would pay for them.

    @cached_property
    def _scene(self) -> Scene:
        around = self._around
        return Scene(around.log, around.happenings, Sockets(around.poller), around.time, around.requests)

    @cached_property
    def _names(self) -> Names:
        return Names(self._around.plan.peers)

    @cached_property
    def _relay(self) -> Relay:
        return Relay(self._scene)

    @cached_property
    def _server(self) -> NameServer:
        return NameServer(self._scene, self._names)

    @cached_property
    def _resolving(self) -> Resolving:
        return Resolving(self._server)

    @cached_property
    def _connecting(self) -> Connecting:
        return Connecting(self._scene, self._relay, self._done)

    @staticmethod
    def lasting(shape: Shape) -> frozenset[str]:
        """Only a silent name server needs later calls: connections stop in every run."""
        return frozenset({"dns"}) if isinstance(shape, Unanswered) else frozenset()

    @property
    def outstanding(self) -> Collection[int]:
        """Our ends of connections with an answer on its way to the workload."""
        return self._relay.outstanding if self._has("_relay") else ()

    def _has(self, part: str) -> bool:
        """True if the part was needed so far."""
        return part in self.__dict__

    @property
    def relayed(self) -> dict[int, int | None]:
        """Maps our sockets; see :meth:`chaoskit.inject.kernel.border.Domain.relayed`."""
        return self._relay.relayed

    # Understanding a call.

    def decode(self, spec: Spec, task: Task, args: tuple[int, ...]) -> NetCall | None:
        """Understand a call; None if it does not concern the network."""
        assert isinstance(spec, NetSpec)
        call = NetCall(spec, task, args)
        # Its first argument is not a descriptor.
        if spec.family == "socket":
            return servers.socket_call(call)
        if spec.family == "dns":
            return self._resolving.waiting(call)
        link = link_of(task, call.fd)
        if link is None:
            return None
        call.link = link
        if spec.family == NOTED:
            return call if self._is_ours(call) else None
        if spec.family in servers.FAMILIES:
            return servers.decode(call)
        call.address = address_in(spec, task, args)
        if call.address is None:
            if self._local is not None and spec.family == "connect":
                self._local.called(spec, task, args)
            return None
        return self._addressed(call)

    def _is_ours(self, call: NetCall) -> bool:
        if call.spec.name == "recvfrom":
            return self._server.stands_for(call.link) is not None
        if call.spec.name == "setsockopt":
            return True
        return self._relay.address_of(call.link) is not None

    def _addressed(self, call: NetCall) -> NetCall | None:
        """Understand a connect, or a datagram sent to an address."""
        assert call.address is not None
        try:
            with Duplicate(call.task.process, call.fd) as mine:
                kind = sockets.kind(mine)
        except CannotExecute:
            return None
        call.to = self._names.destination(call.address)
        if call.spec.family == "connect":
            new = self._relay.address_of(call.link) is None and call.address.port != PORT
            if is_stream(kind) and new and call.to is not None:
                call.family, call.target = "connect", call.to.target
            return call if is_stream(kind) or is_datagram(kind) else None
        if call.spec.name != "sendmmsg" and flags_of(call) & FASTOPEN:
            return call
        if is_datagram(kind) and call.to is not None and call.address.port != PORT:
            call.family, call.target = "sendto", call.to.target
        return call if is_datagram(kind) else None

    def describe(self, call: NetCall, whole: bool) -> NetworkDetail:
        """The operation, with its destination."""
        return NetworkDetail(peer="" if call.to is None else call.to.peer)

    # Carrying it out.

    def perform(self, call: NetCall, stopped: Stopped) -> None:
        """Answer the call, and record it in a recording."""
        if call.fate is not None or call.instead is not None:
            self._connecting.go_on(call, stopped)
            return
        match call.spec.name:
            case "connect" if call.address is not None and call.address.port == PORT:
                self._resolving.connect(call, stopped)
            case "connect":
                self._connecting.connect(call, stopped)
            case "getpeername":
                self._connecting.peername(call, stopped)
            case "recvfrom":
                self._resolving.receive(call, stopped)
            case "poll" | "ppoll":
                self._resolving.poll(call, stopped)
            case "setsockopt":
                stopped.answer(-errno.EOPNOTSUPP)
            case _:
                self._other(call, stopped)

    def _other(self, call: NetCall, stopped: Stopped) -> None:
        if call.spec.family == NOTED:
            connection = self._relay.connection(call.link)
            if connection is not None and self._log.recording:
                connection.where = self._log.where_in_run(call.task)
            stopped.go_on()
        elif call.spec.family == "sendto":
            self._send(call, stopped)
        else:
            self._done(call, stopped, servers.perform(call))

    def _done(self, call: NetCall, stopped: Stopped, result: int | None) -> None:
        if call.family and self._log.recording:
            self._log.record(call, result, self.describe(call, whole=False))
        if result is None:
            stopped.go_on()
        else:
            stopped.answer(result)

    def _send(self, call: NetCall, stopped: Stopped) -> None:
        if not call.family:
            fast = call.spec.name != "sendmmsg" and flags_of(call) & FASTOPEN
            if fast:
                stopped.answer(-errno.EOPNOTSUPP)
            elif call.to is None:
                self._connecting.refuse(call, stopped)
            else:
                stopped.go_on()
            return
        self._done(call, stopped, datagrams.perform(call))

    def effect(self, shape: Shape, call: NetCall) -> FaultEffect:
        """What a fault does to a call.

        Raises:
            CannotExecute: for a fault that is impossible at this call.
        """
        if call.family == "sendto":
            return datagrams.effect(shape, call)
        if call.family in servers.FAMILIES:
            return servers.effect(shape, call, self._scene.round)
        return self._connecting.effect(shape, call)

    def counter(self, armed: Armed, main: Process) -> None:
        """Return None: connections are few, and each must be decoded."""
        return

    def settle(self) -> None:
        """Record what was sent before the call that is about to be recorded."""
        if self._has("_scene"):
            self._scene.round.turn()

    def at_end(self) -> None:
        """Return None: requests have their own records."""
        return

    def close(self) -> None:
        """Let sent data arrive, then close everything."""
        if self._has("_relay"):
            self._relay.end()
        if self._has("_server"):
            self._server.close()
