"""The R, Q and A rows: our retry holds every one of them, and each row catches the retries that break it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.errors import FlakyFailure

from chaoskit.contracts import Row, examine, missing, row_test
from chaoskit.contracts.retry import ASYNC_ROWS, BUDGET_ROWS, ROWS, ChaoskitRetry

from .broken_coroutines import BROKEN_COROUTINES
from .broken_retries import BROKEN, Hand, HidesTheError, Twin

# The profile's number, 1,000 with --hypothesis-profile=slow; mutation testing gets by with fewer.
EXAMPLES = int(os.environ.get("CHAOSKIT_CONTRACT_EXAMPLES", settings().max_examples))
OURS = settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
# A caught bug needs no shortest example here.
THEIRS = settings(
    OURS,
    max_examples=400,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    report_multiple_bugs=False,
)

ALL = ROWS + BUDGET_ROWS + ASYNC_ROWS
IDS = {f"R{n}" for n in range(1, 27)} | {f"Q{n}" for n in range(1, 4)} | {"A1", "A2", "A3", "A4", "A6"}
TWINS_OF = BROKEN | BROKEN_COROUTINES
TWINS = [pytest.param(row, twin, id=f"{row.id}-{twin.__name__}") for row in ALL for twin in TWINS_OF[row.id]]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Hooks that fail on purpose are logged; here that is noise."""
    logger = logging.getLogger("chaoskit")
    handler, propagate = logging.NullHandler(), logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    yield
    logger.removeHandler(handler)
    logger.propagate = propagate


def test_every_row_is_there() -> None:
    """The suite has every row of the contract, and a broken retry for each."""
    ids = [row.id for row in ALL]
    assert set(ids) >= IDS
    assert ids == list(TWINS_OF)


@pytest.mark.parametrize("row", ALL, ids=lambda row: row.id)
def test_our_retry_holds(row: Row) -> None:
    """Our retry keeps the promise of this row, which applies to it."""
    ours = ChaoskitRetry()
    assert not missing(row, ours)
    row_test(row, ours, OURS)()


@pytest.mark.parametrize(("row", "twin"), TWINS)
def test_a_broken_retry_is_caught(row: Row, twin: type[Twin]) -> None:
    """A retry with just this bug fails this row."""
    with pytest.raises((Exception, SystemExit)) as caught:
        row_test(row, twin(), THEIRS)()
    assert isinstance(caught.value, AssertionError | FlakyFailure), repr(caught.value)


def test_a_report_says_which_rows_hold_fail_and_do_not_apply() -> None:
    """Examining an adapter tells the rows apart and gives the shortest counterexample."""

    class Little(HidesTheError):
        features = Hand.features - {"jitter"}

    rows = {row.id: row for row in ALL}
    report = examine(Little(), [rows["R3"], rows["R4"], rows["R7"]], examples=30)
    assert [f.outcome for f in report.outcomes] == ["does not apply", "holds", "fails"]
    assert report.outcomes[0].detail == "needs jitter"
    assert "example=1" in report.outcomes[2].detail
    assert "RuntimeError('gave up')" in str(report)
    assert report.to_dict()["rows"][2]["row"] == "R7"
