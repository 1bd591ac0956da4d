"""The contract of a layout, so that a transaction need not know where its members go."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import IO, Any, Literal, Protocol, TypeAlias, TypeVar

from chaoskit.core.errors import wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.clock import Clock, SystemClock
from chaoskit.runtime.durable.levels import DEFAULT_DURABILITY, Durability, check_durability
from chaoskit.runtime.durable.transactions.contents import TransactionFiles
from chaoskit.runtime.durable.transactions.records import TransactionMember, TransactionReceipt
from chaoskit.runtime.numbers import is_number

__all__ = [
    "AnyPlace",
    "Content",
    "PlaceOptions",
    "Reached",
    "TransactionPlace",
    "TransactionRecovery",
    "TransactionStage",
    "TransactionState",
]

TransactionState: TypeAlias = Literal[
    "new", "staged", "validated", "decided", "published", "cleaned", "aborted", "rollback-failed"
]

Content: TypeAlias = bytes | str | os.PathLike[str] | IO[bytes]
"""Bytes, text (stored as UTF-8), a file by its ``Path``, or an open binary file, which is read to its end."""

Reached: TypeAlias = Callable[[TransactionState], None]


@dataclass(frozen=True, slots=True)
class PlaceOptions:
    """The options of all transactions on a target. Times are in seconds.

    ``grace`` is how long a replaced member stays for programs that are still reading it. ``lock_timeout``
    bounds the wait for other processes. ``abandoned`` is how long a stage in an object store may go without
    an upload before it counts as abandoned: an object store cannot tell if the stage's owner is alive.

    Raises:
        UsageError: the durability or a time is out of range.
    """

    durability: Durability = DEFAULT_DURABILITY
    grace: float = 3600.0
    lock_timeout: float = 10.0
    abandoned: float = 86400.0
    clock: Clock = field(default_factory=SystemClock)

    def __post_init__(self) -> None:
        check_durability(self.durability)
        if not (is_number(self.grace) and self.grace >= 0):
            raise wrong("grace", self.grace, "seconds, at least 0")
        if not (is_number(self.abandoned) and self.abandoned >= 0):
            raise wrong("abandoned", self.abandoned, "seconds, at least 0")
        if not (is_number(self.lock_timeout) and self.lock_timeout > 0):
            raise wrong("lock_timeout", self.lock_timeout, "seconds, more than zero")
        kinds.clock(self.clock)

    @property
    def sync(self) -> bool:
        """True if writes must survive a loss of power."""
        return self.durability == "power-loss"


@dataclass(frozen=True, slots=True)
class TransactionRecovery:
    """The result of a recovery: ids of transactions, and in ``removed`` the names that were removed.

    ``completed`` were decided but not finished before; ``aborted`` were begun and never decided, by processes
    that have died; ``running`` have a living owner. ``problems`` are sentences that tell a person what to
    check.
    """

    completed: tuple[str, ...] = ()
    aborted: tuple[str, ...] = ()
    running: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """True if nothing is left for a person to do."""
        return not self.problems


class TransactionStage(Protocol):
    """Members that are not visible yet. ``generation`` distinguishes the attempts with one ``id``."""

    id: str
    generation: str

    def add(self, name: str, content: Content) -> TransactionMember:
        """Stage one member."""

    def view(self) -> TransactionFiles:
        """The members staged so far."""


S = TypeVar("S", bound=TransactionStage)


class TransactionPlace(Protocol[S]):
    """A target together with the layout of its members."""

    def known(self, id: str) -> TransactionReceipt | None:
        """The receipt of a transaction that was committed before; it is durable when this returns."""

    def begin(self, id: str) -> S:
        """Create a stage for a transaction."""

    def prepare(self, stage: S) -> None:
        """Return once all members are durable."""

    def commit(self, stage: S, reached: Reached) -> TransactionReceipt:
        """Decide and publish. If an earlier attempt was committed, return its receipt instead.

        Raises:
            TransactionConflict: another transaction was published since this one began. Nothing was decided.
            OutcomeUnknown: the transaction is decided, or may be, but is not finished.
        """

    def discard(self, stage: S) -> tuple[str, ...]:
        """Remove a stage that was not decided; return what could not be removed. Raises no Exception."""

    def recover(self) -> TransactionRecovery:
        """Complete decided transactions; remove those that will never be. Several calls may run at once."""

    def newest(self) -> tuple[TransactionReceipt | None, Mapping[str, TransactionMember], TransactionFiles]:
        """What a reader sees now: the last receipt, all members, and their contents."""


AnyPlace: TypeAlias = TransactionPlace[Any]
"""A target whose type of stage only the target itself knows."""
