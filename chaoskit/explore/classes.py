"""Where the trouble of a case comes from: the local disk, a network share, or other processes."""

from __future__ import annotations

from chaoskit.core.finding import FaultClass
from chaoskit.core.schedule import Strike
from chaoskit.explore.border import Recording
from chaoskit.explore.case import Case
from chaoskit.faults import FaultSet
from chaoskit.faults.errnos import FAULT_CLASSES, class_of


class Classes:
    """The classes of cases of one recording, in which ``faults`` strike."""

    def __init__(self, faults: FaultSet, recording: Recording) -> None:
        self._faults = faults
        self._trace = recording.trace
        self._operations = dict(zip(recording.points, recording.trace, strict=True))

    def of(self, case: Case) -> FaultClass:
        """The least ordinary of its strikes, since it takes them all."""
        return max(map(self._of, case.planned.schedule), key=FAULT_CLASSES.index, default="local")

    def _of(self, strike: Strike) -> FaultClass:
        operation = self._operations.get(strike.point)
        # What strikes behind a fault need not be in the baseline.
        if operation is None:
            return class_of(strike.point.call, strike.fault.name, strike.fault.argument)
        return self._faults.class_of(strike.fault, operation, self._trace)
