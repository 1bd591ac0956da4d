"""System calls by number: the rows of a domain's table, and the calls that are only watched.

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
"""Names of families as in :class:`Spec`; None for all."""

Condition = tuple[int, Literal["any", "other", "bits", "clear", "given", "null"], tuple[int, ...]]
"""An argument's index, a kind of test, and values. ``any``: one of the values; ``other``: none of them;
``bits``: all these bits are set; ``clear``: none is. These look only at the low 32 bits. ``given`` and
``null`` need no values: the pointer is not NULL, or is."""


@dataclass(frozen=True, slots=True)
class Spec:
    """One system call: its numbers, its family of operations, and when it matters.

    A number is None where the machine lacks the call. All conditions of ``when`` must hold, else the kernel
    carries the call out without telling us. A call with ``always`` stops in cases too, where its domain
    performs it as in a recording.
    """

    name: str
    family: str
    x86_64: int | None
    aarch64: int | None
    when: tuple[Condition, ...] = ()
    always: bool = False

    def number(self, machine: str) -> int | None:
        """The call's number on ``machine``; None if it does not exist there."""
        # Only these two architectures have been tested.
        return {"x86_64": self.x86_64, "aarch64": self.aarch64}.get(machine)


@dataclass(frozen=True, slots=True)
class Watched(Spec):
    """A call that is not an operation but affects what we can see. It stops in every run.

    The call adds a caveat of kind ``caveat``, whose sentence is ``text`` with ``{name}`` for the call. If
    ``refused``, it is answered with ENOSYS, and a program must do without it.
    """

    caveat: str = ""
    text: str = ""
    refused: bool = False


_ELSEWHERE = "{name} was used: names mean other files there, and are not followed"
_UNKNOWN = "{name} was refused (ENOSYS): it is not followed yet"


def _elsewhere(name: str, x86_64: int, aarch64: int) -> Watched:
    """A call after which a name may mean different files to the caller and to us."""
    return Watched(name, "", x86_64, aarch64, caveat="elsewhere", text=_ELSEWHERE)


def _unknown(name: str, number: int) -> Watched:
    """A new call without which every program must cope."""
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

# A row says how a call is handled; few need code (chaoskit.inject.kernel.watching).
_ROWS = (
    Watched("execve", "", 59, 221),
    Watched("execveat", "", 322, 281),
    # From then on calls may wait for each other, and a child's end sends a signal.
    *(Watched(name, "", x86_64, aarch64) for name, x86_64, aarch64 in _FORKS),
    # From then on even the first call may be interrupted.
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
"""Calls that the supervisor makes and Python does not offer."""


# Cached: a recorded call needs several of them for each duplicated descriptor.
@cache
def number_of(name: str, machine: str) -> int:
    """The number of one of :data:`WATCHED` or :data:`OTHERS`. Raises KeyError if it does not exist there."""
    number = (WATCHED.get(name) or OTHERS[name]).number(machine)
    if number is None:
        raise KeyError(f"{name} on {machine}")
    return number
