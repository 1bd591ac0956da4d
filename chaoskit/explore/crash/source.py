"""Power loss as a source of cases: one for each distinct crash state of each run of a recording."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import replace

from chaoskit.core.errors import ScheduleError
from chaoskit.core.finding import Advice
from chaoskit.core.operation import Caveat, Operation, Trace
from chaoskit.core.schedule import Point, Schedule, Strike
from chaoskit.explore.align import Naming, patterns_with
from chaoskit.explore.border import CaseSource, Note, Planned, Recording, Spared, World
from chaoskit.explore.crash import telling
from chaoskit.explore.crash.auditing import without_syncs
from chaoskit.explore.crash.between import Unknown, history
from chaoskit.explore.crash.materialise import Materialiser
from chaoskit.explore.crash.naming import state_named
from chaoskit.explore.crash.playing import lost_steps
from chaoskit.explore.crash.snapshot import Snapshot
from chaoskit.explore.crash.states import CrashStates, crash_states
from chaoskit.explore.crash.suspicions import warnings
from chaoskit.explore.crash.worlds import FAULT, CrashHistory, holds, lies, told
from chaoskit.faults import FaultSet
from chaoskit.faults.power import LIES


class CrashSource(CaseSource):
    """Enumerates the crash states of all runs of a test. Used for one exploration."""

    def __init__(self, faults: FaultSet, models: tuple[str, ...]) -> None:
        self._faults = faults
        self._models = models
        self._before: dict[int, Snapshot] = {}
        self._after: dict[int, Snapshot] = {}
        self._baseline: CrashHistory | None = None
        self._remarks: list[Advice] = []
        self._caveats: list[Caveat] = []
        self._places: tuple[int, ...] = ()

    def before_run(self, run: int, path: str) -> None:
        """Note what the directory holds."""
        self._before[run] = Snapshot.take(path)

    def after_run(self, run: int, path: str) -> None:
        """Note what the run left."""
        self._after[run] = Snapshot.take(path)

    def cases(self, recording: Recording) -> Iterator[Planned]:
        """One case for each distinct crash state, in the order of the trace."""
        # The set of faults may narrow the places, and name other models at each.
        offered = [self._offered(operation, recording.trace) for operation in recording.trace]
        places = {index for index, models in enumerate(offered) if models}
        if not places:
            return
        self._places = tuple(sorted(places))
        recorded = self._baseline = self._history(recording, offered, places)
        split = recorded.states.script
        self._remarks += [told(a, split.trace[a.operation]) for a in warnings(split)]
        self._caveats += split.caveats
        for state in recorded.states:
            # Equal states after several operations are listed once, at one of them, which may not be offered.
            if not set(state.models).isdisjoint(offered[state.moment.operation]):
                yield recorded.planned(state)

    def follows(self, planned: Planned) -> bool:
        """True after a failed sync that marked its data as clean, if the set of faults asks for that."""
        alone = len(planned.schedule) == 1 and planned.world is None
        return LIES in self._faults.names and alone and lies(planned.schedule.strikes[0])

    def note(self, planned: Planned) -> Note | None:
        """The whole directory, inode numbers included: crash states begin with what a run finds."""
        # What a power loss left is durable, so it cannot be lost again.
        if planned.world is None and (FAULT in self._faults.names or self.follows(planned)):
            return Snapshot.take
        return None

    def after(self, before: Planned, recording: Recording) -> Iterator[Planned]:
        """After a failed fsync: the power losses that show what later syncs did not write."""
        if not self.follows(before):
            return
        (strike,) = before.schedule
        hit = _hit(strike, recording)
        if hit is None:
            return
        recorded = self._behind(recording, hit.index)
        lost = lost_steps(recorded.states.script)
        for state in recorded.states:
            if not lost.isdisjoint(state.dropped):
                yield recorded.planned(state, strike, hit)

    def _behind(self, recording: Recording, index: int) -> CrashHistory:
        """The history of a recorded case, with the states that a power loss after an operation leaves."""
        later = range(index + 1, len(recording.trace))
        return self._history(recording, [self._models] * len(recording.trace), later)

    def second(self, before: Planned, recording: Recording, behind: int) -> Iterator[Planned]:
        """The power losses after another fault, when the program trusts what it has in memory.

        There are none after another power loss: what that left is durable, and the recovery is another
        program, to be tested by another scenario.
        """
        offered = [
            self._offered(operation, recording.trace) if operation.index > behind else ()
            for operation in recording.trace
        ]
        places = {index for index, models in enumerate(offered) if models}
        if before.world is not None or len(before.schedule) != 1 or not places:
            return
        (strike,) = before.schedule
        recorded, hit = self._history(recording, offered, places), _hit(strike, recording)
        for state in recorded.states:
            at = state.moment.operation
            if hit is None and recording.trace[at].place.run == strike.point.place.run:
                continue
            if not set(state.models).isdisjoint(offered[at]):
                yield recorded.planned(state, strike, hit)

    def named(self, wanted: Schedule, recording: Recording, before: Planned | None = None) -> Planned | None:
        """The crash state that the last strike names, listed or not; None if no model allows it."""
        *earlier, strike = wanted.strikes
        at = _found(strike.point, wanted, recording)
        if strike.fault.name != FAULT or at is None or len(earlier) > 1:
            return None
        if self._faults.names.isdisjoint((FAULT, LIES)):
            # This source was made only to say what is wrong with a schedule: the scenario loses no power.
            return None
        struck, hit = (earlier[0], _hit(earlier[0], recording)) if earlier else (None, None)
        if before is None:
            recorded, offered = self._baseline, self._offered(recording.trace[at], recording.trace)
        else:
            recorded, offered = self._behind(recording, at - 1), self._models
        if recorded is None:
            return None
        state = state_named(recorded.states.script, at, strike.fault.argument)
        models = tuple(model for model in state.models if model in offered)
        # It is not a case of this scenario: refuse() says why.
        if not models or recorded.is_unknown(state):
            return None
        return recorded.planned(replace(state, models=models), struck, hit, strike)

    def refuse(self, wanted: Schedule) -> None:
        """Raise the error for a schedule that loses power and leads to no case.

        Raises:
            ScheduleError: for a name that does not parse, steps that do not exist, a state that no requested
            model allows, and a lying sync if the scenario does not look for one.
        """
        if all(strike.fault.name != FAULT for strike in wanted):
            return
        first = wanted.strikes[0]
        if lies(first) and LIES not in self._faults.names:
            raise ScheduleError(
                f"the schedule {str(wanted)!r} loses power after a failed fsync; expected the family "
                "fsync_lies among the faults, since no other looks for that."
            )
        if first.fault.name == FAULT:
            self._refuse_state(first)
        raise ScheduleError(
            f"the schedule {str(wanted)!r} names a crash state that this scenario does not have; expected "
            "one that a run of it has printed, with the same faults and models."
        )

    def _refuse_state(self, wanted: Strike) -> None:
        known = self._baseline
        if known is None or wanted.point not in known.points:
            return
        state = state_named(known.states.script, known.points.index(wanted.point), wanted.fault.argument)
        if set(state.models).isdisjoint(self._models):
            allowed = ", ".join(state.models) or "none that can be told without enumerating all states"
            raise ScheduleError(
                f"{wanted}: no model that was asked for ({', '.join(self._models)}) allows this state; "
                f"models that do: {allowed}."
            )

    def spared(self, broken: Sequence[World]) -> Iterator[Spared]:
        """For each sync the crash states that it prevents."""
        if self._baseline is not None:
            yield from without_syncs(self._baseline, self._places, broken)

    def remarks(self) -> tuple[Advice, ...]:
        """Renames, promises and syncs that look wrong in the recording."""
        return tuple(dict.fromkeys(self._remarks))

    def caveats(self) -> tuple[Caveat, ...]:
        """Data that was not recorded, and unknown directories."""
        return tuple(dict.fromkeys(self._caveats))

    def _history(
        self, recording: Recording, offered: Sequence[tuple[str, ...]], places: Container[int]
    ) -> CrashHistory:
        """All runs of a recording as one history, with the crash states that can be left at ``places``.

        What the test did before the first run and between runs is durable; what runs left unsynced can be
        lost in every later run.
        """
        models = tuple(dict.fromkeys(name for models in offered for name in models))
        before = recording.noted or self._before
        begins: dict[int, int] = {}
        ends: dict[int, int] = {}
        for operation in recording.trace:
            begins.setdefault(operation.place.run, operation.index)
            ends[operation.place.run] = operation.index
        first, *later = begins
        # The directory before each later run: the test may have changed it in between.
        between = {begins[run]: before[run] for run in later}
        # Other recordings were made in other directories; what cannot be followed is the same in them.
        after = {ends[run]: self._after[run] for run in begins if run in self._after and not recording.noted}
        split, unknown = history(recording.trace, before[first], between, after)
        states = self._known(crash_states(split, models, at=places), unknown)
        home = recording.trace.root
        tells = bool(home) and telling.tells(split, home)
        made = Materialiser(states)
        return CrashHistory(recording.points, begins, states, models, made, home, tells, tuple(unknown))

    def _known(self, states: CrashStates, unknown: Sequence[Unknown]) -> CrashStates:
        """``states`` without those that contain a file of unknown content."""
        for file in unknown:
            kept = tuple(state for state in states if not holds(states, state, file))
            text = (
                f"{file.name} was changed in a way that no call shows: "
                f"{len(states) - len(kept)} crash states with it were left out"
            )
            self._caveats.append(Caveat("content-unknown", file.name, text))
            states = replace(states, states=kept)
        return states

    def _offered(self, operation: Operation, trace: Trace) -> tuple[str, ...]:
        """The models under which the power may fail after ``operation``."""
        found: list[str] = []
        for fault in self._faults.offers(operation, trace):
            if fault.name == FAULT:
                found += fault.argument.split(",") if fault.argument else self._models
        return tuple(dict.fromkeys(found))


def _found(point: Point, wanted: Schedule, recording: Recording) -> int | None:
    """The index of a point in the recording, by the recording's names or with the wildcards of ``wanted``."""
    for points in (
        recording.points,
        Naming(patterns_with(recording.patterns, wanted)).points(recording.trace.operations),
    ):
        if point in points:
            return points.index(point)
    return None


def _hit(strike: Strike, recording: Recording) -> Operation | None:
    """The operation that a strike hit; None if it is not in the recording."""
    if strike.point not in recording.points:
        return None
    return recording.trace[recording.points.index(strike.point)]
