"""The watcher under everything that can go wrong around it; ``world.check`` has what must hold."""

from __future__ import annotations

from pathlib import Path

import pytest
from budgets import at_length, bounded, planted
from planting import Planted, Shown, missed

from chaoskit import Chaos, faults, scenario
from scenarios.watcher import program, world

DISK = faults.disk() | faults.share()
TIMEOUT = 120
"""Seconds of the machine; those of the watcher cost nothing."""
# The check is one function: test_killed_at_any_point tries it on spoiled states, the others do without
# (oracle="off").
Patch = pytest.MonkeyPatch


def ends_well(chaos: Chaos, *, hopeless: bool = False) -> None:
    """One round that is struck, then the rounds that bring everything to its end."""
    servers = world.started(chaos)
    chaos.run(world.watch, chaos.path)
    world.check(chaos.path, servers)
    settle(chaos)
    world.check(chaos.path, servers, settled=True, hopeless=hopeless)


def settle(chaos: Chaos) -> None:
    """The next rounds; once more if these were struck, though nothing shows but a file that is left."""
    outcome = chaos.run(world.settle, chaos.path)
    if not outcome.ok or outcome.faults:
        chaos.run(world.settle, chaos.path)


@scenario(faults.network() | faults.http(), budget=bounded(4), timeout=TIMEOUT, oracle="off")
def test_servers_in_trouble(chaos: Chaos) -> None:
    """Refused, timed out, reset, throttled, half an answer, an expired session, a gateway that lies."""
    ends_well(chaos)


DOWN = faults.network().thorough().on(host=world.PIPELINE, call="connect").only("down")


@at_length
@scenario(DOWN, budget=bounded(2), timeout=TIMEOUT, oracle="off")
def test_a_server_is_down_for_a_while(chaos: Chaos, monkeypatch: Patch) -> None:
    """The breaker opens, lets one request through after its time, and closes; no sample is lost by it."""
    # Down for three connections: here so many open it, for less time than there is between two questions.
    for name, value in (("FAILURES", "3"), ("OPEN_FOR", "5")):
        monkeypatch.setitem(world.SETTINGS, f"WATCHER_RUNTIME__BREAKERS__PIPELINE__{name}", value)
    servers = world.started(chaos)
    told = chaos.run(world.watch, chaos.path).value
    chaos.sometimes("a breaker opened and closed", told == ["open", "half-open", "closed"])
    world.check(chaos.path, servers)
    settle(chaos)
    world.check(chaos.path, servers, settled=True)


@scenario(DISK, budget=bounded(4), timeout=TIMEOUT, oracle="off")
def test_disks_in_trouble(chaos: Chaos) -> None:
    """The share goes away and comes back; the disk is full, read-only, broken, while results are written."""
    ends_well(chaos, hopeless=True)


@at_length
@scenario(faults.kill(), budget=bounded(10), timeout=TIMEOUT)
def test_killed_at_any_point(chaos: Chaos) -> None:
    """kill -9 before any change of the disk and around any request: the next start goes on."""
    servers = world.started(chaos)
    chaos.run(world.watch, chaos.path)
    world.check(chaos.path, servers)
    left = world.interrupted(chaos.path)
    settle(chaos)
    world.check(chaos.path, servers, settled=True)
    chaos.sometimes("what a dead watcher had claimed was brought to its end", left)
    told = world.reason(chaos.path, "run1", "failing")
    chaos.sometimes("a sample failed with the pipeline's reason", "too few reads" in told)


@at_length
@scenario(faults.power_loss(), model="strict", budget=bounded(2), timeout=TIMEOUT, oracle="off")
def test_the_power_goes(chaos: Chaos) -> None:
    """What is called uploaded is there, with its result, on whatever the disk kept."""
    ends_well(chaos)


# Where the record of a sample becomes durable: from there on it is called uploaded.
RECORDED = faults.power_loss().on(path="state/watcher.db-wal", call="fdatasync")


@at_length
@scenario(RECORDED, model="strict", budget=bounded(6), timeout=TIMEOUT, oracle="off")
def test_what_is_called_uploaded_has_its_result(chaos: Chaos) -> None:
    """One upload alone: its record is never on the disk before its result."""
    keeps_its_result(chaos)


def keeps_its_result(chaos: Chaos) -> None:
    world.prepare(chaos.path)
    (chaos.path / "database").mkdir()
    chaos.run(world.upload_alone, chaos.path)
    for _ in range(2):
        with world.recorded(chaos.path) as samples:
            record = samples.record("good", scope="run1")
            if record is not None and record.status == "completed":
                assert samples.is_completed("good", scope="run1", verify_checksum=True), "it has no result"
        chaos.recover(world.upload_alone, chaos.path, program.DAY)
    assert record is not None
    assert record.status == "completed"
    assert world.left(chaos.path) == []


STOP = faults.signal("SIGTERM") | faults.signal("SIGINT")


@scenario(STOP, budget=bounded(2), timeout=TIMEOUT, oracle="off")
def test_told_to_stop(chaos: Chaos) -> None:
    """Either signal at any call: what is in progress is finished or given back, and the exit is in order."""
    servers = world.started(chaos)
    outcome = chaos.run(world.watch, chaos.path)
    assert outcome.ok, outcome
    world.check(chaos.path, servers)
    settle(chaos)
    world.check(chaos.path, servers, settled=True)


@scenario(faults.clock(), budget=bounded(2), timeout=TIMEOUT, oracle="off")
def test_the_clock_is_set(chaos: Chaos) -> None:
    """An hour back or ahead, at each line that reads it: no sample is lost or doubled for that."""
    ends_well(chaos)


@at_length
# Of one sample: a sweep of whole rounds would look at every line of three threads.
@scenario(faults.memory(), budget=bounded(4), timeout=TIMEOUT, oracle="off")
def test_memory_runs_short(chaos: Chaos) -> None:
    """MemoryError at any line of an upload: it is tried again later, and nothing half done is left."""
    world.prepare(chaos.path)
    (chaos.path / "database").mkdir()
    chaos.run(world.upload_alone, chaos.path)
    chaos.recover(world.upload_alone, chaos.path, program.DAY)
    uploaded = [path.name for path in (chaos.path / "database").iterdir()]
    with world.recorded(chaos.path) as samples:
        record = samples.record("good", scope="run1")
        assert record is not None
        if record.status == "dead":
            # CPython says "path should be string, not PosixPath" where memory ran short while it looked.
            assert (uploaded, record.error and record.error["type"]) == ([], "TypeError")
        else:
            assert uploaded == ["run1.good"]
            assert samples.is_completed("good", scope="run1", verify_checksum=True), record
    assert world.left(chaos.path) == []


@at_length
@scenario(faults.kill() | faults.disk(), depth=2, budget=bounded(2), timeout=TIMEOUT, oracle="off")
def test_trouble_in_the_recovery(chaos: Chaos) -> None:
    """A crash, then another fault in the rounds that recover from it."""
    ends_well(chaos, hopeless=True)


PLANTED: Planted = {
    "test_uploads_have_no_key": Shown("http(qa.example,POST,/samples)#2=reset[0]", "uploaded twice"),
    "test_recorded_before_it_is_uploaded": Shown(
        "http(qa.example,POST,/samples)#2=kill[request]", "run1/good is called uploaded"
    ),
    "test_a_directory_counts_as_a_result": Shown(
        "t4:open(state/results/run1/good/summary.csv)#1=kill", "run1/good is dead"
    ),
    "test_the_spool_is_never_cleaned": Shown(
        "t4:rename(state/spool/.run1.good.tar.gz.ck-*-2 -> state/spool/run1.good.tar.gz)#1=kill",
        "temporary files",
    ),
    "test_what_a_dead_watcher_had_is_never_taken_over": Shown(
        "http(pipeline.example,GET,/runs/r1)#1=kill[answer]", "run1/good is running"
    ),
    "test_results_are_not_durable": Shown(
        "fdatasync(state/watcher.db-wal)#7=power_loss[only-synced strict]", "it has no result"
    ),
    "test_no_time_out": Shown("connect(pipeline.example:80)#1=silent", "the workload of run 1 hung"),
}
"""What each twin does otherwise, and the case that shows it."""


@planted
def test_each_missing_guarantee_is_found(tmp_path: Path) -> None:
    """The invariant breaks, and by the fault that the guarantee is there for."""
    assert missed(Path(__file__).with_name("planted_watcher.py"), PLANTED, tmp_path) == {}
