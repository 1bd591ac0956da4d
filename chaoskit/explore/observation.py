"""The observation of one execution of a test, before it is judged."""

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
    """Plain data that crosses from the case's process to the one that judges it.

    ``struck`` are the strikes with a receipt; ``reached`` counts the strikes whose point was reached.
    ``trace`` is empty except in a recording; ``snapshot`` is the directory at the end, taken in recordings
    and after a failure. ``leaks`` has one entry for each run. ``skipped`` is the reason if the test skipped
    itself; ``refused`` is the message of the first call refused as wrong use.
    """

    runs: tuple[RunSummary, ...] = ()
    failure: CaseFailure | None = None
    struck: tuple[str, ...] = ()
    reached: int = 0
    nearest: Mapping[str, Strike] = field(default_factory=dict)
    """For strikes (as text) whose point did not occur this time: the nearest one that could have struck."""
    trace: Trace = field(default_factory=Trace)
    caveats: tuple[Caveat, ...] = ()
    leaks: tuple[Leaks, ...] = ()
    snapshot: Snapshot = field(default_factory=lambda: EMPTY)
    seconds: float = 0.0
    output: str = ""
    skipped: str = ""
    refused: str = ""
    unrepeatable: CaseFailure | None = None
    """What was wrong with a second recovery although nothing had struck: a finding of the baseline."""
    untold: str = ""
    """Why a fresh server could not be told what the one before the power loss knew; empty if it could."""
    outside: tuple[OutsidePromise, ...] = ()
    """What the test itself promised, outside any run."""
    with_data: bool = False
    """True if the trace keeps the data of writes, as only a recording with notes does."""
    noted: Mapping[int, Any] = field(default_factory=dict)
    """By run, what the job's ``note`` returned just before it."""

    sometimes: Mapping[str, bool] = field(default_factory=dict)
    """The states that some case must reach, by name: True if this case reached it."""
    promised: tuple[Any, ...] = ()
    """The values that the baseline promises, in order; empty in a case."""
    resumed: tuple[RecoveryPlace, ...] = ()
    """Where its named recoveries resumed. The values stay in the case's process."""
    handled: Mapping[int, int] = field(default_factory=dict)
    """By number, what was seen of exception handlers; see :mod:`chaoskit.inject.handlers`."""
    not_waited: float = 0.0
    """Seconds of waiting that its runs skipped because their time was virtual."""

    @property
    def interrupted(self) -> int:
        """How many calls of its runs were interrupted while they waited for the supervisor."""
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
