"""Where the faults of a case come from: the local disk, a network share, or other processes."""

from __future__ import annotations

from chaoskit.core.finding import FaultClass
from chaoskit.core.schedule import Strike
from chaoskit.explore.border import Recording
from chaoskit.explore.case import Case
from chaoskit.faults import FaultSet
from chaoskit.faults.errnos import FAULT_CLASSES, class_of


class Classes:
    """The fault classes of the cases of one recording; ``faults`` are those of the scenario."""

    def __init__(self, faults: FaultSet, recording: Recording) -> None:
        self._faults = faults
        self._trace = recording.trace
        self._operations = dict(zip(recording.points, recording.trace, strict=True))

    def of(self, case: Case) -> FaultClass:
        """The class of its least ordinary strike, since the case needs all of them."""
        return max(map(self._of, case.planned.schedule), key=FAULT_CLASSES.index, default="local")

    def _of(self, strike: Strike) -> FaultClass:
        operation = self._operations.get(strike.point)
        # An operation struck after another fault need not be in the baseline.
        if operation is None:
            return class_of(strike.point.call, strike.fault.name, strike.fault.argument)
        return self._faults.class_of(strike.fault, operation, self._trace)
