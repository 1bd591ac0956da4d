"""What the engine hands around: recordings, where cases come from, and what one execution is asked."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from chaoskit.core.finding import Advice
from chaoskit.core.operation import Caveat, Operation, Receipt, Trace
from chaoskit.core.schedule import Point, Schedule, Strike
from chaoskit.explore.snapshot import EMPTY, Snapshot
from chaoskit.inject.base import Leaks

if TYPE_CHECKING:
    from chaoskit.explore.crash.snapshot import Snapshot as Content


class World(Protocol):
    """One content of the disk that a run's power loss may have left.

    A case with a world does not execute the run: the directory's content is replaced by
    :meth:`build` and the test goes on behind its ``chaos.run``. Worlds are handed to processes that
    are forked afterwards, so they may hold anything; ``build`` may be called in several of them.
    """

    @property
    def run(self) -> int:
        """Which ``chaos.run`` of the test ends in the power loss, from 1."""

    @property
    def strike(self) -> Strike:
        """The strike that the schedule names, such as ``rename(a -> b)#1=power_loss[drop 3]``."""

    @property
    def operation(self) -> Operation:
        """The operation of the recording at which power was lost."""

    @property
    def blamed(self) -> Operation:
        """The operation of the recording that let this happen, at a first look that costs little."""

    @property
    def guilty(self) -> Operation:
        """The same at a second look, which takes into account what could not persist without what."""

    @property
    def missing(self) -> frozenset[Hashable]:
        """The parts of what was done that are not there; equal parts of two worlds are the same part."""

    @property
    def parts(self) -> tuple[Hashable, ...]:
        """The parts of :attr:`missing`, in the order in which they were done."""

    @property
    def content(self) -> Hashable:
        """Equal for worlds in which the same run leaves the same, and the same was promised before."""

    def lacking(self, parts: Iterable[Hashable]) -> World | None:
        """The world in which power was lost at the same operation and only ``parts`` are missing.

        Further ones may be, if they cannot be there without these. ``parts`` are some of this world's.
        Every model that allows this world allows the other; None if there is no such world.
        """

    @property
    def models(self) -> tuple[str, ...]:
        """The persistence models that allow this content."""

    @property
    def ways(self) -> int:
        """How many of the enumerated sets of persisted parts leave this content: states before merging."""

    @property
    def told(self) -> Advice:
        """Why this content can come about, and how to prevent it."""

    def promised(self, path: str) -> tuple[Any, ...]:
        """What this run had acknowledged before power was lost, with paths below ``path``."""

    def build(self, path: str) -> tuple[Receipt, ...]:
        """Replace the content of the directory ``path``; return a receipt for each strike that is in it.

        ``path`` then holds what the case's own set-up and earlier runs have made.
        """


@dataclass(frozen=True, slots=True)
class Recording:
    """What two undisturbed runs of a test have shown.

    ``trace`` holds the operations of all runs of the first, in order, numbered from 0, under their
    real names. ``points[i]`` is the name of ``trace[i]`` in schedules, with wildcards and with
    ordinals counted under them; ``stable[i]`` tells whether the second recording has it too.
    """

    trace: Trace
    points: tuple[Point, ...]
    stable: tuple[bool, ...]
    patterns: tuple[str, ...] = ()
    before: Mapping[int, Content] = field(default_factory=dict)
    """What the directory held when each run began. Empty: as in the first recording."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A case that may be run: its schedule, and for a power loss the world to build."""

    schedule: Schedule
    world: World | None = None


class CaseSource(Protocol):
    """Knows one kind of thing that can go wrong, and the cases that follow from a recording."""

    def before_run(self, run: int, path: str) -> None:
        """Called in the first recording just before ``chaos.run`` number ``run`` executes in ``path``.

        The place to note what the directory holds, inode numbers included.
        """

    def after_run(self, run: int, path: str) -> None:
        """Called in the first recording when ``chaos.run`` number ``run`` is over."""

    def cases(self, recording: Recording) -> Iterable[Planned]:
        """All cases, in the order of the trace. Called once, after both recordings."""

    def follow(self, before: Planned, recording: Recording) -> Iterable[Planned]:
        """The cases that come to light when ``before`` is recorded: its strikes, then one of this source."""

    def second(self, before: Planned, recording: Recording, after: int) -> Iterable[Planned]:
        """The pairs: the strikes of ``before``, of which this is a recording, and one behind ``after``.

        ``after`` is an index in the trace. A recording holds the data of writes for faults that are
        worlds, unless ``before`` has a world itself.
        """

    def named(self, wanted: Schedule, recording: Recording, before: Planned | None = None) -> Planned | None:
        """The case that a schedule names although it was not listed: a world found by making one smaller.

        With ``before`` the recording is of that case, and ``wanted`` its strike and then one of this
        source. None if the last strike is none of this source, or names what cannot come about.
        """

    def refuse(self, wanted: Strike) -> None:
        """Called after :meth:`cases` for a strike to replay that is in none of them.

        Raises:
            ScheduleError: if the strike is of the kind that the source knows; it says what is wrong.
        """

    def remarks(self) -> Iterable[Advice]:
        """What looks wrong in the recording alone. Called after :meth:`cases`."""

    def caveats(self) -> Iterable[Caveat]:
        """What the recording did not hold and the cases would have needed. Called after :meth:`cases`."""


NO_FAULTS = Schedule()


@dataclass(frozen=True, slots=True)
class Expected:
    """What the undisturbed run left: the yardstick for the free invariants and for differences."""

    snapshot: Snapshot = field(default_factory=lambda: EMPTY)
    leaks: tuple[Leaks, ...] = ()


@dataclass(frozen=True, slots=True)
class Job:
    """What one execution of the test is asked.

    ``record`` asks for the trace, ``with_data`` for the data of writes in it. ``expected`` is None for
    the first recording, which sets it. ``timeout`` is in seconds, for each run and for each stretch of
    the test between runs.
    """

    schedule: Schedule = NO_FAULTS
    record: bool = False
    with_data: bool = False
    patterns: tuple[str, ...] = ()
    world: World | None = None
    strike_recovery: bool = False
    expected: Expected | None = None
    timeout: float = 60.0
