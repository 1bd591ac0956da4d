"""The contract of a store: the base of checkpoints, claims, dead letters, the outbox and shared breakers.

A store keeps *records* of several *kinds*. A record has a scope and a key, a status, a value (JSON), and
what claims need: an owner, a fence, the attempts so far, and ``due``. A record that has a ``due`` is
*live*: it waits to be claimed, or is claimed. Live records have their own index, so that settled ones never
slow down a claim.

A feature says what it means (put, change with a fence, claim) and never writes SQL. Each database has its own
dialect, since no SQL would be right in all of them: the claim that is correct in SQLite hands out jobs twice
in PostgreSQL.

``Storage`` is the store as features see it. Changes that must happen together go into one ``write``, as a
function that uses only its ``Tx``::

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
from chaoskit.runtime import kinds
from chaoskit.runtime.durable.levels import Durability
from chaoskit.runtime.numbers import is_whole

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
"""The status of a claimed record. Only a claim sets it."""

Outcome: TypeAlias = Literal["committed", "absent"]


class Keep(enum.Enum):
    """The type of :data:`KEEP`, the default of arguments that leave a record's value as it is."""

    KEEP = enum.auto()


KEEP: Final = Keep.KEEP


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of record. ``format`` is the newest format of its values that this program understands."""

    name: str
    format: int = 1

    def __post_init__(self) -> None:
        kinds.text("name", self.name)
        if not (is_whole(self.format) and self.format >= 1):
            raise wrong("format", self.format, "a number, at least 1")


@dataclass(frozen=True, slots=True)
class Record:
    """One record as it was read. Times are in seconds since the epoch, by the store's clock.

    ``version`` counts the writes, ``fence`` the claims; neither ever falls. ``attempts`` counts the claims
    since the record was last put. ``due`` is None if the record is settled. Otherwise it is when the record
    may be claimed or, while it is claimed, when the lease ends.
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
    """A record that was left out: ``reason`` is ``"corrupt"`` or ``"newer format"``."""

    kind: str
    scope: str
    key: str
    reason: str


@dataclass(frozen=True, slots=True)
class Page:
    """Some records in the order of (scope, key). Pass ``next`` as ``after`` to get the following ones."""

    records: tuple[Record, ...]
    damaged: tuple[DamagedRecord, ...] = ()
    next: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """The result of a verification. ``problems`` are messages of the database; ``deep`` is as requested."""

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
    """Numbers about a store. Sizes are in bytes; work is counted for this process, since it opened the store.

    ``records`` counts by (kind, status). ``waited`` is the longest wait for another process, in seconds.
    ``warnings`` are sentences that tell an operator what needs attention.
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
    """The reading methods. A damaged record is an error if it is asked for by name; lists only report it."""

    def get(self, kind: Kind, key: str, *, scope: str = "") -> Record | None:
        """The record, or None.

        Raises:
            RecordCorrupt: the record is not what was written.
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
        """The records that match all arguments, by (scope, key); with ``live``, only those with a ``due``."""

    def count(self, kind: Kind, *, scope: str | None = None) -> Mapping[str, int]:
        """The number of records by status."""

    def oldest(self, kind: Kind, *, status: str) -> float | None:
        """When the least recently written record with that status was written; None if there is none."""


class Tx(Reader, Protocol):
    """One transaction: all of it takes effect, or none. It reads its own writes.

    A record that ``get`` returned does not change until the transaction ends. If ``get`` returned None, and
    another transaction creates that record before this one writes it, this one is undone: ``write`` runs its
    work again, and ``transaction`` raises ``StoreBusy``. On a server, where many transactions run at once,
    records that ``find`` and ``count`` have seen may change.
    """

    @property
    def operation_id(self) -> str:
        """The transaction's id in the ledger, and in every record that it writes."""

    @property
    def repeated(self) -> bool:
        """True if this operation id was committed before. All writes are then undone at the end."""

    @property
    def now(self) -> float:
        """The time of this transaction, by the clock of the store."""

    def put(
        self, kind: Kind, key: str, value: Any, *, scope: str = "", status: str, due: float | None = None
    ) -> None:
        """Write the record, whether it exists or not. A claim ends, attempts restart, the fence stays."""

    def add(
        self, kind: Kind, key: str, value: Any, *, scope: str = "", status: str, due: float | None = None
    ) -> bool:
        """Write the record if there is none. If there is one, leave it as it is and return False."""

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
        """Change a record if it is as expected; otherwise change nothing and return False.

        With ``fence``, it must still be held by that claim; with ``was``, it must have that status; with
        ``version``, it must not have been written since. A new status settles the record (``due`` None, no
        owner) unless a ``due`` is given.

        Raises:
            RecordCorrupt, StoreTooNew: the change needs to read the record, which is not possible.
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

        They are returned in their new state: status ``running``, attempts and fence counted up. In a file, an
        owner on this machine is dead once the kernel has released its lock, whatever a clock says; an owner
        on another machine, once its ``lease`` (seconds) has run out. On a server, an owner is dead once its
        lease has run out by the server's clock; a process of this machine, as soon as it has ended. Damaged
        records are left out. With ``key``, ``scope`` must be given.
        """

    def claim_new(
        self, kind: Kind, keys: Sequence[str], value: Any, *, lease: float, scope: str = ""
    ) -> list[Record]:
        """Create records that all have this value, and claim them. Existing records stay as they are.

        The new ones are returned in the order of ``keys``, as ``add`` and ``claim`` would leave them: in the
        first attempt, with fence 1. They share one value object.
        """

    def delete(self, kind: Kind, key: str, *, scope: str = "", version: int | None = None) -> bool:
        """Remove the record without reading it; return False if there is none (in that version)."""

    def purge(
        self,
        kind: Kind,
        *,
        scope: str | None = None,
        status: str | Sequence[str] | None = None,
        updated_before: float | None = None,
        limit: int = 1000,
    ) -> int:
        """Remove up to ``limit`` matching records unread; return how many. Repeat while that is ``limit``."""


class Storage(Reader, Protocol):
    """A store as features see it. Every method raises the store's errors: see ``runtime.failures.stored``."""

    @property
    def durability(self) -> Durability:
        """The crash that a returned write survives."""

    def now(self) -> float:
        """The time in seconds since the epoch, by the store's clock: on a server, the server's own."""

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
        """``Tx.put`` alone, the cheapest write. Does nothing if ``operation_id`` was committed before."""

    def write(self, work: Callable[[Tx], T], *, operation_id: str | None = None, urgent: bool = False) -> T:
        """Run ``work(tx)`` and commit; return its result. If it raises, nothing is changed.

        ``work`` may run in another thread and more than once, with the store's locks held: it must be short,
        and use only ``tx``. With ``urgent`` the store gives up its reserve if the disk is full.
        """

    def transaction(self, *, operation_id: str | None = None) -> AbstractContextManager[Tx]:
        """As ``write``, for a ``with`` block, which runs in this thread, once.

        For a file, every other write waits until the block ends. On a server, only writes to the same records
        wait, and the server ends a block that sends nothing for ``lock_timeout`` seconds.
        """

    def owner_alive(self, owner: str) -> bool | None:
        """True if the process that claimed under this name is alive; None if this machine cannot tell."""

    def outcome(self, operation_id: str) -> Outcome:
        """The outcome of an operation that raised ``OutcomeUnknown``. The answer is final.

        Operation ids are kept for 7 days.
        """


def checked(store: Storage) -> Storage:
    """Return ``store`` if it has the methods of a store.

    Raises:
        UsageError: it is something else, such as a path, which most features do not open by themselves.
    """
    if not callable(getattr(store, "owner_alive", None)):
        raise wrong("store", store, "an open store", "Store.open(path) gives one.")
    return store
