"""What one execution of a test showed, before it is judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from chaoskit.core.case import CaseFailure, OutsidePromise, RunSummary
from chaoskit.core.operation import Caveat, Trace
from chaoskit.core.schedule import Strike
from chaoskit.explore.resuming import RecoveryPlace
from chaoskit.explore.snapshot import EMPTY, Snapshot
from chaoskit.inject.base import Leaks


@dataclass(frozen=True, slots=True)
class Observation:
    """Plain data that crosses from the process of the case to the one that judges.

    ``struck`` are the strikes that have a receipt, ``reached`` how many strikes had their point
    reached. ``trace`` is empty unless it was a recording; ``snapshot`` is the directory at the end,
    taken in recordings and after a failure. ``leaks`` has one entry for each run. ``skipped`` is
    the reason when the test skipped itself, ``refused`` what the first call was answered that was refused
    as wrong use.
    """

    runs: tuple[RunSummary, ...] = ()
    failure: CaseFailure | None = None
    struck: tuple[str, ...] = ()
    reached: int = 0
    nearest: Mapping[str, Strike] = field(default_factory=dict)
    """For strikes, as text, whose place was not there this time: the nearest one that could have struck."""
    trace: Trace = field(default_factory=Trace)
    caveats: tuple[Caveat, ...] = ()
    leaks: tuple[Leaks, ...] = ()
    snapshot: Snapshot = field(default_factory=lambda: EMPTY)
    seconds: float = 0.0
    output: str = ""
    skipped: str = ""
    refused: str = ""
    unrepeatable: CaseFailure | None = None
    """What was wrong with recovering a second time although nothing had struck: a finding of the baseline."""
    untold: str = ""
    """Why a fresh server does not know what the one before the power loss knew."""
    outside: tuple[OutsidePromise, ...] = ()
    """What the test itself has promised, outside of every run."""
    with_data: bool = False
    """True if the trace takes the data of writes along, which only a recording with notes does."""
    noted: Mapping[int, Any] = field(default_factory=dict)
    """By run what the job's ``note`` said of the directory just before it."""

    sometimes: Mapping[str, bool] = field(default_factory=dict)
    """The states that some case must reach, by name: True for those that this one has."""
    promised: tuple[Any, ...] = ()
    """The values that the baseline promises, in order; empty in a case."""
    resumed: tuple[RecoveryPlace, ...] = ()
    """Where its named recoveries went on. The values stay in the process of the case."""
    handled: Mapping[int, int] = field(default_factory=dict)
    """By number what was noted of handlers of exceptions; see :mod:`chaoskit.inject.handlers`."""
    not_waited: float = 0.0
    """Seconds that its runs did not wait, since their time was virtual."""

    @property
    def interrupted(self) -> int:
        """How many calls of its runs were interrupted while they waited for us."""
        return sum(run.stray_interrupts for run in self.runs)

    def __reduce__(self) -> tuple[object, ...]:
        # A mapping proxy cannot be pickled, and the data of writes is of no use to the judge.
        trace = self.trace if self.with_data else _light(self.trace)
        places = tuple(RecoveryPlace(None, None, one.word) for one in self.resumed)
        light = replace(self, trace=trace, snapshot=dict(self.snapshot), promised=(), resumed=places)
        names = self.__dataclass_fields__
        return (Observation, tuple(getattr(light, name) for name in names))


def _light(trace: Trace) -> Trace:
    """The trace without the data of writes, which may be many megabytes."""
    light = [
        replace(one, detail=replace(one.file, data=None, seen=()))
        if one.file.data is not None or one.file.seen
        else one
        for one in trace.operations
    ]
    return replace(trace, operations=tuple(light))
