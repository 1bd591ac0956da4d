"""Cases that broke in the same way at the same call site are one finding."""

from __future__ import annotations

import linecache
import os
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from chaoskit.core.case import BROKEN, CaseFailure, CaseResult, Verdict
from chaoskit.core.finding import Finding
from chaoskit.core.operation import Frame, Operation

# A bug is mostly where the project calls a library, not within it.
_LIBRARIES = tuple(
    {os.path.join(sysconfig.get_path(name), "") for name in ("stdlib", "platstdlib", "purelib", "platlib")}
)


def merge(
    cases: Sequence[CaseResult],
    struck: Mapping[int, tuple[Operation, ...]],
    missing: Mapping[int, int] = MappingProxyType({}),
) -> tuple[tuple[CaseResult, ...], tuple[Finding, ...]]:
    """Group the broken cases; ``struck`` has, by a case's index, the operations that it hits.

    ``missing`` says for a power loss how many parts are missing: of a group the case with the fewest
    is shown.

    A case with several faults belongs to the finding that one of its faults shows alone, if there is
    such a finding: the other fault is not needed for it.

    Returns:
        The cases with their finding's index, and the findings in the order of their first case.
    """
    groups: dict[tuple[object, ...], list[CaseResult]] = {}
    for case in cases:
        if case.verdict in BROKEN:
            sites = tuple(map(_where, struck.get(case.index, ())))
            broken = how_broken(case)
            # A pair whose second fault breaks the test alone is no new finding.
            alone = ((*broken, (site,)) for site in sites if len(sites) > 1)
            key = next((one for one in alone if one in groups), (*broken, sites))
            groups.setdefault(key, []).append(case)
    numbers = {case.index: n for n, group in enumerate(groups.values()) for case in group}
    findings = [_finding(n, group, struck, missing) for n, group in enumerate(groups.values())]
    return tuple(replace(c, finding=numbers.get(c.index)) for c in cases), tuple(findings)


def simplicity(case: CaseResult, missing: Mapping[int, int]) -> tuple[int, ...]:
    """The shortest is the easiest to read; of several, the one that strikes first."""
    return (len(case.schedule.split(";")), missing.get(case.index, 0), len(case.schedule), case.index)


def how_broken(case: CaseResult) -> tuple[object, ...]:
    """What is equal when two cases broke in the same way."""
    return broken_as(case.verdict, case.failure)


def broken_as(verdict: Verdict, failure: CaseFailure | None) -> tuple[object, ...]:
    """The same, of a case that has no record yet."""
    assert failure is not None
    # Names of files in the messages of invariants and stacks of hangs vary; where they come from does not.
    told_apart = failure.site or (failure.message if failure.kind in ("assertion", "error") else None)
    return (verdict, failure.kind, failure.name, told_apart)


def _where(operation: Operation) -> tuple[object, ...]:
    """The call site: the innermost frame, and the innermost one that belongs to no library."""
    if not operation.stack:
        return (operation.call, operation.target)
    # Both: one helper that writes files may be called from ten places.
    return (operation.stack[0], next(filter(_own, operation.stack), None))


def _own(frame: Frame) -> bool:
    return not frame.file.startswith((*_LIBRARIES, "<frozen"))


def _finding(
    number: int,
    group: list[CaseResult],
    struck: Mapping[int, tuple[Operation, ...]],
    missing: Mapping[int, int],
) -> Finding:
    case = min(group, key=lambda case: simplicity(case, missing))
    operations = struck.get(case.index, ())
    last = operations[-1] if operations else None
    stack = last.stack if last else ()
    return Finding(
        index=number,
        verdict=case.verdict,
        schedule=case.schedule,
        schedules=tuple(c.schedule for c in group),
        call=last.call if last else "",
        site=stack[0] if stack else None,
        stack=stack,
        source=tuple(linecache.getline(frame.file, frame.line).strip() for frame in stack),
        failure=case.failure or CaseFailure("error", "", ""),
        differences=case.differences,
    )
