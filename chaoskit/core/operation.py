"""What a run did to the outside world: operations, their call sites, and the trace of one run.

Every record is frozen. Backends produce traces; all other parts only read them.
"""

from __future__ import annotations

import errno
import itertools
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol

# Not "", which is the target of a call without a name, such as a promise.
ROOT = "."
"""The target of an operation on the scenario's directory itself."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One Python frame: source file (as the code object names it), line from 1, qualified name."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} in {self.function}"


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """The stream of operations to which a call belongs.

    ``run``
        Which ``chaos.run`` of the test, from 1.
    ``process``
        Empty for the process that runs the workload; else the program's name and its ordinal among
        the processes of that name, in the order of their first operation: ``git~2``. A process that
        was forked and runs no other program is called ``child``.
    ``thread``
        0 for the first thread of its process, then 1, 2, … in the order of their first operation.
    """

    run: int = 1
    process: str = ""
    thread: int = 0


MAIN = Place()
"""The first thread of the workload's own process, in the first run."""


class Payload(Protocol):
    """The bytes that a write carried; they may live in memory or in a spill file."""

    def __len__(self) -> int: ...

    def read(self) -> bytes:
        """All bytes."""

    def part(self, start: int, length: int) -> bytes | memoryview:
        """``length`` bytes from ``start``, without reading the others."""


@dataclass(frozen=True, slots=True)
class Bytes:
    """A payload kept in memory."""

    content: bytes

    def __len__(self) -> int:
        return len(self.content)

    def read(self) -> bytes:
        return self.content

    def part(self, start: int, length: int) -> memoryview:
        return memoryview(self.content)[start : start + length]


@dataclass(frozen=True, slots=True)
class Detail:
    """What is known about an operation beyond its name and result; each domain has its own record.

    A bare ``Detail`` belongs to an operation about which nothing more is known.
    """


@dataclass(frozen=True, slots=True)
class Brought:
    """One entry of a directory that was moved in from elsewhere; ``name`` is relative to that directory.

    ``unsynced`` files were written by this run and never synced; ``text`` is the target of a link.
    """

    name: str
    kind: Literal["file", "directory", "symlink"]
    mode: int
    inode: tuple[int, int]
    data: Payload | None = None
    text: str = ""
    unsynced: bool = False


@dataclass(frozen=True, slots=True)
class FileDetail(Detail):
    """The arguments of a call on a file and what it changed; fields that do not apply to the call stay empty.

    Sizes and offsets are bytes. ``inode`` is (device, inode number) of the file that the call acted on: the
    file behind the descriptor, the one that was opened, renamed, linked or unlinked. ``replaced`` is the
    inode that a rename swapped out. ``directory`` tells that ``inode`` is a directory. ``size_before`` is the
    file's size before the call. ``offset`` and ``length`` are resolved: for an append, ``offset`` is where
    the data really went. ``data`` holds the bytes that were requested to be written, ``Operation.result`` how
    many were. ``flags`` and ``mode`` are those of the call. ``created`` and ``truncated`` say what an open
    did; ``made_mode`` is the mode that a new file or directory really got, None if that is not known.
    ``text`` is the content of a symbolic link or the name of an extended attribute; ``links`` is the link
    count of ``inode`` before the call. ``released``: the close is known to have been the last one of its open
    file, duplicates (dup(2), fork(2)) included. ``source_offset`` belongs to ``copy_file_range`` and
    ``clone``.
    """

    fd: int | None = None
    flags: int = 0
    mode: int | None = None
    offset: int | None = None
    length: int | None = None
    source_offset: int | None = None
    inode: tuple[int, int] | None = None
    replaced: tuple[int, int] | None = None
    directory: bool = False
    links: int | None = None
    size_before: int | None = None
    created: bool = False
    truncated: bool = False
    made_mode: int | None = None
    released: bool = False
    brought: tuple[Brought, ...] = ()
    """What is in a directory that is moved in from elsewhere."""
    unsynced: bool = False
    """What is moved or linked in was written by this run elsewhere, and not synced there."""
    synchronous: str = ""
    """``"O_SYNC"`` or ``"O_DSYNC"`` when the descriptor or the call demands it, else empty."""
    text: str | None = None
    data: Payload | None = None
    seen: tuple[tuple[tuple[int, int], Payload], ...] = ()
    """The content, just before this call, of files that can change without a call: inode and content."""
    held: Payload | None = None
    """The content of a file that is opened for reading. None if it cannot be damaged as it is, or if this run
    opened it before and it has not changed since."""


@dataclass(frozen=True, slots=True)
class LookupDetail(Detail):
    """``follow``: a symbolic link ending the name was followed. ``mode``: the argument of ``access``."""

    follow: bool = True
    mode: int | None = None


@dataclass(frozen=True, slots=True)
class NetworkDetail(Detail):
    """What went over the network in one operation. ``peer`` is the name of the other side.

    ``sent`` and ``received`` are bytes of a request and of its answer, ``head`` those of the header of an
    HTTP answer. ``method``, ``path`` and ``status`` are those of HTTP; 0 is the status of no answer. ``kind``
    is the content type of the answer without its parameters. ``request`` is what was sent, shortened if long.
    ``connection`` distinguishes the connections of one run.
    """

    peer: str = ""
    sent: int = 0
    received: int = 0
    head: int = 0
    method: str = ""
    path: str = ""
    status: int = 0
    kind: str = ""
    request: Payload | None = None
    connection: int = 0


@dataclass(frozen=True, slots=True)
class InsideDetail(Detail):
    """``allocations``: how many the line made in this execution, until the next line began."""

    allocations: int = 0


@dataclass(frozen=True, slots=True)
class PromiseDetail(Detail):
    """``value`` is what ``promise`` was given."""

    value: Any = None


@dataclass(frozen=True, slots=True)
class TimeDetail(Detail):
    """``length``: the requested length of a wait in nanoseconds. ``virtual``: the nanoseconds that the run
    had skipped before.
    """

    length: int = 0
    virtual: int = 0


# One for all: it is the default of every operation.
_NO_FILE = FileDetail()
_NO_NETWORK = NetworkDetail()


@dataclass(frozen=True, slots=True)
class Operation:
    """One call to the outside world, with its result.

    ``call`` is the family (``write`` for write, pwrite64, writev, …); ``syscall`` the exact name. ``target``
    and ``second`` are paths relative to the scenario's directory, symbolic links in their directories
    resolved, ``/`` between parts, names that are not UTF-8 as surrogate escapes. A target outside the
    directory (the other side of a rename) is given as an absolute path. ``ordinal`` counts from 1 among the
    operations with the same place, call and targets. ``result`` is what the call returned, or minus the
    errno; ``None`` if it is not known, because the call had not returned when the trace ended or cannot be
    followed. ``stack`` has the innermost frame first and ends at the workload's own first frame.
    """

    index: int
    call: str
    target: str
    second: str | None = None
    ordinal: int = 1
    place: Place = MAIN
    syscall: str = ""
    result: int | None = None
    detail: Detail = _NO_FILE
    stack: tuple[Frame, ...] = ()
    pid: int = 0
    tid: int = 0

    @property
    def file(self) -> FileDetail:
        """The record of the files' domain; an empty one for an operation of another domain.

        So a question such as "which inode?" can be asked of any operation; for most there is no answer.
        """
        return self.detail if isinstance(self.detail, FileDetail) else _NO_FILE

    @property
    def network(self) -> NetworkDetail:
        """The record of the network's domain; an empty one for an operation of another domain."""
        return self.detail if isinstance(self.detail, NetworkDetail) else _NO_NETWORK

    @property
    def allocations(self) -> int:
        """How many allocations a line has made; 0 for every operation but an ``alloc``."""
        return self.detail.allocations if isinstance(self.detail, InsideDetail) else 0

    @property
    def promised(self) -> Any:
        """What a promise was given; None for every other operation."""
        return self.detail.value if isinstance(self.detail, PromiseDetail) else None

    @property
    def ok(self) -> bool:
        """True if the call is known to have succeeded."""
        # An unknown result is not a success: the case would rest on a guess.
        return self.result is not None and self.result >= 0

    @property
    def key(self) -> tuple[Place, str, str, str | None]:
        """What operations have in common if only their ordinals tell them apart."""
        # Not the call site: it changes with every edit of the program, and schedules should survive that.
        return (self.place, self.call, self.target, self.second)

    @property
    def site(self) -> Frame | None:
        """The innermost Python frame, if there is one."""
        return self.stack[0] if self.stack else None

    def __str__(self) -> str:
        both = self.target if self.second is None else f"{self.target} -> {self.second}"
        return f"{self.call}({both})#{self.ordinal}{_outcome(self.result)}"


def _outcome(result: int | None) -> str:
    if result is None:
        return ""
    if result < 0:
        # By name: numbers differ between systems, and reports are read elsewhere.
        return f" = {errno.errorcode.get(-result, result)}"
    return f" = {result}"


@dataclass(frozen=True, slots=True)
class Caveat:
    """Something that a backend could not follow; a verdict that depends on it says so.

    ``kind`` is stable (``shared-mapping``, ``io_uring``, ``own-filter``, ``foreign-architecture``, ``aio``,
    …), ``target`` is what it concerns, ``text`` a sentence for people.
    """

    kind: str
    target: str
    text: str


@dataclass(frozen=True, slots=True)
class Trace:
    """The operations of one run of a test, in the order in which they took effect."""

    operations: tuple[Operation, ...] = ()
    caveats: tuple[Caveat, ...] = ()
    root: str = ""
    """The absolute path that the targets are relative to."""

    def __iter__(self) -> Iterator[Operation]:
        return iter(self.operations)

    def __len__(self) -> int:
        return len(self.operations)

    def __getitem__(self, index: int) -> Operation:
        return self.operations[index]


class OrdinalCounter:
    """Gives each operation its ordinal among its equals, in the order in which they occur."""

    def __init__(self) -> None:
        # By place as well: threads interleave differently from run to run.
        self._equals: defaultdict[tuple[Place, str, str, str | None], Iterator[int]] = defaultdict(_from_one)

    def next(self, key: tuple[Place, str, str, str | None]) -> int:
        """The ordinal of the next operation with this :attr:`Operation.key`, from 1."""
        return next(self._equals[key])


_from_one = partial(itertools.count, 1)


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proof from the injector that a fault really struck.

    ``strike`` is the part of the schedule that struck, as text; ``operation`` the call that was hit, as it
    stood then and as text; ``effect`` says what the injector did (``answered -28``, ``SIGKILL to 3
    processes``, ``512 of 4096 bytes written``).
    """

    strike: str
    operation: str
    effect: str
