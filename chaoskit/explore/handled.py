"""Which exception handlers ran in the cases of a scenario."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from chaoskit.core.handling import HandlerResult
from chaoskit.explore.case import Case
from chaoskit.explore.observation import Observation
from chaoskit.inject.handlers import RAN, UNTOLD, Handlers


def handler_results(
    handlers: Handlers | None, first: Observation, run: Sequence[Case]
) -> tuple[HandlerResult, ...] | None:
    """The handlers of every file in which a run called a function that has one; None without ``handlers``.

    A ``finally`` counts as run if an ``except`` of the same statement did: control passes through both. Left
    out are handlers that could not be observed and, in test files, handlers of functions that no run called:
    those belong to the test itself.
    """
    if handlers is None:
        return None
    marks = _merged([first.handled, *(case.seen.handled for case in run)])
    files = {frame.file for number, (frame, _) in enumerate(handlers.sites) if marks.get(number)}
    cases: dict[int, Counter[str]] = {}
    schedules: dict[int, str] = {}
    for case in run:
        # The baseline's own finding is not a case with a fault.
        for number in ran(handlers, case.seen.handled) if case.planned.schedule.strikes else ():
            cases.setdefault(number, Counter())[case.judgement.verdict] += 1
            schedules.setdefault(number, str(case.planned.schedule))
    found = []
    for number, (frame, site) in enumerate(handlers.sites):
        called = number in marks
        if frame.file not in files or marks.get(number) == UNTOLD or (not called and handlers.tests(frame)):
            continue
        baseline = number in ran(handlers, first.handled)
        counts = dict(cases.get(number, {}))
        found.append(HandlerResult(frame, site.kind, called, baseline, counts, schedules.get(number, "")))
    return tuple(found)


def ran(handlers: Handlers, handled: Mapping[int, int]) -> set[int]:
    """The numbers of the handlers that have run."""
    found = {number for number, mark in handled.items() if mark == RAN and number < len(handlers.sites)}
    return found | {last for last, clauses in handlers.behind.items() if not found.isdisjoint(clauses)}


def lines_of(handlers: Handlers, run: Iterable[Case]) -> dict[str, set[int]]:
    """The lines of handlers that were executed in cases, by file."""
    found: dict[str, set[int]] = {}
    by_number = {number: line for line, number in handlers.lines.items()}
    for case in run:
        for number in ran(handlers, case.seen.handled):
            frame, site = handlers.sites[number]
            found.setdefault(frame.file, set()).update((frame.line, *site.body[:1]))
        for number in case.seen.handled:
            if number in by_number:
                file, line = by_number[number]
                found.setdefault(file, set()).add(line)
    return found


def _merged(several: Iterable[Mapping[int, int]]) -> dict[int, int]:
    found: dict[int, int] = {}
    for one in several:
        for number, mark in one.items():
            found[number] = max(mark, found.get(number, 0))
    return found
