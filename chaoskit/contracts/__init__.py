"""What every retry policy, budget and breaker must hold, as properties that run against any implementation.

Write a small adapter (:mod:`chaoskit.contracts.retry`, :mod:`chaoskit.contracts.breaker`), then either
:func:`examine` it for a report, or make a test of each row::

    from chaoskit.contracts.retry import ROWS, examine

    print(examine(MyAdapter(), ROWS))

Needs Hypothesis: ``pip install chaoskit[contracts]``.
"""

from __future__ import annotations

from chaoskit.contracts.report import Examination, Row, RowOutcome, examine, missing, row_test

__all__ = ["Examination", "Row", "RowOutcome", "examine", "missing", "row_test"]
