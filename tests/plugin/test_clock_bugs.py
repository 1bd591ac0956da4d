"""Programs that trust a clock are found out, and their corrected twins are clean."""

from __future__ import annotations

import shutil

import clock_bugs
import inner
import pytest
from clock_bugs import PLANTED
from test_planted_bugs import problems_of

from chaoskit.inject.kernel.clock import ability

pytestmark = pytest.mark.skipif(
    ability.unavailable() is not None, reason=f"no virtual time here: {ability.unavailable()}"
)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> inner.Inner:
    """One inner run of all of them: the run is what takes the time."""
    directory = tmp_path_factory.mktemp("clocks")
    inner.write(directory, "")
    shutil.copy(clock_bugs.__file__, directory / "test_inner.py")
    return inner.run(directory)


@pytest.mark.parametrize("name", PLANTED)
def test_a_program_that_trusts_a_clock_is_found_out(name: str, found: inner.Inner) -> None:
    """The bug fails by the fault that was planted for it, the twin by none, and each case has its receipt."""
    assert list(problems_of(name, found, PLANTED[name])) == [], found.output


def test_the_summary_says_what_was_not_waited(found: inner.Inner) -> None:
    """In seconds, for all scenarios together: far more than the run has taken."""
    assert "s were not waited" in found.output
    assert found.report["totals"]["not_waited"] > 1000
