"""What follows a fault that the program survived: the case is recorded again, and strikes are added.

Two kinds of case begin here. Some faults show only later (a sync that lied, when the power fails), so their
source adds cases: :meth:`Sequel.brought_to_light`. And with depth 2 every fault is followed by a second one:
:meth:`Sequel.pairs`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

from chaoskit.core.case import BROKEN, NO_JUDGEMENT
from chaoskit.core.evidence import LIGHT, PAIRED, Followed
from chaoskit.core.result import ALIKE
from chaoskit.explore.align import unaligned
from chaoskit.explore.border import Planned, Recording
from chaoskit.explore.case import Case, state_shown
from chaoskit.explore.evidence import digest_of
from chaoskit.explore.job import Job
from chaoskit.explore.judge import judge
from chaoskit.explore.observation import Observation
from chaoskit.explore.replay import wanted_among
from chaoskit.explore.sweep import Sweep


class Sequel:
    """Finds and runs the cases that follow those that passed. ``patterns`` are the baseline's wildcards."""

    def __init__(self, sweep: Sweep, patterns: tuple[str, ...]) -> None:
        self._sweep = sweep
        self._sources = sweep.question.sources
        self._wanted = sweep.question.options.replay
        self._patterns = patterns
        self.followed: list[Followed] = []
        """What followed each fault that was tried with a second one; only a shard needs it."""

    def brought_to_light(self, cases: Sequence[Case]) -> Sequence[Case]:
        """Execute the cases that show a fault only later, and return them."""
        origins = [c for c in cases if _passed(c) and any(s.follows(c.planned) for s in self._sources)]
        behind: list[list[Case]] = [[] for _ in origins]
        with contextlib.closing(self._sweep.observe([self._job(case) for case in origins])) as stream:
            for number, seen in stream:
                origin, again = origins[number], unaligned(seen.trace, self._patterns, seen.noted)
                listed = [one for s in self._sources for one in s.after(origin.planned, again)]
                asked = self._asked_for(listed, again, origin.planned)
                behind[number] = [_behind(origin, one, place) for place, one in enumerate(asked)]
        # In the order of their origins, whichever was recorded first.
        found = [case for several in behind for case in several]
        self._sweep.list([case.planned for case in found])
        chosen = self._sweep.within(found, self._sweep.room(len(cases)))
        return self._sweep.execute(chosen)

    def pairs(self, cases: Sequence[Case]) -> Sequence[Case]:
        """Execute each case that passed with a second, later fault, and return them."""
        # Checked first: without room no recording is needed.
        room = self._sweep.room(len(cases))
        if room == 0:
            return []
        origins = [case for case in cases if _passed(case)]
        jobs = [replace(self._job(case), strike_recovery=True) for case in origins]
        # A second fault may give a schedule that was run already, after a lying sync for example.
        known = {case.planned.schedule for case in cases}
        pairs: list[list[Case]] = [[] for _ in origins]
        follows: list[object] = [None] * len(origins)
        with contextlib.closing(self._sweep.observe(jobs)) as stream:
            for number, seen in stream:
                found = self._seconds(origins[number], jobs[number], seen)
                pairs[number] = [one for one in found if one.planned.schedule not in known]
                follows[number] = _what_follows(origins[number], seen, self._patterns)
        if self._sweep.question.shard is not None:
            told = zip(origins, follows, strict=True)
            self.followed = [Followed(origin.order, digest_of(what)) for origin, what in told]
        every = [case for several in pairs for case in several]
        # A world followed by another fault is not a new world.
        worlds = [world for case in every if (world := state_shown(case)) is not None]
        self._sweep.list([case.planned for case in every], worlds)
        # Pruned before the budget is applied, so that the budget goes to cases that show something new.
        chosen = self._sweep.within(self._pruned(pairs, follows), room)
        return self._sweep.execute(chosen)

    def _job(self, case: Case) -> Job:
        """The job that records a case again, with notes if a source needs them."""
        notes = (source.note(case.planned) for source in self._sources)
        return replace(case.job, record=True, note=next((one for one in notes if one is not None), None))

    def _asked_for(self, listed: Sequence[Planned], again: Recording, before: Planned) -> Sequence[Planned]:
        """Of the cases after a fault, only the one to replay, in a replay."""
        if self._wanted is None:
            return listed
        found = wanted_among(listed, self._wanted, again, self._sources, before)
        return [] if found is None else [found]

    def _seconds(self, origin: Case, job: Job, seen: Observation) -> Iterator[Case]:
        """The pairs that begin with ``origin``, as ``seen`` has recorded it."""
        judgement = judge(origin.job, seen)
        if judgement.verdict in (*BROKEN, *NO_JUDGEMENT):
            # It passed before, but the latest run counts, and nothing can be derived from it.
            origin.seen, origin.judgement = seen, judgement
            return
        again = unaligned(seen.trace, self._patterns, seen.noted)
        behind = _end_of(origin, again)
        index = {point: i for i, point in enumerate(again.points)}
        listed = [p for s in self._sources for p in s.second(origin.planned, again, behind)]
        for place, planned in enumerate(self._asked_for(listed, again, origin.planned)):
            new = planned.world is not None and planned.world is not origin.planned.world
            # Where a world begins says little: what matters is the call that made it possible.
            second = (
                planned.world.blamed
                if new and planned.world is not None
                else again.trace[index[planned.schedule.strikes[-1].point]]
            )
            job = replace(job, schedule=planned.schedule, world=planned.world, record=False, note=None)
            order = (PAIRED, *origin.order, place)
            yield Case(planned, (*origin.operations, second), origin.points, job, order=order)

    def _pruned(self, pairs: Sequence[list[Case]], follows: Sequence[object]) -> list[Case]:
        """Of first faults that lead to the same state, keep only the pairs that follow the first.

        If the program handles ten errors of one write alike, one recovery is enough. Worlds are compared by
        their content: of two kills that lead to the same state, one may have come before an fsync and the
        other after it.
        """
        kept: list[Case] = []
        known: set[object] = set()
        for several, what in zip(pairs, follows, strict=True):
            # Only what follows counts, not which fault came first.
            repeated = what in known
            known.add(what)
            for case in several:
                alike = repeated
                # Even after a first fault that is new: the content of the disk decides.
                if (world := state_shown(case)) is not None:
                    key = (case.planned.schedule.strikes[0].fault, world.content)
                    alike = key in known
                    known.add(key)
                if alike:
                    self._sweep.left_out[ALIKE] += 1
                else:
                    kept.append(case)
        return kept


def _passed(case: Case) -> bool:
    return case.judgement.verdict not in (*BROKEN, *NO_JUDGEMENT)


def _behind(origin: Case, planned: Planned, place: int) -> Case:
    """The case in which a world follows the strikes of ``origin``; the call to blame is the world's."""
    assert planned.world is not None
    job = replace(origin.job, schedule=planned.schedule, world=planned.world, record=False)
    return Case(planned, (planned.world.blamed,), origin.points, job, order=(LIGHT, *origin.order, place))


def _what_follows(origin: Case, seen: Observation, patterns: tuple[str, ...]) -> object:
    """What a recording shows after its first fault: the calls with their results, and the disk at the end.

    First faults with equal values count as leading to the same state. The contents of writes are not
    compared, only their position and length.
    """
    again = unaligned(seen.trace, patterns)
    behind = _end_of(origin, again)
    calls = tuple(
        (str(point), o.result, o.file.offset, o.file.length, o.file.size_before)
        for point, o in zip(again.points, again.trace, strict=True)
        if o.index > behind
    )
    left = tuple((name, entry.kind, entry.size, entry.digest) for name, entry in seen.snapshot.items())
    return (calls, left, tuple(run.how for run in seen.runs), sum(run.promised for run in seen.runs))


def _end_of(origin: Case, again: Recording) -> int:
    """The index, in a recording of ``origin``, of the last operation that is not after its fault."""
    last = origin.planned.schedule.strikes[-1].point
    if origin.planned.world is None:
        for point, operation in zip(again.points, again.trace, strict=True):
            if point == last:
                return operation.index
    # A run that a world replaces was not executed, and a call before which the process was killed was never
    # made: neither is in the trace, and what follows begins with the next run.
    return max((o.index for o in again.trace if o.place.run <= last.place.run), default=-1)
