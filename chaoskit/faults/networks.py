"""What a network, a name server and another program can do to a program that talks to them.

Sources: connect(2), accept(2), bind(2), socket(2), sendto(2) for the errors; tcp(7) for the reset and the
silence; RFC 1035, 4.1.1, for what a name server answers; RFC 9110 and RFC 9112 for HTTP.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from chaoskit.core.operation import Operation, Trace
from chaoskit.core.schedule import PERSISTENT, Fault
from chaoskit.faults.aws import Aws, errors
from chaoskit.faults.calls import FAMILIES
from chaoskit.faults.sets import FaultSet

Extra = Literal["slow", "bytes", "thorough"]

_CONNECT = ("ECONNREFUSED", "EHOSTUNREACH", "ETIMEDOUT")
_STATUSES = ("401", "429", "500", "503")
_BEGUN = (None, 0, -errno.EINPROGRESS)
"""The results of a good connect; a non-blocking socket gets EINPROGRESS (connect(2))."""


@dataclass(frozen=True, slots=True, repr=False)
class NetworkFamily:
    """Connections, names and exchanges that fail, wherever the baseline had them.

    Four faults for an exchange: nothing arrived; the other side acted but no byte of the answer came; the
    answer ended half-way; silence. ``extra`` adds faults that take time (``slow``), every border of an answer
    (``bytes``), and lasting or rare ones (``thorough``).
    """

    extra: frozenset[Extra] = frozenset()
    names: ClassVar[frozenset[str]] = frozenset(
        {
            *_CONNECT,
            *("ENETUNREACH", "EMFILE", "EADDRINUSE", "EACCES", "ECONNABORTED"),
            *("reset", "eof", "silent", "slice", "delay", "corrupt", "partition", "down"),
            *("NXDOMAIN", "SERVFAIL", "empty", "other", "lost", "twice"),
        }
    )

    def __repr__(self) -> str:
        return "faults.network()" + "".join(f".{one}()" for one in sorted(self.extra))

    def offers(self, operation: Operation, trace: Trace) -> Iterator[Fault]:
        row = FAMILIES[operation.call]
        if row.talks:
            yield from self._exchange(operation)
        elif operation.call == "connect":
            yield from self._connect(operation)
        elif operation.call == "dns":
            yield from self._name(operation)
        elif operation.call == "sendto":
            yield from map(Fault, ("ENETUNREACH", "lost", "twice"))
        elif operation.result is None or operation.result >= 0:
            yield from self._server(operation)

    def _connect(self, operation: Operation) -> Iterator[Fault]:
        if operation.result not in _BEGUN:
            return
        yield from map(Fault, (*_CONNECT, "silent"))
        if "slow" in self.extra:
            yield Fault("delay", "1")
        if "thorough" in self.extra:
            yield Fault("ECONNREFUSED", PERSISTENT)
            yield Fault("ENETUNREACH")
            yield Fault("down", "3")

    def _name(self, operation: Operation) -> Iterator[Fault]:
        # Of a look-up's two queries (A, AAAA) one often has an empty answer: striking the other is enough.
        if not operation.result:
            return
        yield Fault("NXDOMAIN")
        yield Fault("silent")
        if "slow" in self.extra:
            yield Fault("delay", "1")
        if "thorough" in self.extra:
            yield from map(Fault, ("SERVFAIL", "empty", "other"))
            yield from (Fault(name, PERSISTENT) for name in ("NXDOMAIN", "SERVFAIL", "silent"))

    def _exchange(self, operation: Operation) -> Iterator[Fault]:
        detail = operation.network
        if operation.call != "greeting":
            yield Fault("reset", "request")
        if not detail.received:
            return
        # Only the answer can be lost: the other side has acted.
        yield Fault("reset", "0")
        yield Fault("eof", str(detail.received // 2))
        yield Fault("silent", "0")
        if "slow" in self.extra:
            yield Fault("delay", "1")
            yield Fault("slice", "1")
        if "bytes" in self.extra:
            for count in borders(operation):
                yield from (Fault(how, str(count)) for how in ("reset", "eof", "silent"))
            yield Fault("corrupt", str(detail.received // 2))
        if "thorough" in self.extra:
            yield Fault("partition")

    def _server(self, operation: Operation) -> Iterator[Fault]:
        if operation.call == "accept":
            yield from map(Fault, ("ECONNABORTED", "EMFILE"))
        elif operation.call in ("bind", "listen"):
            yield Fault("EADDRINUSE")
            if operation.call == "bind" and "thorough" in self.extra:
                yield Fault("EACCES")
        elif operation.call == "socket" and "thorough" in self.extra:
            yield Fault("EMFILE")


def borders(operation: Operation) -> tuple[int, ...]:
    """Lengths of an answer at which programs go wrong: 0, 1, the end of its header, half, all but one."""
    detail = operation.network
    whole = detail.received
    wanted = {0, 1, detail.head, whole // 2, whole - 1}
    return tuple(sorted(count for count in wanted if 0 <= count < whole))


@dataclass(frozen=True, slots=True, repr=False)
class Http:
    """Clear-text HTTP answers that are legal but unwelcome, and some that are malformed."""

    names: ClassVar[frozenset[str]] = frozenset({"status", "lost", "twice", "body", "headers"})

    def __repr__(self) -> str:
        return "faults.http()"

    def offers(self, operation: Operation, trace: Trace) -> Iterator[Fault]:
        if operation.call != "http":
            return
        detail = operation.network
        # These need no answer from the server, which never receives the request.
        yield from (Fault("status", status) for status in _STATUSES)
        if not detail.received:
            return
        yield Fault("lost", "504")
        yield Fault("twice")
        if detail.received - detail.head > 1:
            # One byte has no half.
            yield Fault("body", "cut")
            yield Fault("headers", "no-length")
            if detail.kind.endswith("json"):
                yield Fault("body", "not-json")


class HttpFaults(FaultSet):
    """The HTTP faults."""

    __slots__ = ()

    def aws(self, service: str) -> HttpFaults:
        """Add the errors of one of Amazon's services, such as ``"s3"``, with their real codes and envelopes.

        Raises:
            UsageError: without botocore, and for a service that it does not know.
        """
        errors(service)
        return HttpFaults((self | FaultSet.of(Aws(service))).entries)


class NetworkFaults(FaultSet):
    """The network faults. Each method returns a set with more of them."""

    __slots__ = ()

    def slow(self) -> NetworkFaults:
        """Add delays, and answers that arrive byte by byte."""
        return self._with("slow")

    def bytes(self) -> NetworkFaults:
        """Add a cut at every border of an answer, and a flipped bit in it."""
        return self._with("bytes")

    def thorough(self) -> NetworkFaults:
        """Add lasting and rare faults: a partition, a server that is down, a name server that fails."""
        return self._with("thorough")

    def _with(self, extra: Extra) -> NetworkFaults:
        return self._each(NetworkFamily, lambda family: replace(family, extra=family.extra | {extra}))
