"""The B rows: our breaker holds every one of them, and each row catches the breakers that break it."""

from __future__ import annotations

import logging
import os

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.errors import FlakyFailure

from chaoskit.contracts import Row, missing, row_test
from chaoskit.contracts.breaker import ROWS, ChaoskitBreaker

from .broken_breakers import BROKEN, Twin

# The profile's number, 1,000 with --hypothesis-profile=slow; mutation testing gets by with fewer.
EXAMPLES = int(os.environ.get("CHAOSKIT_CONTRACT_EXAMPLES", settings().max_examples))
OURS = settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
# A caught bug needs no shortest example here, and hanging twins make shrinking slow.
THEIRS = settings(
    OURS, max_examples=1000, phases=[Phase.explicit, Phase.generate], report_multiple_bugs=False
)

IDS = [f"B{n}" for n in range(1, 16)]
TWINS = [pytest.param(row, twin, id=f"{row.id}-{twin.__name__}") for row in ROWS for twin in BROKEN[row.id]]


@pytest.fixture(autouse=True)
def quiet() -> object:
    """Listeners and stores that fail on purpose are logged; here that is noise."""
    logging.getLogger("chaoskit").disabled = True
    yield
    logging.getLogger("chaoskit").disabled = False


def test_every_row_is_there() -> None:
    """The suite has the fifteen rows of the contract, in order, and a broken breaker for each."""
    assert [row.id for row in ROWS] == IDS == list(BROKEN)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_our_breaker_holds(row: Row) -> None:
    """Our circuit breaker keeps the promise of this row, which applies to it."""
    ours = ChaoskitBreaker()
    assert not missing(row, ours)
    row_test(row, ours, OURS)()


@pytest.mark.parametrize(("row", "twin"), TWINS)
def test_a_broken_breaker_is_caught(row: Row, twin: type[Twin]) -> None:
    """A breaker with just this bug fails this row."""
    with pytest.raises((AssertionError, FlakyFailure)):
        row_test(row, twin(), THEIRS)()
