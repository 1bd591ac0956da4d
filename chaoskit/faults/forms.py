"""One row of the grammar of faults, and the rows for networks and time; the others are in :mod:`.shapes`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from chaoskit.core.schedule import PERSISTENT
from chaoskit.faults import aws, timing, traffic


@dataclass(frozen=True, slots=True)
class Form:
    """One row of the grammar: patterns for ``name[argument]``, matched in full, and what it means.

    ``make`` takes name and argument; it returns None to refuse them after all, as for an errno that this
    machine does not have. ``examples`` are for messages, ``meaning`` is for the documents.
    """

    name: str
    argument: str
    make: Callable[[str, str], Any]
    examples: tuple[str, ...]
    meaning: str


def _stepped(_: str, argument: str) -> timing.Stepped:
    return timing.Stepped(int(Decimal(argument) * 10**9))


def _set(_: str, argument: str) -> timing.Set | None:
    try:
        moment = datetime.fromisoformat(argument.replace("Z", "+00:00"))
    except ValueError:
        return None
    whole = moment.replace(microsecond=0)
    return timing.Set(int(whole.timestamp()) * 10**9 + moment.microsecond * 1000)


def _cut(how: str, count: str) -> traffic.Cut:
    return traffic.Cut(how, int(count))  # type: ignore[arg-type]


NETWORK: tuple[Form, ...] = (
    Form(
        "reset",
        "request",
        lambda _, __: traffic.Unsent(),
        ("reset[request]",),
        "the connection is reset before the other side has got anything of the request",
    ),
    Form(
        "reset|eof|silent",
        r"\d+",
        _cut,
        ("reset[N]", "eof[N]", "silent[N]"),
        "N bytes of the answer arrive; then a reset, the end of the connection, or silence",
    ),
    Form(
        "silent",
        f"|{PERSISTENT}",
        lambda _, argument: traffic.Unanswered(argument == PERSISTENT),
        ("silent",),
        "a connection or a question for a name that is never answered",
    ),
    Form(
        "slice",
        r"[1-9]\d*",
        lambda _, size: traffic.Sliced(int(size)),
        ("slice[N]",),
        "the answer arrives in pieces of N bytes",
    ),
    Form(
        "corrupt",
        r"\d+",
        lambda _, at: traffic.Corrupted(int(at)),
        ("corrupt[N]",),
        "one bit of byte N of the answer is flipped",
    ),
    Form(
        "partition",
        "",
        lambda _, __: traffic.Partitioned(),
        ("partition",),
        "from here on nothing gets through in either direction, without an error",
    ),
    Form(
        "status",
        r"[2-5]\d\d",
        lambda _, status: traffic.Answered(int(status)),
        ("status[503]",),
        "something in between answers with this status; the server never sees the request",
    ),
    Form(
        "lost",
        r"[45]\d\d",
        lambda _, status: traffic.Answered(int(status), done=True),
        ("lost[504]",),
        "the server does the request, and something in between answers with this status",
    ),
    Form(
        "aws",
        r"[a-z0-9-]+\.[A-Za-z0-9.]+",
        lambda _, text: aws.error(text),
        ("aws[s3.SlowDown]",),
        "the service of Amazon's answers with this error, as its protocol has it, and does nothing",
    ),
    Form("lost", "", lambda _, __: traffic.Dropped(), ("lost",), "a datagram that does not arrive"),
    Form(
        "twice",
        "",
        lambda _, __: traffic.Twice(),
        ("twice",),
        "the request, or the datagram, is delivered twice",
    ),
    Form(
        "body",
        "cut|not-json",
        lambda _, how: traffic.Spoilt(how),  # type: ignore[arg-type]
        ("body[cut]", "body[not-json]"),
        "a body that is cut although its header knows nothing of it, or one that is a page instead of JSON",
    ),
    Form(
        "headers",
        "no-length",
        lambda _, __: traffic.Spoilt("no-length"),
        ("headers[no-length]",),
        "an answer without its length, which ends with the connection",
    ),
    Form(
        "kill",
        "request|answer",
        lambda _, moment: traffic.KilledAt(moment),  # type: ignore[arg-type]
        ("kill[request]", "kill[answer]"),
        "SIGKILL to every process before the other side has the request, or once it has answered",
    ),
    Form(
        "NXDOMAIN|SERVFAIL",
        f"|{PERSISTENT}",
        lambda how, lasting: traffic.Unresolved(how, lasting == PERSISTENT),  # type: ignore[arg-type]
        ("NXDOMAIN", "SERVFAIL"),
        "what the name server says; ``[persistent]``: to every later question for this name too",
    ),
    Form(
        "empty|other",
        "",
        lambda how, _: traffic.Unresolved(how),  # type: ignore[arg-type]
        ("empty", "other"),
        "a name that has no address, or one at which nothing listens",
    ),
    Form(
        "down",
        r"[1-9]\d*",
        lambda _, times: traffic.Down(int(times)),
        ("down[K]",),
        "this connection and the next ones to the same peer, K in all, are refused",
    ),
)

TIME: tuple[Form, ...] = (
    Form(
        "step",
        r"-?\d+(\.\d{1,9})?",
        _stepped,
        ("step[SECONDS]",),
        "the wall clock is put forward, or back",
    ),
    Form(
        "set",
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z",
        _set,
        ("set[2038-01-19T03:14:07Z]",),
        "the wall clock is set to this time",
    ),
    Form(
        "freeze", "", lambda _, __: timing.Frozen(), ("freeze",), "the wall clock stands still from here on"
    ),
    Form(
        "drift",
        r"-?[1-9]\d*",
        lambda _, rate: timing.Drifting(int(rate)),
        ("drift[PPM]",),
        "the wall clock goes fast from here on by this many parts in a million, or slow",
    ),
    Form("same", "", lambda _, __: timing.Repeated(), ("same",), "a read shows the time of the one before"),
    Form(
        "suspend",
        r"\d+(\.\d+)?",
        lambda _, seconds: timing.Suspended(float(seconds)),
        ("suspend[SECONDS]",),
        "the machine sleeps during a wait: the wall clock goes on, the monotonic clock does not",
    ),
    Form(
        "late",
        r"\d+(\.\d+)?",
        lambda _, seconds: timing.Late(float(seconds)),
        ("late[SECONDS]",),
        "a wait takes so much longer",
    ),
)
