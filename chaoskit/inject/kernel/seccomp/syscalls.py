"""System calls by number: what one row of a table says, and the calls that are only watched.

Each domain has a table of the calls that it understands; the filter is made from all of them. Numbers:
``asm/unistd_64.h`` for x86-64, ``asm-generic/unistd.h`` for aarch64; a test compares them with the
kernel headers of the machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

from chaoskit.inject.kernel.seccomp import abi

Families = frozenset[str] | None
"""A choice of families of calls, by their names in :class:`Spec`; None for all."""

Condition = tuple[int, Literal["any", "other", "bits", "clear", "given", "null"], tuple[int, ...]]
"""On which argument a call's interest depends, and how. ``any``: it is one of the values; ``other``: it is
none of them; ``bits``: it has all these bits; ``clear``: it has none of them. For these only the low 32 bits
are looked at. ``given`` and ``null`` are for pointers, without values: it is not NULL, or it is."""


@dataclass(frozen=True, slots=True)
class Spec:
    """One system call: its numbers, the family of operations that it is, and when it is of interest.

    A number of None says that the machine does not have the call. All conditions of ``when`` must hold;
    where one does not, the kernel carries the call out and we never hear of it. A call that stops
    ``always`` does so in cases too, and its domain performs it there as in a recording.
    """

    name: str
    family: str
    x86_64: int | None
    aarch64: int | None
    when: tuple[Condition, ...] = ()
    always: bool = False

    def number(self, machine: str) -> int | None:
        """The call's number on ``machine``; None where the call does not exist."""
        # Two machines are all that we could try.
        return {"x86_64": self.x86_64, "aarch64": self.aarch64}.get(machine)


@dataclass(frozen=True, slots=True)
class Watched(Spec):
    """A call that is not an operation but changes what can be seen; such calls stop in every run.

    ``caveat`` is the kind of caveat that is noted when one is made, ``text`` its sentence with ``{name}``
    for the call. ``refused`` calls are answered ENOSYS, so that a program does without them.
    """

    caveat: str = ""
    text: str = ""
    refused: bool = False


_ELSEWHERE = "{name} was used: names mean other files there, and are not followed"
_UNKNOWN = "{name} was refused (ENOSYS): it is not followed yet"


def _elsewhere(name: str, x86_64: int, aarch64: int) -> Watched:
    """A call after which a name may mean another file to the caller than to us."""
    return Watched(name, "", x86_64, aarch64, caveat="elsewhere", text=_ELSEWHERE)


def _unknown(name: str, number: int) -> Watched:
    """A call that is so new that every program must cope without it."""
    return Watched(name, "", number, number, caveat="refused", text=_UNKNOWN, refused=True)


_FORKS: tuple[tuple[str, int, int | None], ...] = (
    ("clone", 56, 220),
    ("fork", 57, None),
    ("vfork", 58, None),
    ("clone3", 435, 435),
)

_TIMERS: tuple[tuple[str, int, int | None], ...] = (
    ("alarm", 37, None),
    ("setitimer", 38, 103),
    ("timer_settime", 223, 110),
)

# A row says what is done about a call; few need code (chaoskit.inject.kernel.watching).
_ROWS = (
    Watched("execve", "", 59, 221),
    Watched("execveat", "", 322, 281),
    # From then on calls may wait for each other, and a child's end is a signal.
    *(Watched(name, "", x86_64, aarch64) for name, x86_64, aarch64 in _FORKS),
    # And from then on the first call of all may be interrupted.
    *(Watched(name, "", x86_64, aarch64) for name, x86_64, aarch64 in _TIMERS),
    Watched("setsid", "", 112, 157),
    Watched("setpgid", "", 109, 154),
    Watched("seccomp", "", 317, 277),
    Watched("landlock_restrict_self", "", 446, 446),
    Watched("prctl", "", 157, 167, ((0, "any", (abi.PR_SET_SECCOMP,)),)),
    Watched(
        "io_uring_setup",
        "",
        425,
        425,
        caveat="io_uring",
        text="io_uring was refused (ENOSYS): its operations are not seen",
        refused=True,
    ),
    Watched(
        "io_submit",
        "",
        209,
        2,
        caveat="aio",
        text="asynchronous I/O (io_submit) was used: it is not seen",
    ),
    Watched(
        "open_by_handle_at",
        "",
        304,
        265,
        caveat="by-handle",
        text="files were opened by handle: this is not seen",
    ),
    _elsewhere("chroot", 161, 51),
    _elsewhere("pivot_root", 155, 41),
    _elsewhere("unshare", 272, 97),
    _elsewhere("setns", 308, 268),
    _unknown("setxattrat", 463),
    _unknown("removexattrat", 466),
    _unknown("file_setattr", 469),
)

WATCHED: dict[str, Watched] = {row.name: row for row in _ROWS}
"""The watched calls by name."""

OTHERS: dict[str, Spec] = {"pidfd_getfd": Spec("pidfd_getfd", "", 438, 438)}
"""Calls that the supervisor makes for itself and Python does not offer."""


# Asked for each descriptor that is duplicated, several times in a recorded call.
@cache
def number_of(name: str, machine: str) -> int:
    """The number of one of :data:`WATCHED` or :data:`OTHERS`. Raises KeyError where it does not exist."""
    number = (WATCHED.get(name) or OTHERS[name]).number(machine)
    if number is None:
        raise KeyError(f"{name} on {machine}")
    return number
