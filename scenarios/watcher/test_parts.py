"""One part of the watcher at a time, without faults: limits, sheets, archives, logs, threads, settings."""

from __future__ import annotations

import errno
import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from archive_corpus import one_member, plain_tar
from click.testing import CliRunner

from chaoskit.cli.recovery import recovery
from chaoskit.runtime import (
    AlertRaised,
    Claim,
    Event,
    Flag,
    Shutdown,
    SuspectedDeadlock,
    ThreadRestarted,
    log_to,
    subscribe,
)
from chaoskit.runtime.config import ConfigurationProblems
from chaoskit.runtime.guarding.resources import readings
from scenarios.watcher import program, settings, world
from scenarios.watcher.__main__ import main
from scenarios.watcher.share import FLAG, Share

Patch = pytest.MonkeyPatch


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


def test_no_number_of_attempts_is_too_large_for_the_wait(watcher: program.Watcher) -> None:
    """The five-thousandth attempt at a sample waits for a day, like the tenth."""
    told: list[Any] = []

    def fail(error: Exception, *, retry_in: float | None, final: bool) -> None:
        told.append((retry_in, final))

    for attempt in (1, 2, 10, 5000):
        claim: Any = SimpleNamespace(scope="run1", key="good", attempt=attempt, fail=fail)
        with watcher._attempt("process", claim):
            raise ConnectionResetError(errno.ECONNRESET, "reset")
    assert told == [(300.0, False), (600.0, False), (86400.0, False), (86400.0, False)]


@pytest.fixture
def watcher(tmp_path: Path) -> Iterator[program.Watcher]:
    """A watcher that has not been set to work, above an empty share."""
    world.prepare(tmp_path)
    with Shutdown(signals=()) as shutdown, program.Watcher(world.configured(tmp_path), shutdown) as made:
        yield made


LIMITS = {
    "disk": ("DISK", 1 << 61),
    "descriptors": ("DESCRIPTORS", 1 << 61),
    "processes": ("PROCESSES", 1001),
    "rss": ("MEMORY", 1),
    "threads": ("THREADS", 8),
}


@pytest.mark.parametrize("resource", LIMITS)
def test_nothing_is_begun_beyond_a_limit(resource: str, tmp_path: Path, monkeypatch: Patch) -> None:
    """While a limit is exceeded no sample is claimed; the watcher stays and waits."""
    world.prepare(tmp_path)
    name, limit = LIMITS[resource]
    monkeypatch.setitem(world.SETTINGS, f"WATCHER_LIMITS__{name}", str(limit))
    # These depend on the machine and on who runs the tests: root has no limit of processes.
    monkeypatch.setattr(readings, "processes", lambda: readings.Usage(100, 1000, "RLIMIT_NPROC"))
    monkeypatch.setattr(threading, "active_count", lambda: 8)
    with (
        Shutdown(signals=()) as shutdown,
        program.Watcher(world.configured(tmp_path), shutdown) as watcher,
    ):
        assert [threshold.resource for threshold in watcher.resources.look()] == [resource]
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


def test_a_share_that_is_away_is_not_one_without_runs(
    watcher: program.Watcher, tmp_path: Path, monkeypatch: Patch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is asked for until it is back, and told from the second time on; one that refuses is an error."""
    (tmp_path / "share").rename(tmp_path / "away")
    asked: list[Path] = []

    def listed(path: Any = ".") -> list[str]:
        # Others list directories, too, such as the monitor in /proc.
        if path == tmp_path / "share":
            asked.append(path)
            if len(asked) == 3:
                (tmp_path / "away").rename(tmp_path / "share")
        return listdir(path)

    listdir = os.listdir
    monkeypatch.setattr(os, "listdir", listed)
    quick = {"WATCHER_RUNTIME__RETRY__SHARE__WAIT__INITIAL": "1ms"}
    loaded = settings.read({**world.places(tmp_path), **world.SETTINGS, **quick}).value
    share = Share(loaded.share, loaded.runtime.policies()["share"])
    assert list(share.runs()) == ["broken", "run1", "run2"]
    assert len(asked) == 3
    assert caplog.text.count("the share is away") == 1
    monkeypatch.setattr(os, "listdir", refused)
    with pytest.raises(PermissionError):
        list(share.runs())


def refused(path: Any = ".") -> Any:
    raise PermissionError(13, "Permission denied", str(path))


@pytest.mark.parametrize(("busy", "told"), [(1, 0), (2, 1)])
def test_a_share_that_is_busy_once_is_no_news(
    busy: int, told: int, watcher: program.Watcher, monkeypatch: Patch, caplog: pytest.LogCaptureFixture
) -> None:
    """``BlockingIOError`` is tried again in silence; from the second time on it is logged."""
    left = iter(range(busy))
    listdir = os.listdir

    def listed(path: Any = ".") -> list[str]:
        if path == watcher.settings.share and next(left, None) is not None:
            raise BlockingIOError(errno.EAGAIN, "the server does not answer", str(path))
        return listdir(path)

    monkeypatch.setattr(os, "listdir", listed)
    monkeypatch.setattr(watcher._shutdown.wake, "wait", lambda timeout=None: False)
    assert list(watcher._share.runs()) == ["broken", "run1", "run2"]
    assert caplog.text.count("is tried again in") == told


TROUBLE = {
    "permission": errno.EACCES,
    "disk-full": errno.ENOSPC,
    "quota": errno.EDQUOT,
    "not-found": errno.ENOENT,
    "read-only": errno.EROFS,
    "stale-handle": errno.ESTALE,
    "too-many-files": errno.EMFILE,
}


def test_each_trouble_with_files_is_told_with_its_own_hint(watcher: program.Watcher) -> None:
    """The log names the kind, and for each kind it says something else to do."""
    said = io.StringIO()
    with log_to(said, logger="watcher"):
        for number in TROUBLE.values():
            watcher._note("read sheet", OSError(number, os.strerror(number), "/mnt/share/run1"))
    told = [json.loads(line) for line in said.getvalue().splitlines()]
    assert [one["message"].partition("(")[2].partition(")")[0] for one in told] == list(TROUBLE)
    assert len({one["suggested_action"] for one in told}) == len(TROUBLE)


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


def test_a_flagged_run_is_looked_at_again_once_an_operator_clears_it(
    watcher: program.Watcher, tmp_path: Path
) -> None:
    """Listed with its reason by the command of the README, corrected, cleared: and its samples are found."""
    share = tmp_path / "share"
    assert watcher._sheet("broken") == []

    def said(*words: str) -> Any:
        command = ["flags", str(share), "--flag", FLAG, *words, "--json"]
        ended = CliRunner().invoke(recovery, command, standalone_mode=False)
        assert ended.exception is None, ended.output
        return json.loads(ended.output)

    (found,) = said()["flagged"]
    assert (found["run"], "SampleSheet.csv, line 3" in found["reason"]) == ("broken", True)
    (share / "broken" / "SampleSheet.csv").write_text("sample,reads\na,a.fastq\n")
    assert "broken" not in list(watcher._share.runs())
    assert said("--clear", "broken")["flagged"] == []
    assert "broken" in list(watcher._share.runs())
    assert [sample.name for sample in watcher._sheet("broken")] == ["a"]


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


def die(monkeypatch: Patch, times: int) -> None:
    """Have the finder die so often, and find nothing after that."""
    left = iter(range(times))

    def find(self: program.Watcher, worker: Any, once: bool) -> None:
        if next(left, None) is not None:
            raise RuntimeError("a thread has died")
        self._found.close()

    monkeypatch.setattr(program.Watcher, "_find", find)
    monkeypatch.setattr(program.Watcher, "_clean_up", lambda self: None)


@pytest.mark.parametrize(("deaths", "restarts", "status"), [(2, 2, 0), (9, 3, 1)])
def test_a_thread_that_dies_is_started_again(
    deaths: int, restarts: int, status: int, watcher: program.Watcher, tmp_path: Path, monkeypatch: Patch
) -> None:
    """Three times within a minute; one that dies more often ends the watcher, with a status that says so."""
    told: list[Event] = []
    die(monkeypatch, deaths)
    quick = {"WATCHER_RUNTIME__SUPERVISION__DELAY": "1ms"}
    watcher._live.loaded = settings.read({**world.places(tmp_path), **world.SETTINGS, **quick})
    with subscribe(told.append):
        watcher.run(once=True)
    again = [one.thread for one in told if isinstance(one, ThreadRestarted)]
    assert again == ["finder"] * restarts
    assert watcher._shutdown.exit_code == status


# -- one guarantee less -----------------------------------------------------------------------------------


def as_far_as_it_goes(monkeypatch: Patch) -> None:
    """What can be read of a damaged archive counts as the result."""

    def extract(archive: Path, target: Path, **options: Any) -> None:
        plain = zlib.decompressobj(31).decompress(archive.read_bytes())
        with tarfile.open(fileobj=io.BytesIO(plain), ignore_zeros=True, errorlevel=0) as opened:
            opened.extractall(target)
        (target / program.SUMMARY).write_text("gene,reads\n")

    monkeypatch.setattr(program, "extract", extract)


def anywhere(monkeypatch: Patch) -> None:
    """A run is looked at whether or not it is flagged."""
    monkeypatch.setattr(Share, "runs", lambda self: iter(self._names()))


@pytest.mark.parametrize(
    ("remove", "attack", "given"),
    [
        (as_far_as_it_goes, test_of_a_bad_archive_nothing_is_kept, {"archive": "truncated"}),
        (anywhere, test_a_flagged_run_is_looked_at_again_once_an_operator_clears_it, {}),
    ],
    ids=["as_far_as_it_goes", "anywhere"],
)
def test_a_guarantee_less_shows_without_a_fault(
    remove: Callable[[Patch], None],
    attack: Callable[..., None],
    given: dict[str, Any],
    watcher: program.Watcher,
    tmp_path: Path,
    monkeypatch: Patch,
) -> None:
    """The test that is there for it fails."""
    if "archive" in given:
        given = {**given, "monkeypatch": monkeypatch}
    remove(monkeypatch)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        attack(**given, watcher=watcher, tmp_path=tmp_path)
