"""The watcher under everything that can go wrong around it; ``world.check`` has what must hold."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from archive_corpus import one_member, plain_tar
from budgets import bounded, planted
from planting import missed

from chaoskit import Chaos, faults, scenario
from chaoskit.runtime import AlertRaised, Claim, Flag, Shutdown, SuspectedDeadlock, log_to, subscribe
from chaoskit.runtime.config import ConfigurationProblems
from scenarios.watcher import program, settings, world
from scenarios.watcher.__main__ import main
from scenarios.watcher.share import FLAG

DISK = faults.disk() | faults.share()
TIMEOUT = 120
"""Seconds of the machine; those of the watcher cost nothing."""
# The check is one function: test_killed_at_any_point tries it on spoiled states, the others do without
# (oracle="off").
Patch = pytest.MonkeyPatch


def ends_well(chaos: Chaos, *, hopeless: bool = False) -> None:
    """One round that is struck, then the rounds that bring everything to its end."""
    _, database = world.started(chaos)
    chaos.run(world.watch, chaos.path)
    world.check(chaos.path, database)
    settle(chaos)
    world.check(chaos.path, database, settled=True, hopeless=hopeless)


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


@scenario(DOWN, budget=bounded(2), timeout=TIMEOUT, oracle="off")
def test_a_server_is_down_for_a_while(chaos: Chaos, monkeypatch: Patch) -> None:
    """The breaker opens, lets one request through after its time, and closes; no sample is lost by it."""
    # Down for three connections: here so many open it, for less time than there is between two questions.
    for name, value in (("FAILURES", "3"), ("OPEN_FOR", "5")):
        monkeypatch.setitem(world.SETTINGS, f"WATCHER_RUNTIME__BREAKERS__PIPELINE__{name}", value)
    _, database = world.started(chaos)
    told = chaos.run(world.watch, chaos.path).value
    chaos.sometimes("a breaker opened and closed", told == ["open", "half-open", "closed"])
    world.check(chaos.path, database)
    settle(chaos)
    world.check(chaos.path, database, settled=True)


@scenario(DISK, budget=bounded(4), timeout=TIMEOUT, oracle="off")
def test_disks_in_trouble(chaos: Chaos) -> None:
    """The share goes away and comes back; the disk is full, read-only, broken, while results are written."""
    ends_well(chaos, hopeless=True)


@scenario(faults.kill(), budget=bounded(10), timeout=TIMEOUT)
def test_killed_at_any_point(chaos: Chaos) -> None:
    """kill -9 before any change of the disk and around any request: the next start goes on."""
    _, database = world.started(chaos)
    chaos.run(world.watch, chaos.path)
    world.check(chaos.path, database)
    left = world.interrupted(chaos.path)
    settle(chaos)
    world.check(chaos.path, database, settled=True)
    chaos.sometimes("what a dead watcher had claimed was brought to its end", left)


@scenario(faults.power_loss(), model="strict", budget=bounded(2), timeout=TIMEOUT, oracle="off")
def test_the_power_goes(chaos: Chaos) -> None:
    """What is called uploaded is there, with its result, on whatever the disk kept."""
    ends_well(chaos)


# Where the record of a sample becomes durable: from there on it is called uploaded.
RECORDED = faults.power_loss().on(path="state/watcher.db-wal", call="fdatasync")


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


@scenario(faults.signal("SIGTERM"), budget=bounded(2), timeout=TIMEOUT, oracle="off")
def test_told_to_stop(chaos: Chaos) -> None:
    """SIGTERM at any call: what is in progress is finished or given back, and the exit is in order."""
    _, database = world.started(chaos)
    outcome = chaos.run(world.watch, chaos.path)
    assert outcome.ok, outcome
    world.check(chaos.path, database)
    settle(chaos)
    world.check(chaos.path, database, settled=True)


@scenario(faults.clock(), budget=bounded(2), timeout=TIMEOUT, oracle="off")
def test_the_clock_is_set(chaos: Chaos) -> None:
    """An hour back or ahead, at each line that reads it: no sample is lost or doubled for that."""
    ends_well(chaos)


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


@scenario(faults.kill() | faults.disk(), depth=2, budget=bounded(2), timeout=TIMEOUT, oracle="off")
def test_trouble_in_the_recovery(chaos: Chaos) -> None:
    """A crash, then another fault in the rounds that recover from it."""
    ends_well(chaos, hopeless=True)


def test_its_command_says_what_is_missing(monkeypatch: Patch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without its places and servers it does not start, and names all of them at once."""
    for name in [name for name in os.environ if name.startswith("WATCHER_")]:
        monkeypatch.delenv(name)
    assert main([]) == 2
    told = capsys.readouterr().err
    assert all(f"{name}: is missing" in told for name in ("share", "state", "pipeline", "database"))


def test_the_numbers_are_those_of_its_users(tmp_path: Path) -> None:
    """Backoff from 5 s to a day, 20 attempts below the session, 5 failures and 300 s, 10 % in 300 s."""
    loaded = settings.read({**world.SETTINGS, "WATCHER_SHARE": str(tmp_path), "WATCHER_STATE": str(tmp_path)})
    runtime = loaded.value.runtime
    share = runtime.retry["share"].policy()
    bands = [share.wait.band(failures, 0.0)[1] for failures in (1, 2, 3, 20, 10**6)]
    assert bands == [5.0, 10.0, 20.0, 86400.0, 86400.0]
    assert share.quiet == 1
    assert runtime.retry["transport"].attempts == 20
    assert (runtime.breakers["pipeline"].failures, runtime.breakers["pipeline"].open_for) == (5, 300.0)
    assert (runtime.metrics.alerts[0].ratio, runtime.metrics.alerts[0].window) == (0.10, 300.0)
    with pytest.raises(ConfigurationProblems, match="poll"):
        settings.read({"WATCHER_POLL": "0", "WATCHER_SHARE": ".", "WATCHER_STATE": "."})


@pytest.fixture
def watcher(tmp_path: Path) -> Iterator[program.Watcher]:
    """A watcher that has not been set to work, above an empty share."""
    world.prepare(tmp_path)
    with Shutdown(signals=()) as shutdown, program.Watcher(world.configured(tmp_path), shutdown) as made:
        yield made


def test_nothing_is_begun_beyond_a_limit(tmp_path: Path, monkeypatch: Patch) -> None:
    """While a limit is exceeded no sample is claimed; the watcher stays and waits."""
    world.prepare(tmp_path)
    monkeypatch.setitem(world.SETTINGS, "WATCHER_LIMITS__DISK", str(1 << 60))
    with (
        Shutdown(signals=()) as shutdown,
        program.Watcher(world.configured(tmp_path), shutdown) as watcher,
    ):
        assert [threshold.resource for threshold in watcher.resources.look()] == ["disk"]
        shutdown.request("enough")
        underway: dict[str, Any] = {}
        assert watcher._take(underway)
        assert not underway
        assert not watcher.samples.statistics().by_status


def test_the_configuration_changes_while_it_runs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What is different is told and in force; a file that is wrong is told and changes nothing."""
    world.prepare(tmp_path)
    file = tmp_path / "watcher.toml"
    text = settings.DEFAULTS.read_text()
    file.write_text(text)
    live = world.configured(tmp_path, file)
    with Shutdown(signals=()) as shutdown, program.Watcher(live, shutdown) as watcher:
        file.write_text(text.replace('poll = "60s"', 'poll = "2m"'))
        assert [change.path for change in live.drift().changes] == ["poll"]
        watcher.refresh()
        file.write_text(text.replace('poll = "60s"', 'poll = "-1s"'))
        watcher.refresh()
        assert watcher.settings.poll == 120.0
    assert "poll: 60.0 → 120.0" in caplog.text
    assert "the configuration stays as it is" in caplog.text


def test_what_a_killed_watcher_began_to_flag_is_cleared(watcher: program.Watcher, tmp_path: Path) -> None:
    """The run is flagged by the next, and nothing else is left in its folder."""
    name = "from pathlib import Path; from chaoskit.runtime.durable.files.names import unfinished_name;"
    folder = tmp_path / "share" / "broken"
    command = f"{name} unfinished_name(Path({str(folder / FLAG)!r})).touch()"
    subprocess.run([sys.executable, "-c", command], check=True)
    assert len(world.left(tmp_path)) == 1
    watcher._sheet("broken")
    assert Flag(folder / FLAG).read() is not None
    assert world.left(tmp_path) == []


SHEETS = {
    "other columns": (b"name,reads\na,a.fastq\n", 1),
    "ragged": (b"sample,reads\na,a.fastq\nb\n", 3),
    "NUL": (b"sample,reads\na\0,a.fastq\n", 2),
    "another encoding": (b"sample,reads\na,a.fastq\nM\xfcller,b.fastq\n", 3),
    "the mark of another encoding": ("sample,reads\na,a.fastq\n".encode("utf-16"), 1),
}


@pytest.mark.parametrize("sheet", SHEETS)
def test_a_malformed_sheet_is_flagged_with_its_place(
    sheet: str, watcher: program.Watcher, tmp_path: Path
) -> None:
    """The flag in the folder says which file and line; the other runs are looked at all the same."""
    data, line = SHEETS[sheet]
    (tmp_path / "share" / "broken" / "SampleSheet.csv").write_bytes(data)
    assert watcher._sheet("broken") == []
    told = Flag(tmp_path / "share" / "broken" / FLAG).read()
    assert told is not None
    assert f"SampleSheet.csv, line {line}" in told.reason
    assert "broken" not in list(watcher._share.runs())


def test_a_sheet_may_begin_with_a_byte_order_mark(watcher: program.Watcher, tmp_path: Path) -> None:
    """As spreadsheets write it: the mark is not part of the first column's name."""
    sheet = tmp_path / "share" / "broken" / "SampleSheet.csv"
    sheet.write_text("sample,reads\na,a.fastq\n", "utf-8-sig")
    assert [sample.name for sample in watcher._sheet("broken")] == ["a"]


def _member(**values: Any) -> bytes:
    def change(info: tarfile.TarInfo) -> None:
        for name, value in values.items():
            setattr(info, name, value)

    return one_member(change)


WHOLE = gzip.compress(plain_tar(), mtime=0)
ARCHIVES = {
    "truncated": (WHOLE[:-40], "CorruptArchive"),
    "corrupt": (WHOLE[:-8] + bytes(8), "CorruptArchive"),
    "traversal": (_member(name="../x"), "UnsafeArchive"),
    "absolute": (_member(name="/etc/x"), "UnsafeArchive"),
    "link": (_member(type=tarfile.SYMTYPE, linkname="/etc/passwd"), "UnsafeArchive"),
    "device": (_member(type=tarfile.CHRTYPE), "UnsafeArchive"),
    "too many": (WHOLE, "ArchiveTooBig"),
    "bomb": (gzip.compress(one_member(lambda info: None, bytes(1 << 20))), "ArchiveTooBig"),
}


@pytest.mark.parametrize("archive", ARCHIVES)
def test_of_a_bad_archive_nothing_is_kept(
    archive: str, watcher: program.Watcher, tmp_path: Path, monkeypatch: Patch
) -> None:
    """Recorded with the right error; nothing is unpacked, spooled or uploaded."""
    data, error = ARCHIVES[archive]
    limits = {"WATCHER_ARCHIVES__MEMBERS": "3", "WATCHER_ARCHIVES__TOTAL": "64KiB"}
    watcher._live.loaded = settings.read({**world.places(tmp_path), **world.SETTINGS, **limits})
    monkeypatch.setattr(watcher._pipeline, "result", lambda id, target: target.write_bytes(data))
    monkeypatch.setattr(watcher._database, "upload", lambda *told: pytest.fail("it was uploaded"))
    claim = claimed(watcher)
    with watcher._attempt("upload", claim):
        watcher._upload(claim)
    record = watcher.samples.record("good", scope="run1")
    assert record is not None
    assert record.error is not None
    assert record.error["type"] == error
    left = [path for path in (tmp_path / "state").rglob("*") if "good" in path.name or ".ck-" in path.name]
    assert left == []


def claimed(watcher: program.Watcher) -> Claim:
    claim = watcher.samples.claim("good", scope="run1")
    assert claim is not None
    claim.progress([1, "r1"])
    return claim


def test_each_line_of_the_log_says_what_it_is_about(watcher: program.Watcher) -> None:
    """Operation, run, sample, attempt, duration, error and what to do; beyond 10 % there is an alert."""
    said, alerts = io.StringIO(), []
    with log_to(said, logger="watcher"), subscribe(alerts.append):
        for _ in range(10):
            with watcher._attempt("process", claimed(watcher)):
                raise PermissionError(13, "Permission denied", "/mnt/share/run1")
            watcher.samples.clear()
    told = json.loads(said.getvalue().splitlines()[0])
    wanted = {"operation": "process", "run": "run1", "sample": "good", "attempt": 1}
    assert wanted.items() <= told.items(), told
    assert told["error_type"] == "PermissionError"
    assert told["suggested_action"]
    assert told["duration"] >= 0
    (alert,) = [one for one in alerts if isinstance(one, AlertRaised)]
    assert (alert.operation, alert.ratio) == ("*", 1.0)


def test_a_join_that_is_stuck_is_told_with_all_stacks(
    watcher: program.Watcher, tmp_path: Path, monkeypatch: Patch
) -> None:
    """The thread that does not end is named, and its stack shows where it waits."""
    ends = threading.Event()

    def stuck_here(self: program.Watcher, worker: Any) -> None:
        ends.wait()

    monkeypatch.setattr(program.Watcher, "_upload_all", stuck_here)
    monkeypatch.setattr(program.Watcher, "_clean_up", lambda self: None)
    monkeypatch.setattr(program.Watcher, "_find", lambda self, worker, once: self._found.close())
    watcher._live.loaded = settings.read(
        {**world.places(tmp_path), **world.SETTINGS, "WATCHER_RUNTIME__SUPERVISION__JOIN_TIMEOUT": "100ms"}
    )
    try:
        with pytest.raises(SuspectedDeadlock, match="uploader") as told:
            watcher.run(once=True)
    finally:
        ends.set()
    assert "stuck_here" in told.value.stacks


PLANTED = {
    "test_uploads_have_no_key": "reset[0]",
    "test_recorded_before_it_is_uploaded": "kill",
    "test_a_directory_counts_as_a_result": "kill",
    "test_the_spool_is_never_cleaned": "kill",
    "test_results_are_not_durable": "power_loss",
    "test_no_time_out": "silent",
}
"""What each twin does otherwise, and a part of the schedule that shows it."""


@planted
def test_each_missing_guarantee_is_found(tmp_path: Path) -> None:
    """The invariant breaks, and by the fault that the guarantee is there for."""
    assert missed(Path(__file__).with_name("planted_watcher.py"), PLANTED, tmp_path) == {}
