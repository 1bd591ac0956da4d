"""What the object of a scenario says when its undisturbed run fails, or when it is used inside of one."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from chaoskit.chaos import Chaos, Outcome, _raise
from chaoskit.core.errors import UsageError
from chaoskit.core.schedule import Schedule
from chaoskit.explore.job import Job
from chaoskit.explore.words import PYTEST
from chaoskit.inject import channel


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


def test_no_backend_is_asked_from_inside_of_a_workload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The object itself refuses: another backend than the kernel's need not know that it is in one."""

    class Backend:
        name = "planted"

        def run(self, *_: object) -> Any:
            raise AssertionError("it was asked")

    monkeypatch.setattr(channel, "_send_promise", lambda value: None)
    chaos = Chaos(tmp_path, Backend(), Job(Schedule()))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"inside of a workload.*Call the function directly"):
        chaos.run(print)
