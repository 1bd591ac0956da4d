"""A name server that knows only the peers (RFC 1035)."""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from chaoskit.core.operation import NetworkDetail
from chaoskit.faults.shapes import Delayed, Shape
from chaoskit.faults.traffic import Unanswered, Unresolved
from chaoskit.inject.kernel.border import Happening
from chaoskit.inject.kernel.network.addresses import Address
from chaoskit.inject.kernel.network.connection import Scene, Spoken
from chaoskit.inject.kernel.network.names import Names
from chaoskit.inject.kernel.workload.tree import Task

_HEADER = struct.Struct("!HHHHHH")
_ANSWERS = 0x8180
"""The flags of a response with recursion, as a resolver gives it (RFC 1035, 4.1.1)."""
_SERVFAIL, _NXDOMAIN = 2, 3
_TYPES = {1: "A", 28: "AAAA", 12: "PTR", 15: "MX", 16: "TXT", 33: "SRV", 65: "HTTPS"}
_TTL = 5
"""Seconds that a resolver may keep an answer."""
_MOMENT = 0.0005
"""Seconds in which the second of two queries for a name follows the first."""
_NOBODY = "127.77.255.1"
"""An address where nothing listens; peers have addresses below 127.77.1."""


@dataclass(frozen=True, slots=True)
class _DnsQuestion:
    ident: int
    raw: bytes
    name: str
    type: int

    @classmethod
    def parse(cls, data: bytes) -> _DnsQuestion | None:
        try:
            ident, _, count, *_ = _HEADER.unpack_from(data)
            labels, at = [], _HEADER.size
            while data[at]:
                labels.append(data[at + 1 : at + 1 + data[at]].decode("latin-1"))
                at += 1 + data[at]
            (kind,) = struct.unpack_from("!H", data, at + 1)
        except (struct.error, IndexError):
            return None
        return cls(ident, data[_HEADER.size : at + 5], ".".join(labels), kind) if count == 1 else None

    def answer(self, code: int, address: str | None) -> bytes:
        head = _HEADER.pack(self.ident, _ANSWERS | code, 1, int(address is not None), 0, 0)
        if address is None:
            return head + self.raw
        # The answer refers to the name in the question, by a pointer to byte 12.
        record = struct.pack("!HHHIH", 0xC00C, 1, 1, _TTL, 4) + socket.inet_aton(address)
        return head + self.raw + record


class NameServer:
    """Answers the queries of one run."""

    def __init__(self, scene: Scene, names: Names) -> None:
        self._scene = scene
        self._names = names
        self._socket: socket.socket | None = None
        self._asked: dict[str, Address] = {}
        self._tasks: dict[int, Task] = {}
        self._lasting: dict[str, Unresolved | Unanswered] = {}
        self._unanswered: set[tuple[int, int]] = set()

    def take(self, link: str, asked: Address) -> int:
        """Return our port for a socket of the workload that wants to reach the name server ``asked``."""
        self._asked[link] = asked
        return int(self._own().getsockname()[1])

    def bound(self, port: int, task: Task) -> None:
        """Note that queries from this port come from ``task``."""
        self._tasks[port] = task
        self._unanswered = {one for one in self._unanswered if one[0] != port}

    @property
    def asked(self) -> bool:
        """True if a socket of the workload leads to us."""
        return bool(self._asked)

    def is_silent(self, port: int) -> bool:
        """True if a query of the socket at ``port`` will never be answered."""
        return any(one[0] == port for one in self._unanswered)

    def stands_for(self, link: str) -> Address | None:
        """The address that the workload expects answers from; None for a socket that does not lead to us."""
        return self._asked.get(link)

    def forget(self, link: str) -> None:
        """Drop a socket whose number was reused."""
        self._asked.pop(link, None)

    def turn(self) -> None:
        """Receive the queries that have come, and answer them."""
        # Receive all of them, since queries for a name come in pairs.
        while self._socket is not None:
            try:
                data, sender = self._socket.recvfrom(4096)
            except OSError:
                return
            question = _DnsQuestion.parse(data)
            task = self._tasks.get(sender[1])
            if question is not None and task is not None:
                self._see_to(question, sender, task)

    def close(self) -> None:
        """Close the sockets."""
        if self._socket is not None:
            self._scene.round.expect(self._socket.fileno(), 0, bool)
            self._socket.close()
            self._socket = None

    def _own(self) -> socket.socket:
        if self._socket is None:
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._socket.setblocking(False)
            self._socket.bind(("127.0.0.1", 0))
            self._listen()
        return self._socket

    def _listen(self) -> None:
        if self._socket is not None:
            self._scene.round.expect(self._socket.fileno(), select.POLLIN, self._soon)

    def _soon(self, _: int) -> None:
        """Answer in a moment: the two queries for a name are sent one after the other.

        The behaviour of a resolver depends on whether both answers have come when it looks.
        """
        assert self._socket is not None
        self._scene.round.expect(self._socket.fileno(), 0, self._soon)
        self._scene.round.poller.later(_MOMENT, self._now)

    def _now(self) -> None:
        self.turn()
        self._listen()

    def _see_to(self, question: _DnsQuestion, sender: tuple[str, int], task: Task) -> None:
        kind = _TYPES.get(question.type, str(question.type))
        target = f"{question.name.lower()}/{kind}"
        happening = self._scene.happenings.begin(
            Spoken("dns", target, task), NetworkDetail(question.name.lower(), sent=len(question.raw))
        )
        address = self._names.address(question.name)
        # Add the caveat even if a fault strikes: the recording has met the same name.
        if address is None:
            self._undeclared(question.name)
        shape: Shape | None = happening.shape or self._lasting.get(target)
        if happening.shape is not None:
            self._prove(happening, target)
        reply = partial(self._reply, question, sender, happening)
        match shape:
            case Unanswered():
                self._unanswered.add((sender[1], question.type))
            case Unresolved("empty"):
                reply(0, None)
            case Unresolved("other"):
                reply(0, _NOBODY if question.type == 1 else None)
            case Unresolved(how):
                reply(_NXDOMAIN if how == "NXDOMAIN" else _SERVFAIL, None)
            case Delayed(seconds=seconds):
                self._scene.time.later(seconds, partial(self._usual, question, address, reply))
            case _:
                self._usual(question, address, reply)

    def _usual(
        self, question: _DnsQuestion, address: str | None, reply: Callable[[int, str | None], object]
    ) -> None:
        if address is None:
            reply(_NXDOMAIN, None)
        else:
            reply(0, address if question.type == 1 else None)

    def _reply(
        self,
        question: _DnsQuestion,
        sender: tuple[str, int],
        happening: Happening,
        code: int,
        address: str | None,
    ) -> None:
        self._unanswered.discard((sender[1], question.type))
        if self._socket is not None:
            try:
                self._socket.sendto(question.answer(code, address), sender)
            except OSError:
                pass  # The socket is closed: the resolver has given up.
        found = int(address is not None)
        happening.known(found, NetworkDetail(question.name.lower(), sent=len(question.raw), received=found))

    def _prove(self, happening: Happening, target: str) -> None:
        match happening.shape:
            case Unanswered(lasting) | Unresolved(_, lasting):
                if lasting:
                    self._lasting[target] = happening.shape
                if isinstance(happening.shape, Unanswered):
                    happening.watch(frozenset({"dns"}))
                happening.prove(f"{happening.text.rpartition('=')[2]} instead of the address")
            case Delayed(text=text):
                happening.prove(f"answered {text} s later")
            case _:
                happening.impossible("a question for a name knows no such fault")

    def _undeclared(self, name: str) -> None:
        text = (
            f"the name {name} does not exist in this run: it was not declared. Give it a server: "
            f"chaos.peer({name!r}, start=…), or the address of a real one: chaos.peer({name!r}, address=…)."
        )
        self._scene.log.caveat("undeclared", name, text)
