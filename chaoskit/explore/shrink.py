"""Make the crash states that broke a test smaller, so that a finding names only what is needed.

A crash state lacks steps. Some of them are put back, with everything that they need, and the test runs on the
resulting disk: if it breaks in the same way, those steps were not to blame. The search is that of Zeller and
Hildebrandt ("Simplifying and Isolating Failure-Inducing Input", IEEE TSE 2002), over the states that the
models allow. It is deterministic: which case comes next depends only on the answers, never on their order or
on the number of workers.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from chaoskit.core.case import BROKEN, NO_JUDGEMENT
from chaoskit.core.evidence import ALL, EACH
from chaoskit.core.schedule import Schedule
from chaoskit.explore.border import Planned, World
from chaoskit.explore.case import Case, state_shown
from chaoskit.explore.causes import harm_of

Reducing = Generator[World, bool, None]


def reducing(world: World) -> Reducing:
    """Yield worlds to try, each smaller than the last that broke; send back True if it broke.

    When it ends, the last world that broke is minimal: with any one step put back, and what that needs, the
    test no longer breaks in the same way, provided the answers were right.
    """
    smallest, tried, pieces = world, {world.missing}, 1
    while True:
        found = None
        for parts in _kept(smallest.parts, pieces):
            smaller = world.lacking(parts)
            if smaller is None or smaller.missing in tried:
                continue
            tried.add(smaller.missing)
            if (yield smaller):
                found = smaller
                break
        if found is not None:
            smallest, pieces = found, max(2, pieces - 1)
        elif pieces >= len(smallest.parts):
            return
        else:
            # Finer pieces, down to single parts.
            pieces = min(2 * pieces, len(smallest.parts))


def _kept(parts: tuple[Hashable, ...], pieces: int) -> Iterator[tuple[Hashable, ...]]:
    """Smaller sets of missing parts: none, then either half, then all but one of several pieces."""
    # Parts that were made together usually belong together, so pieces are contiguous.
    borders = [len(parts) * i // pieces for i in range(pieces + 1)]
    for start, stop in itertools.pairwise(borders):
        yield (*parts[:start], *parts[stop:])


@dataclass(slots=True)
class _Reduction:
    """The reduction of one state."""

    origin: Case
    reducing: Reducing
    smallest: World
    waiting: World | None = None
    cases: int = 0
    ended: bool = False
    asked: list[World] = field(default_factory=list)

    def tell(self, broke: bool | None) -> None:
        """Pass on the answer for the waiting world; None starts the search."""
        if self.waiting is not None:
            self.asked.append(self.waiting)
        if broke:
            assert self.waiting is not None
            self.smallest = self.waiting
        try:
            self.waiting = next(self.reducing) if broke is None else self.reducing.send(broke)
        except StopIteration:
            self.waiting, self.ended = None, True


class Shrinker:
    """Makes crash states smaller with the help of ``execute``, which runs cases and judges them.

    ``cases`` are those that were run before: content that one of them has shown is not tried again.
    :attr:`added` are the cases that were run in addition; :attr:`origins` maps the schedule of a smallest
    state to the one that it was made from.
    """

    def __init__(self, cases: Sequence[Case], execute: Callable[[Sequence[Case]], object]) -> None:
        self._execute = execute
        self.added: list[Case] = []
        self.origins: dict[str, str] = {}
        self.complete: dict[str, bool] = {}
        """By schedule: True if it is as small as possible, False if the search reached its bound."""
        self.trails: dict[str, tuple[Sequence[Case], Case, bool]] = {}
        """By schedule: what was tried in its place, the smallest state, and True if the search ended."""
        self._shown: dict[Hashable, Case] = {}
        self._known: dict[str, Case] = {}
        for case in cases:
            self._note(case)

    def shrink(self, cases: Sequence[Case]) -> None:
        """Make the states of these cases smaller, all at the same time."""
        tasks = []
        for case in cases:
            assert case.planned.world is not None
            tasks.append(_Reduction(case, reducing(case.planned.world), case.planned.world))
        for task in tasks:
            task.tell(None)
        while self._round(tasks):
            pass
        self._name_smallest(tasks)

    def can_be(self, case: Case) -> bool:
        """True if a case broke by a world that nothing has tried to make smaller yet."""
        judged = case.judgement.verdict == "violated" and _name(case) not in self.complete
        return judged and state_shown(case) is not None

    def _note(self, case: Case) -> None:
        world = state_shown(case)
        if world is not None and case.judgement.verdict not in NO_JUDGEMENT:
            self._shown.setdefault(_shown_by(case, world), case)
            self._known.setdefault(_name(case), case)

    def _round(self, tasks: Sequence[_Reduction]) -> bool:
        """Run one case of each reduction that needs one; False if none does."""
        batch: dict[Hashable, Case] = {}
        for task in tasks:
            self._answer(task)
            if task.waiting is None:
                continue
            content = _shown_by(task.origin, task.waiting)
            # One case is reserved for running the smallest state under its own name.
            if content not in batch and (task.cases >= EACH - 1 or len(self.added) + len(batch) >= ALL):
                task.waiting = None
                continue
            # Two findings may ask for the same content: it is run once.
            task.cases += content not in batch
            batch.setdefault(content, _case_of(task.origin, task.waiting))
        self._run(list(batch.values()))
        for content, case in batch.items():
            # Cases that could not be judged as well: they are not tried again, and do not count as broken.
            self._shown.setdefault(content, case)
        return bool(batch)

    def _answer(self, task: _Reduction) -> None:
        """Give a task the answers that are already known."""
        while task.waiting is not None and (content := _shown_by(task.origin, task.waiting)) in self._shown:
            task.tell(_broke_alike(self._shown[content], task.origin))

    def _run(self, cases: list[Case]) -> None:
        if cases:
            self._execute(cases)
            self.added += cases
            for case in cases:
                self._note(case)

    def _name_smallest(self, tasks: Sequence[_Reduction]) -> None:
        """Name the case of each smallest state.

        A state known only under another name (after another operation, say) is run under its own.
        """
        smallest = {_name(case := _case_of(task.origin, task.smallest)): case for task in tasks}
        unknown = [case for name, case in smallest.items() if name not in self._known]
        self._run(unknown[: max(0, ALL - len(self.added))])
        for task in tasks:
            before, name = _name(task.origin), _name(last := _case_of(task.origin, task.smallest))
            asked = [_case_of(task.origin, world) for world in task.asked]
            self.trails[before] = (asked, last, task.ended)
            found = name in self._known and _broke_alike(self._known[name], task.origin)
            self.complete[before] = task.ended and found
            if name != before and found:
                self.complete[name] = task.ended
                self.origins.setdefault(name, before)


def _shown_by(case: Case, world: World) -> Hashable:
    """What the test sees: the strikes before the world, and its content."""
    return case.planned.schedule.strikes[:-1], world.content


def _name(case: Case) -> str:
    return str(case.planned.schedule)


def _broke_alike(case: Case, other: Case) -> bool:
    if case.judgement.verdict not in BROKEN:
        return False
    return harm_of(case.judgement) == harm_of(other.judgement)


def _case_of(origin: Case, world: World) -> Case:
    """The case with the earlier strikes of ``origin``, which then leaves ``world``."""
    schedule = Schedule((*origin.planned.schedule.strikes[:-1], world.strike))
    job = replace(origin.job, schedule=schedule, world=world, record=False)
    operations = (*origin.operations[:-1], world.blamed)
    return Case(Planned(schedule, world), operations, origin.points, job)
