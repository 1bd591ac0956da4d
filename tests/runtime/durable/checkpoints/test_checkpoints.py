"""What is recorded as done is done: checkpoints, their sources, their artefacts, and their clearing."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chaoskit.core.errors import UsageError
from chaoskit.runtime import (
    CheckpointError,
    Checkpoints,
    Checksum,
    FilesystemError,
    RecordCorrupt,
    Store,
)
from chaoskit.runtime.clock import VirtualClock
from chaoskit.runtime.durable.checkpoints import sources
from chaoskit.runtime.durable.store.codec import MAX_PAYLOAD


def old(path: Path, text: str) -> Path:
    """A file that was written long ago, so that its times prove something."""
    path.write_text(text)
    os.utime(path, (1_000_000_000, 1_000_000_000))
    return path


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The change time cannot be set, so no file here is old: take every file's times for proof."""
    monkeypatch.setattr(sources, "TICK", -(1 << 62))


def test_a_save_is_loaded(checkpoints: Checkpoints) -> None:
    """By scope and key, with its metadata; scopes and pipelines are strangers."""
    checkpoints.save("a", {"n": 1}, scope="s", metadata={"by": "me"})
    assert checkpoints.load("a", scope="s") == {"n": 1}
    assert checkpoints.load("a", default=None) is None
    found = checkpoints.record("a", scope="s")
    assert found is not None
    assert (found.status, found.metadata, found.pipeline) == ("completed", {"by": "me"}, "p")
    with Checkpoints(checkpoints._store, pipeline="q") as other:
        assert other.record("a", scope="s") is None
    with pytest.raises(KeyError, match="no checkpoint 'a' in scope ''"):
        checkpoints.load("a")


def test_a_directory_or_a_file_is_opened(tmp_path: Path) -> None:
    """A directory gets a file of its own name; both are closed at the end, and are there afterwards."""
    for target in (tmp_path, tmp_path / "mine.db"):
        with Checkpoints(target) as one:
            one.save("a", 1)
        with Checkpoints(target) as one:
            assert one.load("a") == 1
    assert (tmp_path / "checkpoints.db").exists()


@pytest.mark.parametrize(
    "wrong", [{"attempts": 0}, {"lease": 0.0}, {"lease": float("nan")}, {"pipeline": ""}, {"durability": "x"}]
)
def test_wrong_terms_are_refused(store: Store, wrong: dict[str, object]) -> None:
    """When it is made, by name."""
    with pytest.raises(UsageError, match="expected"):
        Checkpoints(store, **wrong)  # type: ignore[arg-type]


def test_what_cannot_be_kept_changes_nothing(checkpoints: Checkpoints) -> None:
    """Neither a tuple, nor what leaves no room to say how it failed, nor a status that only a claim sets."""
    checkpoints.save("a", 1)
    for value in ((1, 2), "x" * (MAX_PAYLOAD - 1000)):
        with pytest.raises(CheckpointError, match="expected"):
            checkpoints.save("a", value)
    with pytest.raises(UsageError, match="'pending', 'completed', 'failed'"):
        checkpoints.save("a", 2, status="running")
    assert checkpoints.load("a") == 1


def test_a_save_in_a_transaction_comes_with_it(checkpoints: Checkpoints, store: Store) -> None:
    """All of it or nothing."""

    def work() -> None:
        with store.transaction() as tx:
            checkpoints.save("a", 1, tx=tx)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert checkpoints.record("a") is None
    with store.transaction() as tx:
        checkpoints.save("a", 1, tx=tx)
    assert checkpoints.load("a") == 1


# --- sources and artefacts ---------------------------------------------------------------------------------


def test_a_changed_source_is_not_completed(checkpoints: Checkpoints, tmp_path: Path) -> None:
    """The same file is; another content is not, nor is another file, nor a file that is gone."""
    path = old(tmp_path / "in.csv", "one")
    checkpoints.save("a", source=path)
    assert checkpoints.is_completed("a", source=path, verify_checksum=True)
    assert checkpoints.is_completed("a")
    path.write_text("two")
    assert not checkpoints.is_completed("a", source=path)
    assert not checkpoints.is_completed("a", verify_checksum=True)
    path.unlink()
    assert not checkpoints.is_completed("a", source=path)


@pytest.mark.usefixtures("settled")
def test_an_unchanged_source_is_not_read(
    checkpoints: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Size, times and number say that it is the same; only ``verify_checksum`` reads it."""
    path = old(tmp_path / "in.csv", "one")
    checkpoints.save("a", source=path)
    reads: list[Path] = []
    digest = sources._digest
    monkeypatch.setattr(sources, "_digest", lambda path: (reads.append(path), digest(path))[1])
    assert checkpoints.is_completed("a", source=path)
    assert reads == []
    assert checkpoints.is_completed("a", source=path, verify_checksum=True)
    assert reads == [path]


def test_a_source_written_within_a_tick_is_read(checkpoints: Checkpoints, tmp_path: Path) -> None:
    """A second write within one tick of the clock may leave its times as they are: it is read again."""
    path = tmp_path / "in.csv"
    path.write_text("one")
    checkpoints.save("a", source=path)
    seen = os.stat(path)
    with open(path, "r+") as file:
        file.write("two")
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    assert not checkpoints.is_completed("a", source=path)


def test_a_store_that_is_moved_with_its_sources_knows_them(tmp_path: Path, settled: None) -> None:
    """A path below the base is kept relative to it; that of any other source stays as it is."""
    before, after, elsewhere = tmp_path / "before", tmp_path / "after", tmp_path / "elsewhere.csv"
    before.mkdir()
    for path in (before / "in.csv", elsewhere):
        path.write_text("one")
    with Checkpoints(before / "run.db") as checkpoints:
        checkpoints.save("a", source=before / "in.csv")
        checkpoints.save("b", source=elsewhere)
    before.rename(after)
    with Checkpoints(after / "run.db") as checkpoints:
        for key, path, name in (("a", after / "in.csv", "in.csv"), ("b", elsewhere, str(elsewhere))):
            assert checkpoints.is_completed(key, source=path, verify_checksum=True)
            assert checkpoints.is_completed(key, verify_checksum=True)
            record = checkpoints.record(key)
            assert record is not None
            assert record.source is not None
            assert record.source.path == name


def test_an_unread_source_would_be_missed(checkpoints: Checkpoints, tmp_path: Path, settled: None) -> None:
    """Planted: without the rule of the tick, and without the time of change, the second write is not seen."""
    path = tmp_path / "in.csv"
    path.write_text("one")
    fingerprint = sources.fingerprint_of(path)
    path.write_text("two")
    kept = sources.Fingerprint(fingerprint.checksum, str(path), 3, sources._stamp(os.stat(path)))
    assert sources.is_same(path, kept)
    assert not sources.is_same(path, kept, read=True)


def test_a_source_may_be_a_checksum(checkpoints: Checkpoints) -> None:
    """A checksum stands for an input other than a file: an object in a bucket, a row."""
    checkpoints.save("a", source=Checksum("etag:1"))
    assert checkpoints.is_completed("a", source=Checksum("etag:1"), verify_checksum=True)
    assert not checkpoints.is_completed("a", source=Checksum("etag:2"))
    with pytest.raises(UsageError, match="NAME:TEXT"):
        Checksum("1")


def test_a_changed_source_is_claimed_again(checkpoints: Checkpoints) -> None:
    """Completed from this source: not to be had. From another one: all attempts begin again."""
    one, two = Checksum("etag:1"), Checksum("etag:2")
    claim = checkpoints.claim("a", source=one)
    assert claim is not None
    claim.complete(1)
    assert checkpoints.claim("a", source=one) is None
    assert checkpoints.claim("a") is None
    again = checkpoints.claim("a", source=two)
    assert again is not None
    assert again.attempt == 1
    again.complete(2)
    assert checkpoints.is_completed("a", source=two)


def test_artefacts_must_be_there_and_stay(checkpoints: Checkpoints, tmp_path: Path) -> None:
    """At the end of the step, and as they were at every later check; directories are looked at whole."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "part").write_text("1")
    claim = checkpoints.claim("a")
    assert claim is not None
    with pytest.raises(CheckpointError, match=r"artefact .*gone.* is not there"):
        claim.complete(artefacts=["gone"])
    claim.complete(artefacts=["out", "out/part"])
    assert checkpoints.is_completed("a", verify_checksum=True)
    assert checkpoints.verify().ok
    (tmp_path / "out" / "part").write_text("2")
    assert checkpoints.is_completed("a")
    assert not checkpoints.is_completed("a", verify_checksum=True)
    assert [(key, path) for _, key, path, _ in checkpoints.verify().artefacts] == [
        ("a", "out"),
        ("a", "out/part"),
    ]
    (tmp_path / "out" / "part").unlink()
    assert not checkpoints.is_completed("a")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
def test_a_directory_that_cannot_be_read_whole_is_not_an_artefact(
    number: int, checkpoints: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder in it that refuses is not an empty one: no step is complete, and what was is not whole."""
    (tmp_path / "out" / "sub").mkdir(parents=True)
    (tmp_path / "out" / "sub" / "part").write_text("1")
    claim = checkpoints.claim("a")
    assert claim is not None
    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", refusing(tmp_path / "out" / "sub", number))
        with pytest.raises(FilesystemError, match="keep the artefact"):
            claim.complete(artefacts=["out"])
    claim.complete(artefacts=["out"])
    assert checkpoints.verify().ok
    monkeypatch.setattr(os, "scandir", refusing(tmp_path / "out" / "sub", number))
    ((_, key, path, wrong),) = checkpoints.verify().artefacts
    assert (key, path, wrong.startswith("cannot be read")) == ("a", "out", True)


def refusing(folder: Path, number: int) -> Callable[..., Any]:
    """``os.scandir``, with one folder that cannot be read."""
    scandir = os.scandir

    def refused(path: Any = ".") -> Any:
        if Path(path) == folder:
            raise OSError(number, os.strerror(number), str(path))
        return scandir(path)

    return refused


@pytest.mark.parametrize("target", ["sqlite"], indirect=True)
def test_the_files_of_the_store_are_refused(checkpoints: Checkpoints, tmp_path: Path) -> None:
    """Reading them would drop SQLite's locks. In a tree that is an artefact they are left out."""
    claim = checkpoints.claim("a")
    assert claim is not None
    for name in ("store.db", "store.db-wal"):
        with pytest.raises(UsageError, match="not the store's"):
            claim.complete(artefacts=[name])
        with pytest.raises(UsageError, match="not the store's"):
            checkpoints.save("b", source=tmp_path / name)
    claim.complete(artefacts=[tmp_path])
    checkpoints.save("c", "this changes the store's files")
    assert checkpoints.is_completed("a", verify_checksum=True)


# --- lists, clearing, damage -------------------------------------------------------------------------------


def test_lists_go_by_status(checkpoints: Checkpoints) -> None:
    """Pending, running, failed, completed; over more than a page."""
    for n in range(600):
        checkpoints.save(f"{n:03}", n, status="pending")
    assert [one.value for one in checkpoints.pending()] == list(range(600))
    claims = checkpoints.claim_next(limit=2)
    assert [one.key for one in checkpoints.in_progress()] == [claim.key for claim in claims]
    claims[0].fail(ValueError("bad"))
    [failed] = checkpoints.failed()
    assert failed.error is not None
    assert (failed.error["type"], failed.error["message"]) == ("ValueError", "bad")
    assert checkpoints.statistics().by_status == {"pending": 598, "running": 1, "failed": 1}
    claims[1].complete()
    assert [one.key for one in checkpoints.completed()] == [claims[1].key]


def test_clear_goes_by_scope_status_and_age(checkpoints: Checkpoints, clock: VirtualClock) -> None:
    """What matches all of it; what runs only if it is named; a dry run counts and removes nothing."""
    checkpoints.save("old", 1, scope="s")
    clock.advance(100)
    checkpoints.save("new", 1, scope="s")
    checkpoints.save("bad", 1, scope="t", status="failed")
    assert checkpoints.claim("runs", scope="s") is not None
    assert checkpoints.clear(older_than=50, dry_run=True) == 1
    assert checkpoints.clear(older_than=50) == 1
    assert checkpoints.clear(scope="t", status="completed") == 0
    assert checkpoints.clear(status=["failed"]) == 1
    assert checkpoints.clear() == 1
    assert [one.key for one in checkpoints.in_progress()] == ["runs"]
    assert checkpoints.clear(status="running") == 1
    with pytest.raises(UsageError, match=r"'gone'.*expected one of"):
        checkpoints.clear(status="gone")
    with pytest.raises(UsageError, match="at least zero"):
        checkpoints.clear(older_than=-1)


def test_a_damaged_checkpoint_is_told_and_passed_over(checkpoints: Checkpoints, store: Store) -> None:
    """Asked for by name it is an error; lists go on, and verify names it."""
    checkpoints.save("a", 1)
    checkpoints.save("b", 2)
    with store.transaction() as tx:
        tx.execute("update record set payload = '{}' where key = 'a'")  # type: ignore[attr-defined]
    with pytest.raises(RecordCorrupt, match="'a'"):
        checkpoints.load("a")
    assert checkpoints.load("b") == 2
    report = checkpoints.verify()
    assert [one.key for one in report.damaged] == ["a"]
    assert not report.ok
