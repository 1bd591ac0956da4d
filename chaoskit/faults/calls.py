"""The families of calls that can be fault points, one row each, with all that matters about them.

What a family does is asked of its row and nowhere spelled out again: a new family is a row here, the
errors it can fail with (:mod:`chaoskit.faults.errnos`) and the domain of a backend that sees it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from chaoskit.core.operation import Operation


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFamily:
    """One family of calls: ``write`` stands for write, pwrite64, writev and their like.

    A property that holds only for some calls of a family, as for an open that creates, is not in its
    row: a function below looks at the operation itself.
    """

    name: str
    changes: bool = False
    """Other processes see another disk afterwards. The syncs do not change it: they matter when power is
    lost, not when a process dies, since what was written stays in the page cache."""
    opens: bool = False
    """Gives the caller a descriptor; what else it does depends on its flags."""
    moves: bool = False
    """Moves bytes between a file and the caller's memory."""
    transfers: bool = False
    """Puts a number of bytes into a file and returns how many."""
    copies: bool = False
    """Takes its data from another file."""
    grows: bool = False
    """May make its file longer, and so meets the limit on the size of files."""
    room: Literal["", "name", "data", "back"] = ""
    """What it wants of a disk: room for a name, for data, or none, since it may give some back."""
    dirties: bool = False
    """Leaves data of which a later close may report that it did not get to the disk."""
    syncs: Literal["", "file", "all", "mapping", "range"] = ""
    """What it makes durable. ``range`` promises nothing: sync_file_range(2), "Warning"."""
    unseen: bool = False
    """After it a file may change without a call."""
    reveals: bool = False
    """What its file holds counts from here on, so changes without a call must be looked for."""
    by_caller: bool = False
    """Acts on the caller's own memory, locks or descriptors, or may block: only the caller can make it."""
    by_permission: bool = False
    """Asks for the caller's rights even on a descriptor that is open already."""
    nameless: bool = False
    """Takes an empty name to mean the descriptor, given ``AT_EMPTY_PATH``."""
    plain: bool = False
    """Every call of it is an operation on what its first argument, a descriptor, refers to."""
    comes_as: tuple[str, ...] = ()
    """Other families whose calls may turn out to be of this one."""
    looks: bool = False
    """Only asks, and leaves nothing behind. There are many such calls, so they are offered few faults."""
    pseudo: bool = False
    """No system call: something was acknowledged, or the workload is over."""
    remote: bool = False
    """Leads to another program by way of the network. Counted by the other side, over all processes of a
    run: which thread of a pool asks is chance."""
    talks: bool = False
    """A request and its answer, or one of the two."""
    inside: bool = False
    """Happens inside of the interpreter, at a line of the program: it is not a call to the outside."""
    witnessed: bool = False
    """The outside knows of it: what it was told must not be taken back."""

    @property
    def partial(self) -> bool:
        """Whether it may do a part of what it was asked for, and return how much that was."""
        return self.moves or (self.copies and self.transfers)

    @property
    def durable(self) -> bool:
        """True if its return promises that something is on the disk."""
        return self.syncs not in ("", "range")


_FILES: tuple[CallFamily, ...] = (
    CallFamily(name="open", opens=True, room="name"),
    # A copy to somewhere else, as it looks from its source.
    CallFamily(name="read", moves=True, plain=True, comes_as=("copy_file_range", "sendfile", "splice")),
    CallFamily(
        name="write",
        changes=True,
        moves=True,
        transfers=True,
        grows=True,
        room="data",
        dirties=True,
        plain=True,
    ),
    CallFamily(name="close", reveals=True, by_caller=True, plain=True),
    CallFamily(name="fsync", syncs="file", reveals=True, plain=True),
    CallFamily(name="fdatasync", syncs="file", reveals=True, plain=True),
    CallFamily(name="sync_file_range", syncs="range"),
    CallFamily(name="sync", syncs="all"),
    CallFamily(name="syncfs", syncs="all"),
    CallFamily(name="rename", changes=True, room="back", reveals=True),
    CallFamily(name="link", changes=True, reveals=True, nameless=True),
    CallFamily(name="symlink", changes=True, room="name"),
    CallFamily(name="unlink", changes=True, room="back"),
    CallFamily(name="mkdir", changes=True, room="name"),
    CallFamily(name="rmdir", changes=True, comes_as=("unlink",)),  # unlinkat(2) with AT_REMOVEDIR
    CallFamily(name="mknod", changes=True, room="name"),
    CallFamily(name="truncate", changes=True, grows=True, room="back", dirties=True),
    CallFamily(name="fallocate", changes=True, grows=True, room="data", dirties=True, plain=True),
    CallFamily(
        name="copy_file_range",
        changes=True,
        transfers=True,
        copies=True,
        grows=True,
        room="data",
        dirties=True,
    ),
    CallFamily(
        name="sendfile", changes=True, transfers=True, copies=True, grows=True, room="data", dirties=True
    ),
    # What a splice will move is not known when it is made, and it may block on its pipe.
    CallFamily(
        name="splice",
        changes=True,
        transfers=True,
        grows=True,
        room="data",
        dirties=True,
        unseen=True,
        by_caller=True,
    ),
    CallFamily(name="clone", changes=True, copies=True, grows=True),
    CallFamily(name="chmod", changes=True, by_permission=True, nameless=True),
    CallFamily(name="chown", changes=True, by_permission=True, nameless=True),
    CallFamily(name="utimens", changes=True, by_permission=True, nameless=True),
    CallFamily(name="setxattr", changes=True, by_permission=True),
    CallFamily(name="removexattr", changes=True, by_permission=True),
    CallFamily(name="lock", by_caller=True),
    CallFamily(name="mmap", unseen=True, by_caller=True),
    # No call is seen when a program stores into a shared mapping; msync is where it shows.
    CallFamily(name="msync", changes=True, syncs="mapping", reveals=True, by_caller=True),
    CallFamily(name="getdents", by_caller=True, plain=True),
)

_LOOKUPS: tuple[CallFamily, ...] = (
    CallFamily(name="stat", looks=True),
    CallFamily(name="access", looks=True),
    CallFamily(name="readlink", looks=True),
    CallFamily(name="getcwd", looks=True),
)

_TIMES: tuple[CallFamily, ...] = (
    CallFamily(name="sleep", by_caller=True),
    CallFamily(name="clock", looks=True),
)

_NETWORK: tuple[CallFamily, ...] = (
    CallFamily(name="dns", remote=True),
    CallFamily(name="connect", remote=True),
    CallFamily(name="exchange", remote=True, talks=True, witnessed=True),
    CallFamily(name="http", remote=True, talks=True, witnessed=True),
    CallFamily(name="greeting", remote=True, talks=True),
    CallFamily(name="sendto", remote=True),
    # The side of a server: its descriptors are the process's own.
    CallFamily(name="socket"),
    CallFamily(name="bind"),
    CallFamily(name="listen"),
    CallFamily(name="accept"),
)

# Only their first and last executions are in a recording, each under its real number.
_INSIDE = (
    CallFamily(name="alloc", inside=True),
    CallFamily(name="line", inside=True),
    CallFamily(name="returned", inside=True),
    CallFamily(name="await", inside=True),
)

_PSEUDO = (
    CallFamily(name="promise", pseudo=True, witnessed=True),
    CallFamily(name="end", pseudo=True),
)

FAMILIES: Mapping[str, CallFamily] = {
    row.name: row for row in (*_FILES, *_LOOKUPS, *_NETWORK, *_TIMES, *_INSIDE, *_PSEUDO)
}
"""Every family by its name, which is ``Operation.call``."""

CALLS: tuple[str, ...] = tuple(FAMILIES)
"""The names of all families, in the order of the documents."""

NETWORK_CALLS: tuple[str, ...] = tuple(row.name for row in _NETWORK)
"""The families that go over a network, or get ready for it."""

INSIDE_CALLS: frozenset[str] = frozenset(row.name for row in _INSIDE)
"""What happens inside of the interpreter: an allocation, a line, a call that returns, an await."""

FILE_CALLS: tuple[str, ...] = tuple(row.name for row in (*_FILES, *_LOOKUPS))
"""The families that act on files, or ask for them."""


TIME_CALLS: frozenset[str] = frozenset(row.name for row in _TIMES)
"""The families of which there are operations only where time is virtual."""


def happened(operation: Operation) -> bool:
    """Return True if the call succeeded, or is not known to have failed."""
    return operation.result is None or operation.result >= 0


def changes(operation: Operation) -> bool:
    """Return True if the operation changed what other processes see of the disk."""
    if not happened(operation):
        return False
    row = FAMILIES[operation.call]
    if row.opens:
        return creates(operation) or operation.file.truncated
    return row.changes and not (row.transfers and operation.result == 0)


def creates(operation: Operation) -> bool:
    """Return True if an open made a new file, or could by its flags while the result is not known."""
    if operation.result is None and not operation.file.created:
        return bool(operation.file.flags & os.O_CREAT)
    return operation.file.created


def opens_for_writing(operation: Operation) -> bool:
    """Return True if an open asked for more than reading: access mode, truncation or creation."""
    flags = operation.file.flags
    return flags & os.O_ACCMODE != os.O_RDONLY or bool(flags & os.O_TRUNC) or creates(operation)


def extends(operation: Operation) -> bool:
    """Return True if the operation makes its file longer, or may, where sizes are not known."""
    detail = operation.file
    if detail.offset is None or detail.length is None or detail.size_before is None:
        return True
    return detail.offset + detail.length > detail.size_before


def transferred(operation: Operation) -> int:
    """How many bytes the call moved; what it was asked for where the result is not known."""
    if operation.result is not None:
        return max(operation.result, 0)
    return operation.file.length or 0
