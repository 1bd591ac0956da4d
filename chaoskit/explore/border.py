"""The border between the engine and what can go wrong: sources of cases, and the worlds that they build.

The engine knows no kind of fault by name. A source must list its cases; everything else has a default, which
is right for faults that a backend injects at a call.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from chaoskit.core.finding import Advice
from chaoskit.core.operation import Caveat, Operation, Receipt, Trace
from chaoskit.core.schedule import Point, Schedule, Strike

Note = Callable[[str], object]
"""Takes the path of a directory and returns what a source needs to know about it, as a picklable object."""


# Everything about parts has a default: most worlds, such as damaged files, have none.
class World(Protocol):
    """What a case finds instead of what one of its runs would have left.

    A case with a world does not execute the run: :meth:`build` replaces the directory's content, and the test
    goes on after its ``chaos.run``. Worlds are handed to processes that are forked afterwards, so they may
    hold anything; ``build`` may be called in several of them.

    A world made of parts says which are missing, so that it can be made smaller if it breaks the test. A
    world without parts leaves :attr:`parts` and the members that depend on it alone.
    """

    @property
    def run(self) -> int:
        """Which ``chaos.run`` of the test is not executed, from 1."""

    @property
    def strike(self) -> Strike:
        """The strike that the schedule names, such as ``rename(a -> b)#1=power_loss[drop 3]``."""

    @property
    def blamed(self) -> Operation:
        """The operation of the recording that made this possible, by a quick first guess."""

    @property
    def content(self) -> Hashable:
        """Equal for worlds of the same run with the same content after the same promises."""

    @property
    def promised(self) -> tuple[Any, ...]:
        """What this run had promised by then."""

    def build(self, path: str) -> tuple[Receipt, ...]:
        """Replace the content of the directory ``path``; return a receipt for each strike that is in it.

        When it is called, ``path`` holds what the case's own set-up and earlier runs have left.
        """

    @property
    def home(self) -> str:
        """The directory in which the content was recorded; empty if there is none."""
        return ""

    @property
    def tells_of_home(self) -> bool:
        """True if the content contains the path of that directory, and is therefore valid nowhere else."""
        return False

    @property
    def operation(self) -> Operation:
        """The operation of the recording where the world begins to differ."""
        return self.blamed

    @property
    def past(self) -> Sequence[Operation]:
        """The recorded operations of the run before that point, for the case's timeline."""
        return ()

    @property
    def guilty(self) -> Operation:
        """The operation to blame; unlike :attr:`blamed`, it may consider which parts depend on which."""
        return self.blamed

    @property
    def parts(self) -> tuple[Hashable, ...]:
        """The changes that were made before the world begins and are missing in it, in order.

        Equal parts of two worlds are the same part.
        """
        return ()

    @property
    def missing(self) -> frozenset[Hashable]:
        """:attr:`parts` as a set."""
        return frozenset(self.parts)

    @property
    def steps(self) -> tuple[int, ...]:
        """The missing parts, as numbers that are the same in every recording of the same run."""
        return ()

    def lacking(self, parts: Iterable[Hashable]) -> World | None:
        """The world that begins to differ at the same operation and in which only ``parts`` are missing.

        Parts that depend on these are missing, too. ``parts`` is a subset of this world's. Every model that
        allows this world allows the other; None if there is no such world.
        """
        return None

    @property
    def models(self) -> tuple[str, ...]:
        """The persistence models that allow this content."""
        return ()

    @property
    def ways(self) -> int:
        """How many of the enumerated sets of parts leave this content."""
        return 1

    @property
    def told(self) -> Advice | None:
        """Why this content is possible, and how to prevent it; None if there is no advice."""
        return None


@dataclass(frozen=True, slots=True)
class Recording:
    """The recording of the baseline: two runs of a test without faults.

    ``trace`` holds the operations of all runs of the first one, in order, numbered from 0, under their real
    names. ``points[i]`` is the name of ``trace[i]`` in schedules, with wildcards, and with ordinals that
    count equal names under wildcards; ``stable[i]`` is True if the second recording has the point, too.
    """

    trace: Trace
    points: tuple[Point, ...]
    stable: tuple[bool, ...]
    patterns: tuple[str, ...] = ()
    noted: Mapping[int, Any] = field(default_factory=dict)
    """Notes made when each run began (:meth:`CaseSource.note`); if empty, the first recording's hold."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A case that may be run: its schedule, and the world to build, if any."""

    schedule: Schedule
    world: World | None = None


@dataclass(frozen=True, slots=True)
class Spared:
    """The cases that would be possible had one call of the recording made nothing durable.

    ``operation`` is the call's index in the trace; ``files`` are the files that may then lack something, by
    their names at the end.
    """

    operation: int
    cases: tuple[Planned, ...]
    files: tuple[str, ...] = ()


# A protocol with defaults, so that a source of plain faults is one method long.
class CaseSource(Protocol):
    """Knows one kind of thing that can go wrong, and derives its cases from one recording."""

    def cases(self, recording: Recording) -> Iterable[Planned]:
        """All cases, in the order of the trace. Called once, after both recordings."""

    def before_run(self, run: int, path: str) -> None:
        """Called in the first recording just before ``chaos.run`` number ``run`` executes in ``path``.

        Here a source can note what the directory holds, inode numbers included.
        """
        return

    def after_run(self, run: int, path: str) -> None:
        """Called in the first recording when ``chaos.run`` number ``run`` is over."""
        return

    def follows(self, planned: Planned) -> bool:
        """True if ``planned`` must be recorded once it has passed, since :meth:`after` then has cases."""
        return False

    def note(self, planned: Planned) -> Note | None:
        """The note to make before each run when ``planned`` is recorded; None if none is needed.

        A recording with notes also keeps the data of writes, which others leave out.
        """
        return None

    def after(self, before: Planned, recording: Recording) -> Iterable[Planned]:
        """The cases found by recording ``before``: its strikes, followed by one of this source."""
        return ()

    def second(self, before: Planned, recording: Recording, behind: int) -> Iterable[Planned]:
        """Cases with one strike more: those of ``before``, which ``recording`` records, and then a later one.

        ``behind`` is an index in the trace: only operations after it count as later.
        """
        return ()

    def named(self, wanted: Schedule, recording: Recording, before: Planned | None = None) -> Planned | None:
        """The case that a schedule names although it was not listed: a world that was made smaller.

        With ``before`` the recording is of that case, and ``wanted`` is its strike followed by one of this
        source. None if the last strike does not belong to this source, or names something impossible.
        """
        return None

    def refuse(self, wanted: Schedule) -> None:
        """Raise the error for a schedule to replay that leads to no case. Called after :meth:`cases`.

        Raises:
            ScheduleError: if it has a strike of this source's kind; the message says what is wrong.
        """
        return

    def spared(self, broken: Sequence[World]) -> Iterable[Spared]:
        """For each sync, the cases that it prevents, without those that ``broken`` worlds explain.

        Called after :meth:`cases`.
        """
        return ()

    def remarks(self) -> Iterable[Advice]:
        """What looks wrong in the recording alone. Called after :meth:`cases`."""
        return ()

    def caveats(self) -> Iterable[Caveat]:
        """What the cases would have needed and the recording lacks. Called after :meth:`cases`."""
        return ()
