"""What the object of a scenario says when its baseline fails, or when it is used inside one."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chaoskit.core.errors import UsageError
from chaoskit.core.schedule import Schedule
from chaoskit.core.words import PYTEST
from chaoskit.explore.errors import WorkloadFailed
from chaoskit.explore.job import Job
from chaoskit.inject import channel
from chaoskit.inject.kernel import KernelBackend
from chaoskit.session.chaos import Chaos, Outcome
from chaoskit.session.failures import raise_failure


def failure(interrupted: int) -> list[str]:
    error = InterruptedError(errno.EINTR, "Interrupted system call")
    with pytest.raises(InterruptedError) as caught:
        raise_failure(Outcome(False, error=error), "the workload", PYTEST, interrupted)
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
    with pytest.raises(UsageError, match=r"inside a workload.*Call the function directly"):
        chaos.run(print)


def killed(path: Path, timeout: float = 20.0) -> Chaos:
    """A case whose workload was killed before it had made ``d``."""
    chaos = Chaos(path, KernelBackend(), Job(Schedule.parse("mkdir(d)#1=kill"), timeout=timeout))
    assert chaos.run(os.mkdir, path / "d").signal == signal.SIGKILL
    return chaos


def test_what_a_recovery_raises_is_raised(tmp_path: Path) -> None:
    """A recovery that fails where no fault strikes breaks the case; it may not pass for one that worked."""
    with pytest.raises(FileNotFoundError) as caught:
        killed(tmp_path).recover(os.rmdir, tmp_path / "d")
    assert "the recovery failed, without any fault in it" in caught.value.__notes__[-1]


def test_a_recovery_that_works_only_once_is_told(tmp_path: Path) -> None:
    """Whoever is killed at the end of a recovery recovers again: that must work, too."""
    with pytest.raises(FileExistsError) as caught:
        killed(tmp_path).recover(os.mkdir, tmp_path / "d")
    assert "a second recovery, after a first that succeeded, failed" in caught.value.__notes__[-1]


@pytest.mark.parametrize(
    ("recovery", "told"),
    [
        (lambda: time.sleep(100), "the recovery hung and was killed"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "the recovery was killed by SIGKILL"),
    ],
    ids=["hangs", "dies"],
)
def test_a_recovery_that_does_not_end_is_told(
    tmp_path: Path, recovery: Callable[[], None], told: str
) -> None:
    """One that hangs or dies has not recovered anything."""
    with pytest.raises(WorkloadFailed, match=told):
        killed(tmp_path, timeout=0.5).recover(recovery)


def test_a_recovery_that_was_struck_recovers_again(tmp_path: Path) -> None:
    """As after a restart: a fault in the recovery is not a failure of it if the next one works."""
    schedule = Schedule.parse("mkdir(d)#1=kill; run2:mkdir(d)#1=EIO")
    chaos = Chaos(tmp_path, KernelBackend(), Job(schedule, strike_recovery=True))
    chaos.run(os.mkdir, tmp_path / "d")
    chaos.recover(os.makedirs, tmp_path / "d", exist_ok=True)
    assert (tmp_path / "d").is_dir()
    assert chaos.observed().struck == tuple(map(str, schedule))
