"""The optimizer under everything that can go wrong around it; ``world.check`` has what must hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from budgets import at_length, bounded, planted
from planting import Planted, Shown, missed

from chaoskit import Chaos, faults, scenario
from scenarios.optimizer import settings, world
from scenarios.optimizer.__main__ import main

TIMEOUT = 120
"""Seconds of the machine; those of the optimizer cost nothing."""
# The check is one function: test_killed_at_any_point tries it on spoiled states, the others do without
# (oracle="off").


def struck(chaos: Chaos) -> None:
    """A run that is struck."""
    world.started(chaos)
    chaos.run(world.work, chaos.path, chaos.promise)
    world.check(chaos.path, chaos.promised)


def goes_on(chaos: Chaos, *, hopeless: bool = False) -> None:
    """Another run after it, or two if that was struck itself."""
    if not chaos.run(world.work, chaos.path, chaos.promise).ok:
        chaos.run(world.work, chaos.path, chaos.promise)
    world.check(chaos.path, chaos.promised, settled=not hopeless)


def ends_well(chaos: Chaos, *, hopeless: bool = False) -> None:
    """A run that is struck, and what goes on from there."""
    struck(chaos)
    goes_on(chaos, hopeless=hopeless)


@at_length
@scenario(faults.kill(), budget=bounded(4), timeout=TIMEOUT)
def test_killed_at_any_point(chaos: Chaos) -> None:
    """kill -9 in the middle of a snapshot, a result, a commit: the next start goes on and ends alike."""
    struck(chaos)
    left = world.interrupted(chaos.path)
    goes_on(chaos)
    chaos.sometimes("the job of a dead process was taken over", left)


@at_length
@scenario(faults.power_loss(), model="strict", budget=bounded(2), timeout=TIMEOUT, oracle="off")
def test_the_power_goes(chaos: Chaos) -> None:
    """A snapshot that was reported is there, on whatever the disk kept."""
    ends_well(chaos)


@scenario(faults.memory(), budget=bounded(2), timeout=TIMEOUT, oracle="off")
def test_memory_runs_short(chaos: Chaos) -> None:
    """MemoryError at any line: the next start goes on from there and comes to the same."""
    ends_well(chaos)


def fits(chaos: Chaos) -> None:
    """One fit that is struck, and another one that goes on."""
    outcome = chaos.run(world.fit_alone, chaos.path)
    assert not outcome.ok or outcome.value == world.expected()
    assert chaos.recover(world.fit_alone, chaos.path) == world.expected()


@scenario(faults.memory(), budget=bounded(24), timeout=TIMEOUT)
def test_memory_runs_short_within_a_fit(chaos: Chaos) -> None:
    """MemoryError at any line of the work: the batch shrinks, and the result does not show it."""
    fits(chaos)


@scenario(faults.network(), budget=bounded(4), timeout=TIMEOUT, oracle="off")
def test_news_cannot_be_told(chaos: Chaos) -> None:
    """Mail server and webhook down, silent, or cut off: no result depends on them."""
    ends_well(chaos)


@at_length
@scenario(faults.disk(), budget=bounded(4), timeout=TIMEOUT, oracle="off")
def test_the_disk_is_in_trouble(chaos: Chaos) -> None:
    """Full, read-only, broken: what was reported is there, and what has not ended is to be had."""
    ends_well(chaos, hopeless=True)


@scenario(faults.signal("SIGTERM"), budget=bounded(2), timeout=TIMEOUT, oracle="off")
def test_told_to_stop(chaos: Chaos) -> None:
    """SIGTERM at any call: the job saves where it is, and the next start goes on from there."""
    ends_well(chaos)


@scenario(faults.corruption().on(path="state/jobs/**"), budget=bounded(4), timeout=TIMEOUT, oracle="off")
def test_a_damaged_snapshot_is_passed_over(chaos: Chaos) -> None:
    """An older one is taken, or none, and the result is the same."""
    world.started(chaos)
    chaos.run(world.work, chaos.path, chaos.promise)
    before = len(chaos.promised)
    world.forget(chaos.path)
    chaos.run(world.work, chaos.path, chaos.promise)
    world.check(chaos.path, [], settled=True)
    # The newest is of the last step but one: from there nothing is saved any more.
    chaos.sometimes("an older checkpoint was used", len(chaos.promised) > before)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of what a job may take: where waiting costs nothing, each look at a job still does."""
    for name, value in (("TIMEOUT", "30"), ("STUCK_AFTER", "60"), ("CHECK_EVERY", "5")):
        monkeypatch.setitem(world.SETTINGS, f"OPTIMIZER_RUNTIME__JOBS__{name}", value)


@pytest.mark.usefixtures("soon")
@scenario(faults.kill(), budget=bounded(2), timeout=TIMEOUT, oracle="off")
def test_a_job_runs_out_of_time(chaos: Chaos) -> None:
    """At its limit an attempt saves where it is, and the next one goes on from there, killed or not."""
    world.started(chaos)
    ended = chaos.run(world.work_slowly, chaos.path, chaos.promise, [10.0] * 7)
    # The baseline is not killed.
    assert not ended.ok or "job.timed_out" in ended.value, ended.value
    world.check(chaos.path, chaos.promised)
    chaos.run(world.work, chaos.path, chaos.promise)
    world.check(chaos.path, chaos.promised, settled=True)


@pytest.mark.usefixtures("soon")
@scenario(faults.kill(), budget=bounded(2), timeout=TIMEOUT, oracle="off")
def test_a_job_hangs_for_a_while(chaos: Chaos) -> None:
    """It is written off and queued again, once; that the first attempt wakes up later changes nothing."""
    world.started(chaos)
    ended = chaos.run(world.work_slowly, chaos.path, chaos.promise, [66.0])
    assert not ended.ok or "job.stuck" in ended.value, ended.value
    world.check(chaos.path, chaos.promised)
    chaos.run(world.work, chaos.path, chaos.promise)
    world.check(chaos.path, chaos.promised, settled=True)


# An attempt that hangs wakes up when the runner has written it off, before the process has to end without it.
@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize(
    ("seconds", "error"), [([40.0] * 3, "JobTimedOutError"), ([131.0, 66.0], "JobStuckError")]
)
@scenario(faults.kill(), budget=bounded(2), timeout=TIMEOUT, oracle="off")
def test_a_job_that_never_is_in_time_is_given_up(chaos: Chaos, seconds: list[float], error: str) -> None:
    """Three attempts out of time, or two that hang: one dead letter, and a report, for all of them."""
    world.started(chaos)
    if not chaos.run(world.work_slowly, chaos.path, chaos.promise, seconds).ok:
        world.check(chaos.path, chaos.promised)
        chaos.run(world.work_slowly, chaos.path, chaos.promise, seconds)
    world.check(chaos.path, chaos.promised)
    world.check_given_up(chaos.path, error)


def started_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two jobs, and the two places that the command has to know: no mail server, no webhook."""
    world.prepare(tmp_path)
    for place in ("drop", "state"):
        monkeypatch.setenv(f"OPTIMIZER_{place.upper()}", str(tmp_path / place))


def test_it_is_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As its README starts it: the drop folder once, with nothing but two places to know."""
    started_alone(tmp_path, monkeypatch)
    assert main(["--once"]) == 0
    world.check(tmp_path, [], settled=True)


def test_a_drop_folder_that_is_away_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is not an empty one: the log names it."""
    started_alone(tmp_path, monkeypatch)
    (tmp_path / "drop").rename(tmp_path / "away")
    assert main(["--once"]) == 0
    assert "the drop folder cannot be read" in capsys.readouterr().err


def test_each_error_has_a_file_with_its_details(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole stack with its local variables, the job and the attempt; a password among them is hidden."""
    started_alone(tmp_path, monkeypatch)
    (tmp_path / "drop" / "wrong.json").write_text('{"points": [], "steps": 7, "password": "tr0ub4dor"}')
    assert main(["--once"]) == 0
    (file,) = (tmp_path / "state" / "errors").iterdir()
    assert "tr0ub4dor" not in file.read_text()
    told = json.loads(file.read_text())
    assert (told["context"]["job"], told["context"]["attempt"]) == ("wrong", 1)
    (error,) = told["errors"]
    assert error["type"].endswith(".ValidationError")
    frames = {frame["function"]: frame["locals"] for frame in error["stack"]}
    assert frames["Job.parse"]["told"] == {"points": [], "steps": 7, "password": "[redacted]"}
    assert "Optimizer._work" in frames


def test_the_numbers_are_those_of_its_users(tmp_path: Path) -> None:
    """Timeout 300 s, 3 attempts, stuck after 600 s, 3 at once, 20 snapshots."""
    places = {"OPTIMIZER_DROP": str(tmp_path), "OPTIMIZER_STATE": str(tmp_path)}
    loaded = settings.read(places).value
    jobs = loaded.runtime.jobs
    assert (jobs.timeout, jobs.attempts, jobs.stuck_after, jobs.concurrency) == (300.0, 3, 600.0, 3)
    assert loaded.keep == 20


PLANTED: Planted = {
    "test_snapshots_are_not_synced": "power_loss",
    "test_a_snapshot_is_written_in_place": Shown("t2:write(state/jobs/fit.state)#1=kill", "JSONDecodeError"),
    "test_completed_before_the_result": Shown(
        "t2:rename(state/results/.fit.json.ck-*-4 -> state/results/fit.json)#1=kill", "results/fit.json"
    ),
    "test_the_result_depends_on_the_batches": "MemoryError",
    "test_news_are_told_within_the_job": Shown(
        "connect(mail.example:25)#1=ECONNREFUSED", "ConnectionRefusedError"
    ),
}
"""What each twin does otherwise, and the case that shows it, or a part of its schedule."""


@planted
def test_each_missing_guarantee_is_found(tmp_path: Path) -> None:
    """The invariant breaks, and by the fault that the guarantee is there for."""
    assert missed(Path(__file__).with_name("planted_optimizer.py"), PLANTED, tmp_path) == {}
