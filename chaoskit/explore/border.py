"""The border between the engine and what can go wrong: sources of cases, and the worlds that they build.

The engine knows no kind of fault by name. A source has to list its cases; everything else has a default,
which is right for faults that a backend makes happen at a call.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from chaoskit.core.finding import Advice
from chaoskit.core.operation import Caveat, Operation, Receipt, Trace
from chaoskit.core.schedule import Point, Schedule, Strike

Note = Callable[[str], object]
"""Notes of a directory what a source will need to know of it; what it returns must be picklable."""


# Defaults for all that belongs to parts: most worlds, such as damaged files, have none.
class World(Protocol):
    """What a case finds instead of what one of its runs would have left.

    A case with a world does not execute the run: the directory's content is replaced by
    :meth:`build` and the test goes on behind its ``chaos.run``. Worlds are handed to processes that
    are forked afterwards, so they may hold anything; ``build`` may be called in several of them.

    A world that is made of parts says which are missing, so that it can be made smaller when it breaks the
    test. One that is not leaves :attr:`parts` and what belongs to them as they are.
    """

    @property
    def run(self) -> int:
        """Which ``chaos.run`` of the test is not executed, from 1."""

    @property
    def strike(self) -> Strike:
        """The strike that the schedule names, such as ``rename(a -> b)#1=power_loss[drop 3]``."""

    @property
    def blamed(self) -> Operation:
        """The operation of the recording that let this happen, at a first look that costs little."""

    @property
    def content(self) -> Hashable:
        """Equal for worlds in which the same run leaves the same, and the same was promised before."""

    @property
    def promised(self) -> tuple[Any, ...]:
        """What this run had acknowledged before."""

    def build(self, path: str) -> tuple[Receipt, ...]:
        """Replace the content of the directory ``path``; return a receipt for each strike that is in it.

        ``path`` then holds what the case's own set-up and earlier runs have made.
        """

    @property
    def home(self) -> str:
        """The directory in which the content was recorded; empty if it comes from none."""
        return ""

    @property
    def tells_of_home(self) -> bool:
        """True if something of it has the path of that directory in it: then it is true nowhere else."""
        return False

    @property
    def operation(self) -> Operation:
        """The operation of the recording at which the world begins to differ."""
        return self.blamed

    @property
    def past(self) -> Sequence[Operation]:
        """What the run had done before, as recorded: for the case's timeline."""
        return ()

    @property
    def guilty(self) -> Operation:
        """As :attr:`blamed` at a second look, which may take into account what could not be without what."""
        return self.blamed

    @property
    def parts(self) -> tuple[Hashable, ...]:
        """What was done and is not there, in the order in which it was done.

        Equal parts of two worlds are the same part.
        """
        return ()

    @property
    def missing(self) -> frozenset[Hashable]:
        """The same as a set."""
        return frozenset(self.parts)

    @property
    def steps(self) -> tuple[int, ...]:
        """What is missing, as numbers that are the same in every recording of the same run."""
        return ()

    def lacking(self, parts: Iterable[Hashable]) -> World | None:
        """The world that begins to differ at the same operation and in which only ``parts`` are missing.

        Further ones may be, if they cannot be there without these. ``parts`` are some of this world's.
        Every model that allows this world allows the other; None if there is no such world.
        """
        return None

    @property
    def models(self) -> tuple[str, ...]:
        """The persistence models that allow this content."""
        return ()

    @property
    def ways(self) -> int:
        """How many of the enumerated sets of parts leave this content: worlds before merging."""
        return 1

    @property
    def told(self) -> Advice | None:
        """Why this content can come about, and how to prevent it; None where there is nothing to say."""
        return None


@dataclass(frozen=True, slots=True)
class Recording:
    """What the baseline has shown: two runs of a test in which nothing went wrong.

    ``trace`` holds the operations of all runs of the first, in order, numbered from 0, under their
    real names. ``points[i]`` is the name of ``trace[i]`` in schedules, with wildcards and with
    ordinals counted under them; ``stable[i]`` tells whether the second recording has it too.
    """

    trace: Trace
    points: tuple[Point, ...]
    stable: tuple[bool, ...]
    patterns: tuple[str, ...] = ()
    noted: Mapping[int, Any] = field(default_factory=dict)
    """What was noted when each run began (:meth:`CaseSource.note`). Empty: as in the first recording."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A case that may be run: its schedule, and the world to build if it has one."""

    schedule: Schedule
    world: World | None = None


@dataclass(frozen=True, slots=True)
class Spared:
    """The cases that would be possible had one call of the recording made nothing durable.

    ``operation`` is its index in the trace; ``files`` are those of which something may then be missing, by
    their names when all is done.
    """

    operation: int
    cases: tuple[Planned, ...]
    files: tuple[str, ...] = ()


# A protocol with defaults, so that a source of plain faults is one method long.
class CaseSource(Protocol):
    """Knows one kind of thing that can go wrong, and the cases that follow from a recording.

    Used for one exploration. Only :meth:`cases` has no default.
    """

    def cases(self, recording: Recording) -> Iterable[Planned]:
        """All cases, in the order of the trace. Called once, after both recordings."""

    def before_run(self, run: int, path: str) -> None:
        """Called in the first recording just before ``chaos.run`` number ``run`` executes in ``path``.

        The place to note what the directory holds, inode numbers included.
        """
        return

    def after_run(self, run: int, path: str) -> None:
        """Called in the first recording when ``chaos.run`` number ``run`` is over."""
        return

    def follows(self, planned: Planned) -> bool:
        """True if ``planned`` is to be recorded once it has passed, since :meth:`after` then has cases."""
        return False

    def note(self, planned: Planned) -> Note | None:
        """What to note of the directory before each run when ``planned`` is recorded, if anything.

        A recording with notes keeps the data of writes too, which others leave out.
        """
        return None

    def after(self, before: Planned, recording: Recording) -> Iterable[Planned]:
        """The cases that come to light when ``before`` is recorded: its strikes, then one of this source."""
        return ()

    def second(self, before: Planned, recording: Recording, behind: int) -> Iterable[Planned]:
        """The pairs: the strikes of ``before``, of which this is a recording, and one further on.

        ``behind`` is an index in the trace: the last operation that is not further on.
        """
        return ()

    def named(self, wanted: Schedule, recording: Recording, before: Planned | None = None) -> Planned | None:
        """The case that a schedule names although it was not listed: a world found by making one smaller.

        With ``before`` the recording is of that case, and ``wanted`` its strike and then one of this
        source. None if the last strike is none of this source, or names what cannot come about.
        """
        return None

    def refuse(self, wanted: Schedule) -> None:
        """Called after :meth:`cases` for a schedule to replay that leads to no case.

        Raises:
            ScheduleError: if it has a strike of the kind that the source knows; it says what is wrong.
        """
        return

    def spared(self, broken: Sequence[World]) -> Iterable[Spared]:
        """For each sync the cases that it prevents, without those that ``broken`` worlds explain.

        Called after :meth:`cases`.
        """
        return ()

    def remarks(self) -> Iterable[Advice]:
        """What looks wrong in the recording alone. Called after :meth:`cases`."""
        return ()

    def caveats(self) -> Iterable[Caveat]:
        """What the recording did not hold and the cases would have needed. Called after :meth:`cases`."""
        return ()
