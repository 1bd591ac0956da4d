"""What the object of a scenario says when its undisturbed run fails."""

from __future__ import annotations

import errno

import pytest

from chaoskit.chaos import Outcome, _raise
from chaoskit.explore.words import PYTEST


def failure(interrupted: int) -> list[str]:
    error = InterruptedError(errno.EINTR, "Interrupted system call")
    with pytest.raises(InterruptedError) as caught:
        _raise(Outcome(False, error=error), "the workload", PYTEST, interrupted)
    return caught.value.__notes__


def test_an_interruption_that_we_have_made_likely_is_explained() -> None:
    """A signal of the workload's own met a waiting call: the note says so, and what to do."""
    (cause, _) = failure(3)
    assert "3 calls were interrupted" in cause
    assert "siginterrupt" in cause


def test_an_interruption_that_is_the_programs_own_is_not() -> None:
    """Where no call was interrupted while it waited, the note is the usual one."""
    (usual,) = failure(0)
    assert "without any fault in it" in usual
