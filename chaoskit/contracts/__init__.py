"""The promises of every retry policy, budget, breaker and store, as properties that run against any library.

Write a small adapter (:mod:`chaoskit.contracts.retry`, ``.breaker``, ``.store``, ``.program``), then either
:func:`examine` it for a report, or make a test of each row::

    from chaoskit.contracts import examine
    from chaoskit.contracts.retry import ROWS

    print(examine(MyAdapter(), ROWS))

Needs Hypothesis: ``pip install chaoskit[contracts]``.
"""

from __future__ import annotations

from chaoskit.core.extras import missing as _missing_extra

try:
    import hypothesis as _needed  # noqa: F401
except ModuleNotFoundError as _error:
    raise _missing_extra(_error, "hypothesis", "contracts", "chaoskit.contracts") from None

from chaoskit.contracts.report import Examination, Row, RowOutcome, examine, missing, row_test
from chaoskit.contracts.virtual import RecordingClock

__all__ = ["Examination", "RecordingClock", "Row", "RowOutcome", "examine", "missing", "row_test"]
