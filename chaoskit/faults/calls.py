"""The families of calls that can be fault points, one row each, with all their properties.

All code asks the row what a family does: a new family is a row here, its errors
(:mod:`chaoskit.faults.errnos`), and a backend's domain that sees it.
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

    A property of only some calls of a family, such as an open that creates, is not in the row: a function
    below examines the operation.
    """

    name: str
    changes: bool = False
    """It changes what other processes see of the disk. Syncs do not: they matter for a power loss, not for
    the death of a process, since written data stays in the page cache."""
    opens: bool = False
    """Gives the caller a descriptor; its other effects depend on its flags."""
    moves: bool = False
    """Moves bytes between a file and the caller's memory."""
    transfers: bool = False
    """Puts a number of bytes into a file and returns how many."""
    copies: bool = False
    """Takes its data from another file."""
    grows: bool = False
    """May make its file longer, and may thus meet the limit on file sizes."""
    room: Literal["", "name", "data", "back"] = ""
    """What it needs on the disk: room for a name or for data. ``"back"``: none, and it may give some back."""
    dirties: bool = False
    """Leaves data whose loss a later close may report."""
    syncs: Literal["", "file", "all", "mapping", "range"] = ""
    """What it makes durable. ``range`` promises nothing: sync_file_range(2), "Warning"."""
    unseen: bool = False
    """After it a file may change without a call."""
    reveals: bool = False
    """The content of its file matters from here on, so changes without a call must be looked for."""
    by_caller: bool = False
    """Acts on the caller's own memory, locks or descriptors, or may block: only the caller can make it."""
    by_permission: bool = False
    """Checks the caller's rights even on a descriptor that is already open."""
    nameless: bool = False
    """Takes an empty name to mean the descriptor, given ``AT_EMPTY_PATH``."""
    plain: bool = False
    """Every call of the family acts on the file of its first argument, a descriptor."""
    comes_as: tuple[str, ...] = ()
    """Other families whose calls may turn out to be of this one."""
    looks: bool = False
    """Only asks, and changes nothing. There are many such calls, so they get few faults."""
    pseudo: bool = False
    """Not a system call: something was promised, or the workload is over."""
    remote: bool = False
    """Reaches another program over the network. Ordinals count per peer, over all processes of a run, because
    chance decides which thread of a pool makes a request."""
    talks: bool = False
    """A request and its answer, or one of the two."""
    inside: bool = False
    """Happens inside the interpreter, at a line of the program: it is not a call to the outside."""
    witnessed: bool = False
    """The outside world has seen it, so it must not be undone."""

    @property
    def partial(self) -> bool:
        """True if it may do a part of what was asked, and return how much."""
        return self.moves or (self.copies and self.transfers)

    @property
    def durable(self) -> bool:
        """True if its return promises that something is on the disk."""
        return self.syncs not in ("", "range")


_FILES: tuple[CallFamily, ...] = (
    CallFamily(name="open", opens=True, room="name"),
    # A copy to elsewhere, seen from its source.
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
    # How much a splice will move is not known in advance, and it may block on its pipe.
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
    # A store into a shared mapping is not a call; it shows at the msync.
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
    # The server's side: its descriptors belong to the process.
    CallFamily(name="socket"),
    CallFamily(name="bind"),
    CallFamily(name="listen"),
    CallFamily(name="accept"),
)

# A recording has only their first and last executions, each under its real number.
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
"""The families that use a network, or prepare its use."""

INSIDE_CALLS: frozenset[str] = frozenset(row.name for row in _INSIDE)
"""The families inside the interpreter: an allocation, a line, a call that returns, an await."""

FILE_CALLS: tuple[str, ...] = tuple(row.name for row in (*_FILES, *_LOOKUPS))
"""The families that act on files, or ask for them."""


TIME_CALLS: frozenset[str] = frozenset(row.name for row in _TIMES)
"""The families that have operations only if time is virtual."""


def happened(operation: Operation) -> bool:
    """Return True unless the call is known to have failed."""
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
    """Return True if the operation makes its file longer, or may do so if sizes are unknown."""
    detail = operation.file
    if detail.offset is None or detail.length is None or detail.size_before is None:
        return True
    return detail.offset + detail.length > detail.size_before


def transferred(operation: Operation) -> int:
    """How many bytes the call moved; how many it was asked for if the result is unknown."""
    if operation.result is not None:
        return max(operation.result, 0)
    return operation.file.length or 0
