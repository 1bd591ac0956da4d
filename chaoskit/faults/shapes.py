"""What a fault's name and argument mean, as data: text is parsed here, once, and nowhere below.

A :class:`~chaoskit.core.schedule.Fault` is what a schedule says, a :class:`Shape` what a backend must do. The
table :data:`FORMS` is the whole grammar; messages and documents are made from it.
"""

from __future__ import annotations

import errno
import re
import signal
from dataclasses import dataclass
from functools import lru_cache

from chaoskit.core.errors import ScheduleError
from chaoskit.core.schedule import PERSISTENT, Fault
from chaoskit.faults import inner, timing, traffic
from chaoskit.faults.forms import NETWORK, TIME, Form


@dataclass(frozen=True, slots=True)
class Errno:
    """The call fails with ``number`` and has no effect; so does every later such call if ``lasting``."""

    name: str
    number: int
    lasting: bool = False


@dataclass(frozen=True, slots=True)
class LostReply:
    """The call takes effect but reports ``number``."""

    name: str
    number: int


@dataclass(frozen=True, slots=True)
class Shortened:
    """A read or write transfers only ``length`` bytes."""

    length: int


@dataclass(frozen=True, slots=True)
class Filled:
    """From this call to the end of the run only ``left`` bytes are free on the disk."""

    left: int


@dataclass(frozen=True, slots=True)
class Killed:
    """SIGKILL before the call: to every process of the workload, or to the ``caller`` alone."""

    caller: bool = False


@dataclass(frozen=True, slots=True)
class Torn:
    """The first ``length`` bytes of a write take effect, then SIGKILL to every process."""

    length: int


@dataclass(frozen=True, slots=True)
class Signalled:
    """A signal to the workload's first process at this call."""

    name: str
    number: int


@dataclass(frozen=True, slots=True)
class Delayed:
    """The call takes ``seconds`` longer. ``text`` is the number as the schedule spells it."""

    seconds: float
    text: str


@dataclass(frozen=True, slots=True)
class Damaged:
    """The file is damaged in place before it is opened; ``label`` says how (``zip.entry1.flip.crc``)."""

    label: str

    @property
    def nature(self) -> str:
        """What kind of damage it is: ``hostile``, ``cut``, or ``changed`` for all else.

        A program must refuse harmful content, notice a premature end, and check what it reads.
        """
        words = re.split(r"[./]", self.label)
        if "hostile" in words or "bomb" in words:
            return "hostile"
        return "cut" if {"cut", "empty"} & set(words) else "changed"


@dataclass(frozen=True, slots=True)
class Afterwards:
    """Strikes no call: the explorer derives its states from a recorded trace (``power_loss``)."""

    argument: str


Shape = (
    Errno
    | LostReply
    | Shortened
    | Filled
    | Killed
    | Torn
    | Signalled
    | Delayed
    | inner.Inner
    | inner.MemoryLimited
    | inner.LargestKilled
    | Damaged
    | Afterwards
    | traffic.Traffic
    | timing.OfTime
)


def _errno(name: str, argument: str) -> Errno | None:
    number = getattr(errno, name, None)
    # None rather than an error: whether unknown anywhere or only here, the message lists the known ones.
    return None if number is None else Errno(name, number, argument == PERSISTENT)


def _lost(_: str, argument: str) -> LostReply | None:
    number = getattr(errno, argument, None)
    return None if number is None else LostReply(argument, number)


def _signal(name: str, _: str) -> Signalled | None:
    # Not every SIG… of the module is a signal: the pattern excludes SIG_BLOCK and SIG_IGN.
    number = getattr(signal, name, None)
    return None if number is None else Signalled(name, int(number))


_INSIDE: tuple[Form, ...] = (
    Form(
        "MemoryError",
        rf"[1-9]\d*(,{PERSISTENT})?",
        lambda _, argument: _allocation_fails(argument),
        ("MemoryError[J]", f"MemoryError[J,{PERSISTENT}]"),
        "the J-th allocation of this line fails; ``persistent``: and every one of 64 KiB or more after it",
    ),
    Form(
        "KeyboardInterrupt",
        "",
        lambda _, __: inner.Interrupted(),
        ("KeyboardInterrupt",),
        "raised where Python looks for signals: when a function begins, a loop turns or a call has returned",
    ),
    Form("cancel", "", lambda _, __: inner.Cancelled(), ("cancel",), "the task that waits here is cancelled"),
    Form(
        "memory_limit",
        r"[1-9]\d*",
        lambda _, mebibytes: inner.MemoryLimited(int(mebibytes)),
        ("memory_limit[MIB]",),
        "from this call on the process may have this many MiB more than it has, and no more",
    ),
    Form(
        "oom",
        "",
        lambda _, __: inner.LargestKilled(),
        ("oom",),
        "SIGKILL to the process with the most memory, as the kernel does when there is none left",
    ),
)


def _allocation_fails(argument: str) -> inner.AllocationFails:
    nth, _, lasting = argument.partition(",")
    return inner.AllocationFails(int(nth), bool(lasting))


FORMS: tuple[Form, ...] = (
    Form(
        r"E[A-Z0-9]+",
        f"|{PERSISTENT}",
        _errno,
        ("an errno name such as ENOSPC", "ENOSPC[persistent]"),
        "the call fails with this errno and has no effect; ``[persistent]``: and so does every later call "
        "that can fail in this way, until the run is over",
    ),
    Form(
        "short",
        r"\d+",
        lambda _, n: Shortened(int(n)),
        ("short[N]",),
        "a read or write that transfers only N bytes",
    ),
    Form("lost", r"E[A-Z0-9]+", _lost, ("lost[EIO]",), "the call takes effect and yet reports this errno"),
    Form("full", r"\d+", lambda _, n: Filled(int(n)), ("full[N]",), "from this call on, N bytes are free"),
    Form("kill", "", lambda _, __: Killed(), ("kill",), "SIGKILL to every process, before the call"),
    Form(
        "kill",
        "process",
        lambda _, __: Killed(caller=True),
        ("kill[process]",),
        "SIGKILL to the calling process alone, before the call",
    ),
    Form(
        "kill",
        r"torn [1-9]\d*",
        lambda _, text: Torn(int(text.removeprefix("torn "))),
        ("kill[torn N]",),
        "the first N bytes of a write take effect, then SIGKILL to all",
    ),
    Form(
        r"SIG[A-Z0-9]+",
        "",
        _signal,
        ("a signal name such as SIGTERM",),
        "sent to the workload's first process at this call",
    ),
    Form(
        "delay",
        r"\d+(\.\d+)?",
        lambda _, seconds: Delayed(float(seconds), seconds),
        ("delay[SECONDS]",),
        "the call takes so much longer",
    ),
    Form(
        "damage",
        r"[a-z][^\[\];]*",
        lambda _, label: Damaged(label),
        ("damage[LABEL]",),
        "the file is damaged just before it is opened, in place; the label says how, as in "
        "``damage[zip.entry1.flip.crc]``",
    ),
    *NETWORK,
    *TIME,
    *_INSIDE,
    Form("power_loss", ".*", lambda _, text: Afterwards(text), (), "the power goes after this operation"),
)
"""The grammar of faults. No backend is asked for a row without examples."""


# Bounded, since the lengths of torn and short transfers depend on the sizes of the user's writes.
@lru_cache(maxsize=4096)
def shape_of(fault: Fault) -> Shape:
    """The shape of ``fault``. The text is parsed once; an equal fault then costs only a look-up.

    Raises:
        ScheduleError: for a fault that does not exist, naming those that do.
    """
    for form in FORMS:
        # Match both in full: "kills" must not pass for "kill", nor "ENOSPC[persistent!]" without its "!".
        if re.fullmatch(form.name, fault.name) and re.fullmatch(form.argument, fault.argument):
            shape: Shape | None = form.make(fault.name, fault.argument)
            if shape is not None:
                return shape
    raise ScheduleError(f"fault '{fault}' is not known; expected {_listed()}.")


def is_afterwards(fault: Fault) -> bool:
    """True for a fault that no backend injects: a source of cases builds its world from the recording.

    Raises:
        ScheduleError: as :func:`shape_of`.
    """
    return isinstance(shape_of(fault), Afterwards)


def unsupported(fault: Fault, backend: str) -> ScheduleError:
    """The error for a fault that exists but that ``backend`` cannot inject."""
    return ScheduleError(f"fault '{fault}' is not known to the {backend} backend; expected {_listed()}.")


def _listed() -> str:
    names = [example for form in FORMS for example in form.examples]
    return f"{', '.join(names[:-1])} or {names[-1]}"
