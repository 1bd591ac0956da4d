"""What every retry policy, budget and breaker must hold, as properties that run against any implementation.

Write a small adapter (:mod:`chaoskit.contracts.retry`, :mod:`chaoskit.contracts.breaker`), then either
:func:`examine` it for a report, or make a test of each row::

    from chaoskit.contracts import examine
    from chaoskit.contracts.retry import ROWS

    print(examine(MyAdapter(), ROWS))

Needs Hypothesis: ``pip install chaoskit[contracts]``.
"""

from __future__ import annotations

from chaoskit.contracts.report import Examination, Row, RowOutcome, examine, missing, row_test
from chaoskit.contracts.virtual import RecordingClock

__all__ = ["Examination", "RecordingClock", "Row", "RowOutcome", "examine", "missing", "row_test"]
