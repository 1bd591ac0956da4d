"""What checkpoints, claims, dead letters, the outbox and shared breakers are built on.

A store keeps *records* of several *kinds*. A record has a scope and a key, a status, a value (JSON), and
what claims need: an owner, a fence, the attempts so far, and ``due``. A record that has a ``due`` is
*live*: it waits to be claimed, or is claimed. Live records have an index to themselves, so that those that
are settled never slow them.

A feature asks for what it means (put, change under a fence, claim) and never writes SQL. Each database
answers in its own dialect: one text for both would be wrong, since the claim that is right in SQLite
hands jobs out twice in PostgreSQL.

``Storage`` is the store as features see it. What must happen together goes into one ``write``, with a
function that uses nothing but its ``Tx``::

    def redrive(tx: Tx) -> None:
        tx.change(DEAD, id, status="redriven", was="open")
        tx.add(OUTBOX, f"{id}#1", message, status="pending", due=tx.now)

    storage.write(redrive)
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, TypeAlias, TypeVar

from chaoskit.core.errors import wrong
from chaoskit.runtime.durable.levels import Durability

__all__ = [
    "KEEP",
    "RUNNING",
    "DamagedRecord",
    "Keep",
    "Outcome",
    "Page",
    "Reader",
    "Record",
    "Statistics",
    "Storage",
    "Kind",
    "Tx",
    "VerifyReport",
    "checked",
]

T = TypeVar("T")

RUNNING: Final = "running"
"""The status of a record that is claimed. Only a claim sets it."""

Outcome: TypeAlias = Literal["committed", "absent"]


class Keep(enum.Enum):
    """The type of :data:`KEEP`: what an argument is if the record's own value is to stay."""

    KEEP = enum.auto()


KEEP: Final = Keep.KEEP


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of records. ``format`` is the newest format of its values that this program understands."""

    name: str
    format: int = 1


@dataclass(frozen=True, slots=True)
class Record:
    """One record as it was read. Times are seconds since the epoch, by the store's clock.

    ``version`` counts the writes, ``fence`` the claims; neither ever falls. ``attempts`` counts claims
    since the record was last put. ``due`` is None if it is settled; else when it may be claimed or, while
    it is claimed, when its lease ends.
    """

    kind: str
    scope: str
    key: str
    status: str
    value: Any
    format: int
    version: int
    attempts: int
    fence: int
    owner: str | None
    due: float | None
    created: float
    updated: float
    operation_id: str


@dataclass(frozen=True, slots=True)
class DamagedRecord:
    """A record that was passed over: ``reason`` is ``"corrupt"`` or ``"newer format"``."""

    kind: str
    scope: str
    key: str
    reason: str


@dataclass(frozen=True, slots=True)
class Page:
    """Some records in the order of (scope, key). ``next`` goes into ``after`` for those that follow."""

    records: tuple[Record, ...]
    damaged: tuple[DamagedRecord, ...] = ()
    next: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What a verification saw. ``problems`` are the database's own words; ``ok`` if there is nothing."""

    records: int
    problems: tuple[str, ...] = ()
    damaged: tuple[DamagedRecord, ...] = ()
    deep: bool = False

    @property
    def ok(self) -> bool:
        """True if neither the file nor any record is damaged, and none is too new to be read."""
        return not self.problems and not self.damaged


@dataclass(frozen=True, slots=True)
class Statistics:
    """Numbers of a store. Those of work are this process's since it was opened; sizes are bytes.

    ``records`` counts by (kind, status). ``waited`` is the longest wait for another process, in seconds.
    ``warnings`` are sentences about what an operator should look at.
    """

    records: Mapping[tuple[str, str], int]
    size: int
    wal: int
    operations: int = 0
    commits: int = 0
    checkpoints: int = 0
    waited: float = 0.0
    damaged: int = 0
    reserve: bool = True
    warnings: tuple[str, ...] = ()


class Reader(Protocol):
    """Reading. A damaged record is an error if asked for by name; a list passes it over and says so."""

    def get(self, kind: Kind, key: str, *, scope: str = "") -> Record | None:
        """The record, or None.

        Raises:
            RecordCorrupt: it is not what was written.
            StoreTooNew: its format is newer than the kind's.
        """

    def find(
        self,
        kind: Kind,
        *,
        scope: str | None = None,
        status: str | Sequence[str] | None = None,
        live: bool = False,
        updated_before: float | None = None,
        after: tuple[str, str] | None = None,
        limit: int = 100,
    ) -> Page:
        """The records that match all that is given, by (scope, key). ``live``: only those with a ``due``."""

    def count(self, kind: Kind, *, scope: str | None = None) -> Mapping[str, int]:
        """How many records there are of each status."""

    def oldest(self, kind: Kind, *, status: str) -> float | None:
        """When the record of that status was written that has not been for longest; None if there is none."""


class Tx(Reader, Protocol):
    """One transaction: all of it, or nothing. Reading sees what was written in it before.

    What ``get`` returned stays so until the transaction ends. If it returned None, and another transaction
    has made that record before this one writes it, this one is undone: ``write`` runs its work again, and
    ``transaction`` raises ``StoreBusy``. ``find`` and ``count`` hold nothing fast where many transactions
    run at once, which is on a server.
    """

    @property
    def operation_id(self) -> str:
        """Its name in the ledger, and in every record that it writes."""

    @property
    def repeated(self) -> bool:
        """True if this operation id was committed before. What is written then is rolled back at the end."""

    @property
    def now(self) -> float:
        """The time of this transaction, by the clock of the store."""

    def put(
        self, kind: Kind, key: str, value: Any, *, scope: str = "", status: str, due: float | None = None
    ) -> None:
        """Write the record whatever was there. Attempts begin at 0 again, the fence is kept, a claim ends."""

    def add(
        self, kind: Kind, key: str, value: Any, *, scope: str = "", status: str, due: float | None = None
    ) -> bool:
        """Write the record if there is none; False if there is one, which stays as it is."""

    def change(
        self,
        kind: Kind,
        key: str,
        *,
        scope: str = "",
        status: str | None = None,
        value: Any = KEEP,
        due: float | Keep | None = KEEP,
        fence: int | None = None,
        was: str | None = None,
        version: int | None = None,
    ) -> bool:
        """Change a record if it is as expected; False, and nothing is changed, if not.

        ``fence``: it is still claimed, and by this claim. ``was``: its status. ``version``: unwritten since.
        A new status settles the record (``due`` None, no owner) unless a ``due`` is given.

        Raises:
            RecordCorrupt, StoreTooNew: it would have to be read, and cannot be.
        """

    def claim(
        self,
        kind: Kind,
        *,
        lease: float,
        scope: str | None = None,
        key: str | None = None,
        limit: int = 1,
    ) -> list[Record]:
        """Take up to ``limit`` live records that are due, or whose owner is dead; the longest due first.

        The records are as they are now: status ``running``, attempt and fence counted up. In a file, an owner
        on this machine is dead when the kernel has released its lock, whatever a clock says; one elsewhere
        when its ``lease`` (seconds) is over. On a server an owner is dead when its lease is over by the clock
        of the server, or before if it was a process of this machine. Damaged records are
        passed over. With ``key``, ``scope`` must be given.
        """

    def claim_new(
        self, kind: Kind, keys: Sequence[str], value: Any, *, lease: float, scope: str = ""
    ) -> list[Record]:
        """Make records of one value and claim them; those that are there already stay as they are.

        What was made comes back in the order of ``keys``, and is as ``add`` and ``claim`` would have left it:
        the first attempt, with the fence 1. The records share one value object.
        """

    def delete(self, kind: Kind, key: str, *, scope: str = "", version: int | None = None) -> bool:
        """Remove the record, unread; False if it is not there (or not in that version)."""

    def purge(
        self,
        kind: Kind,
        *,
        scope: str | None = None,
        status: str | Sequence[str] | None = None,
        updated_before: float | None = None,
        limit: int = 1000,
    ) -> int:
        """Remove up to ``limit`` records that match, unread; how many. Ask again while it is ``limit``."""


class Storage(Reader, Protocol):
    """A store as features see it. Every method raises the store's errors: see ``errors``."""

    @property
    def durability(self) -> Durability:
        """The crash that a returned write survives."""

    def now(self) -> float:
        """The clock of the store: the database server's where there is one."""

    def put(
        self,
        kind: Kind,
        key: str,
        value: Any,
        *,
        scope: str = "",
        status: str,
        due: float | None = None,
        operation_id: str | None = None,
    ) -> None:
        """``Tx.put`` alone, the cheapest way. Does nothing if the ``operation_id`` was committed before."""

    def write(self, work: Callable[[Tx], T], *, operation_id: str | None = None, urgent: bool = False) -> T:
        """Run ``work(tx)`` and commit; return what it returned. If it raises, nothing is changed.

        ``work`` may run in another thread and more than once: it must use nothing but ``tx``, and be short.
        It runs under the locks of the store. ``urgent``: on a full disk the reserve is given up for it.
        """

    def transaction(self, *, operation_id: str | None = None) -> AbstractContextManager[Tx]:
        """As ``write``, for a block of the user's: runs here, once.

        Meanwhile every other write to a file waits; on a server those wait that want the same records, and a
        block that sends nothing for ``lock_timeout`` is ended there.
        """

    def owner_alive(self, owner: str) -> bool | None:
        """True if the process that claimed under this name lives; None if this machine cannot tell."""

    def outcome(self, operation_id: str) -> Outcome:
        """What became of an operation that ended as ``OutcomeUnknown``; the answer never changes later.

        Operation ids are kept for 7 days.
        """


def checked(store: Storage) -> Storage:
    """``store``, if it can be one.

    Raises:
        UsageError: it is something else, a path above all: not everything opens a store by itself.
    """
    if not callable(getattr(store, "owner_alive", None)):
        raise wrong("store", store, "an open store", "Store.open(path) gives one.")
    return store
