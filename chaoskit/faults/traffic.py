"""What can happen to traffic on a network, as shapes: see :mod:`chaoskit.faults.shapes`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Unsent:
    """The connection is reset before the other side has received anything of the request."""


@dataclass(frozen=True, slots=True)
class Cut:
    """``after`` bytes of the answer arrive; then a reset, an ordered end (``eof``), or ``silent``."""

    how: Literal["reset", "eof", "silent"]
    after: int


@dataclass(frozen=True, slots=True)
class Unanswered:
    """Silence instead of an answer, to a SYN or a name query; permanent if ``lasting``."""

    lasting: bool = False


@dataclass(frozen=True, slots=True)
class Sliced:
    """The answer arrives in pieces of ``size`` bytes."""

    size: int


@dataclass(frozen=True, slots=True)
class Corrupted:
    """One bit of byte ``at`` of the answer is flipped; TCP's checksum does not detect every such error."""

    at: int


@dataclass(frozen=True, slots=True)
class Partitioned:
    """From here on nothing gets through in either direction, without any error."""


@dataclass(frozen=True, slots=True)
class Answered:
    """An intermediary answers with this ``status``; the server has executed the request if ``done``."""

    status: int
    done: bool = False


@dataclass(frozen=True, slots=True)
class AwsError:
    """One of Amazon's services answers with an error, in its protocol's envelope, and does nothing."""

    service: str
    code: str
    status: int
    protocol: str


@dataclass(frozen=True, slots=True)
class Twice:
    """The request, or the datagram, is delivered twice."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """A datagram does not arrive."""


@dataclass(frozen=True, slots=True)
class Spoilt:
    """A malformed HTTP answer.

    ``cut``: half of the body, with a header for that half. ``not-json``: a page instead of the body.
    ``no-length``: neither Content-Length nor chunks, so the end of the connection ends the body.
    """

    how: Literal["cut", "not-json", "no-length"]


@dataclass(frozen=True, slots=True)
class KilledAt:
    """SIGKILL to all before the other side has the ``request``, or after it has sent its ``answer``."""

    moment: Literal["request", "answer"]


@dataclass(frozen=True, slots=True)
class Unresolved:
    """What a name server says instead of the address; permanent if ``lasting``.

    ``empty``: the name exists but has no such address. ``other``: an address at which nothing listens.
    """

    how: Literal["NXDOMAIN", "SERVFAIL", "empty", "other"]
    lasting: bool = False


@dataclass(frozen=True, slots=True)
class Down:
    """This connection and the following ones, ``times`` in all, are refused."""

    times: int


Traffic = (
    Unsent
    | Cut
    | Unanswered
    | Sliced
    | Corrupted
    | Partitioned
    | Answered
    | AwsError
    | Twice
    | Dropped
    | Spoilt
    | KilledAt
    | Unresolved
    | Down
)
