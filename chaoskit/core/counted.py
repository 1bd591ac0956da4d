"""Cases that are counted instead of kept: of thousands, only the numbers matter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from chaoskit.core.case import CaseResult, Verdict


@dataclass(frozen=True, slots=True)
class CountedCases:
    """Cases without a record: they struck the same points and have the same verdict.

    ``points`` as in :attr:`CaseResult.points`; ``faults`` maps the name, without arguments, of each fault
    that struck in one of them to the number of those cases.
    """

    points: tuple[int, ...]
    verdict: Verdict
    count: int
    faults: Mapping[str, int]


RECOVERY_BOUNDS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
"""Milliseconds: the upper ends of the classes in which times of recovery are counted."""


@dataclass(frozen=True, slots=True)
class RecoveryTimes:
    """How long the named recovery took, over all cases.

    ``count`` recoveries returned, the slowest after ``slowest`` seconds of wall-clock time. ``within`` maps
    the upper end of a class, in milliseconds as text, to the number of recoveries in it; what took longer
    than the last one is counted under ``more``.
    """

    count: int
    slowest: float
    within: Mapping[str, int] = field(default_factory=dict)


def counted(cases: Iterable[CaseResult], before: Iterable[CountedCases]) -> tuple[CountedCases, ...]:
    """Count ``cases`` by points struck and verdict, on top of those counted ``before``."""
    numbers: Counter[tuple[tuple[int, ...], Verdict]] = Counter()
    faults: dict[tuple[tuple[int, ...], Verdict], Counter[str]] = {}
    for several in before:
        numbers[several.points, several.verdict] += several.count
        faults.setdefault((several.points, several.verdict), Counter()).update(several.faults)
    for case in cases:
        numbers[case.points, case.verdict] += 1
        # A fault that strikes twice in a case counts once.
        names = dict.fromkeys(map(without_arguments, case.faults))
        faults.setdefault((case.points, case.verdict), Counter()).update(names.keys())
    return tuple(
        CountedCases(points, verdict, number, dict(faults[points, verdict]))
        for (points, verdict), number in numbers.items()
    )


def recovery_times(cases: Iterable[CaseResult]) -> RecoveryTimes | None:
    """The times of all named recoveries in ``cases`` that returned; None if there was none."""
    seconds = [run.seconds for case in cases for run in case.runs if run.recovery and run.how == "returned"]
    if not seconds:
        return None
    classes = Counter(
        next((str(bound) for bound in RECOVERY_BOUNDS if one * 1000 <= bound), "more") for one in seconds
    )
    order = [*map(str, RECOVERY_BOUNDS), "more"]
    within = {name: classes[name] for name in order if classes[name]}
    return RecoveryTimes(len(seconds), round(max(seconds), 6), within)


def without_arguments(fault: str) -> str:
    """The name of a fault: ``full`` of ``full[512]``."""
    return fault.partition("[")[0]
