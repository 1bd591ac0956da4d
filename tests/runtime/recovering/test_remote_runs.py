"""Runs elsewhere: none lost, none launched twice while it is known, orphans removed; killed at each step."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from chaoskit.core.errors import UsageError
from chaoskit.runtime import RemoteRun, RemoteRuns, RemoteStatus, Store


class Killed(BaseException):
    """Where a process would have been killed."""


class Remote:
    """The other side, in memory; ``dies`` says how often a launch takes effect without an answer."""

    def __init__(self) -> None:
        self.kept: dict[str, RemoteRun] = {}
        self.launches: list[str] = []
        self.dies = 0
        self.refuses: set[str] = set()

    def launch(self, key, payload):
        if key in self.refuses:
            raise ConnectionError("refused")
        self.launches.append(key)
        id = f"r{len(self.launches)}"
        self.kept[id] = RemoteRun(id, key, RemoteStatus.RUNNING)
        if self.dies:
            self.dies -= 1
            raise Killed
        return id

    def runs(self):
        return self.kept

    def remove(self, id):
        del self.kept[id]

    def says(self, id, status, reason=""):
        self.kept[id] = replace(self.kept[id], status=status, reason=reason)


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "s.db", durability="process-crash") as store:
        yield store


@pytest.fixture
def remote():
    return Remote()


@pytest.fixture
def runs(store, remote):
    return RemoteRuns(store, remote, name="lab", relaunches=2)


def test_a_run_is_launched_once_and_done(runs, remote):
    """And nothing more is done about it, however often it is looked at."""
    assert runs.add("a", {"sample": 1})
    assert not runs.add("a", {"sample": 2})
    assert runs.reconcile().launched == ("a",)
    assert runs.reconcile() == type(runs.reconcile())()
    remote.says("r1", RemoteStatus.DONE)
    assert runs.reconcile().done == ("a",)
    assert runs.status("a") == ("done", "")
    assert runs.reconcile().removed == ()
    assert remote.launches == ["a"]


def test_what_failed_has_its_reason_and_is_cleaned_up(runs, remote):
    """It is not launched again."""
    runs.add("a", None)
    runs.reconcile()
    remote.says("r1", RemoteStatus.FAILED, "out of memory")
    assert runs.reconcile().failed == ("a",)
    assert runs.status("a") == ("failed", "out of memory")
    runs.reconcile()
    assert remote.kept == {}
    assert remote.launches == ["a"]


@pytest.mark.parametrize("forgotten", [False, True])
def test_what_was_cancelled_or_forgotten_is_launched_again_so_many_times(runs, remote, forgotten):
    """Then it has failed; what was cancelled is removed."""
    runs.add("a", None)
    runs.reconcile()
    for _ in range(3):
        (id,) = [id for id, one in remote.kept.items() if one.status == RemoteStatus.RUNNING]
        if forgotten:
            del remote.kept[id]
        else:
            remote.says(id, RemoteStatus.CANCELLED)
        runs.reconcile()
    assert remote.launches == ["a"] * 3
    status, reason = runs.status("a")
    assert status == "failed"
    assert "after 3 launches" in reason
    runs.reconcile()
    assert remote.kept == {}


def test_a_launch_whose_answer_was_lost_is_found_again(runs, remote):
    """By its key: no second launch."""
    remote.dies = 1
    runs.add("a", None)
    with pytest.raises(Killed):
        runs.reconcile()
    assert runs.reconcile().launched == ()
    assert runs.status("a")[0] == "launched"
    assert remote.launches == ["a"]


def test_a_relaunch_whose_answer_was_lost_is_found_beside_the_cancelled_one(runs, remote):
    """Both have its key: taken for the cancelled one it would be launched a third time."""
    runs.add("a", None)
    runs.reconcile()
    remote.says("r1", RemoteStatus.CANCELLED)
    remote.dies = 1
    with pytest.raises(Killed):
        runs.reconcile()
    report = runs.reconcile()
    assert (report.launched, report.removed) == ((), ("r1",))
    assert remote.launches == ["a", "a"]
    assert list(remote.kept) == ["r2"]


def test_runs_of_another_name_are_another_matter(runs, remote, store):
    """Two pipelines may keep their runs in one store, each at a service of its own."""
    other = Remote()
    others = RemoteRuns(store, other, name="other")
    assert runs.add("a", None)
    assert others.add("a", None)
    assert runs.reconcile().launched == ("a",)
    assert (remote.launches, other.launches) == (["a"], [])
    remote.says("r1", RemoteStatus.DONE)
    assert runs.reconcile().done == ("a",)
    assert others.status("a") == ("launching", "")


def test_orphans_are_found_and_removed(runs, remote):
    """What carries a key that is not ours, or is the second one of a key."""
    runs.add("a", None)
    runs.reconcile()
    for id, key in (("x", "unknown"), ("y", "a")):
        remote.kept[id] = RemoteRun(id, key, RemoteStatus.RUNNING)
    assert sorted(runs.reconcile().removed) == ["x", "y"]
    assert list(remote.kept) == ["r1"]


def test_one_that_cannot_be_launched_does_not_stop_the_others(runs, remote):
    """It is told, and tried again."""
    remote.refuses = {"a"}
    runs.add("a", None)
    runs.add("b", None)
    report = runs.reconcile()
    assert report.launched == ("b",)
    assert report.troubles == ("a: refused",)
    remote.refuses = set()
    assert runs.reconcile().launched == ("a",)


def test_killed_at_every_write_no_run_is_lost_or_doubled(tmp_path, monkeypatch):
    """Before and after each write of a reconciliation; then it goes on as if nothing had been."""
    for at in range(12):
        with Store.open(tmp_path / f"{at}.db", durability="process-crash") as store:
            remote = Remote()
            runs = RemoteRuns(store, remote, name="lab")
            runs.add("a", None)
            runs.add("b", None)
            real, count = store.put, [0]

            def put(*args, real=real, count=count, at=at, **kwargs):
                count[0] += 1
                if count[0] == at // 2 + 1 and at % 2 == 0:
                    raise Killed
                real(*args, **kwargs)
                if count[0] == at // 2 + 1:
                    raise Killed

            monkeypatch.setattr(store, "put", put)
            try:
                runs.reconcile()
            except Killed:
                pass
            monkeypatch.setattr(store, "put", real)
            for _ in range(3):
                runs.reconcile()
            assert sorted(one.key for one in remote.kept.values()) == ["a", "b"]
            assert sorted(remote.launches) == ["a", "b"]
            assert {runs.status(key)[0] for key in "ab"} == {"launched"}


def test_a_limit_below_zero_is_refused(store, remote):
    """When it is made."""
    with pytest.raises(UsageError, match="relaunches"):
        RemoteRuns(store, remote, name="lab", relaunches=-1)


def test_results_of_a_run_that_was_found_by_its_key_stay(runs, remote):
    """The answer to its launch was lost and it was done before the next look: the one after removed them."""
    runs.add("a", None)
    launch = remote.launch

    def lost(key, payload):
        launch(key, payload)
        raise ConnectionError("lost")

    remote.launch = lost
    assert runs.reconcile().troubles == ("a: lost",)
    remote.says("r1", RemoteStatus.DONE)
    assert runs.reconcile().done == ("a",)
    assert runs.reconcile().removed == ()
    assert list(remote.kept) == ["r1"]


def test_no_orphan_is_removed_while_a_record_cannot_be_read(runs, remote, store):
    """Its run would be one: it was ended, and what it had done was gone."""
    runs.add("a", None)
    runs.add("b", None)
    runs.reconcile()
    remote.kept["x"] = RemoteRun("x", "unknown", RemoteStatus.RUNNING)
    with closing(sqlite3.connect(str(store.path), isolation_level=None)) as connection:
        connection.execute("update record set payload = '{' where key = 'a'")
    report = runs.reconcile()
    assert report.removed == ()
    assert report.troubles == ("a: its record cannot be read (corrupt), so that no orphan is removed",)
    assert sorted(remote.kept) == ["r1", "r2", "x"]


def test_a_queue_that_is_down_uses_up_no_launch(runs, remote):
    """However often it refuses for the moment; what it refuses for good has failed, with that reason."""
    remote.refuses = {"a"}
    runs.add("a", None)
    for _ in range(9):
        assert runs.reconcile().troubles == ("a: refused",)
    remote.refuses = set()
    assert runs.reconcile().launched == ("a",)

    def refuse(key, payload):
        raise ValueError("no such sample")

    remote.launch = refuse
    runs.add("b", None)
    for _ in range(3):
        assert runs.reconcile().troubles == ("b: no such sample",)
    assert runs.reconcile().failed == ("b",)
    assert runs.status("b") == ("failed", "it could not be launched, tried 3 times: no such sample")


@pytest.mark.parametrize("id", [None, "", 7, object()])
def test_an_id_that_is_none_is_told_and_the_run_is_found_by_its_key(runs, remote, id):
    """No second launch for an answer that a service never promised."""
    runs.add("a", None)
    launch = remote.launch
    remote.launch = lambda key, payload: launch(key, payload) and id
    assert "expected the id of the run" in runs.reconcile().troubles[0]
    assert runs.reconcile() == type(runs.reconcile())()
    assert runs.status("a")[0] == "launched"
    assert remote.launches == ["a"]


def test_a_run_that_is_listed_under_another_id_is_not_launched_again(runs, remote):
    """It has our key."""
    runs.add("a", None)
    runs.reconcile()
    remote.kept = {"renamed": replace(remote.kept["r1"], id="renamed")}
    assert runs.reconcile() == type(runs.reconcile())()
    assert (remote.launches, list(remote.kept)) == (["a"], ["renamed"])


@pytest.mark.parametrize("status", ["paused", "DONE", None])
def test_a_state_that_was_never_promised_is_told(runs, remote, status):
    """It was taken for running, and would never have ended. The run is left alone."""
    runs.add("a", None)
    runs.reconcile()
    remote.says("r1", status)
    assert "expected one of waiting, running, done, failed, cancelled" in runs.reconcile().troubles[0]
    assert (remote.launches, list(remote.kept)) == (["a"], ["r1"])
    remote.says("r1", "done")
    assert runs.reconcile().done == ("a",)


@pytest.mark.parametrize(
    ("reason", "kept"),
    [
        ("\udc80\0", r"\udc80\0"),
        ("x" * 3_000_000, "x" * 1000),
        (None, ""),
        (137, "137"),
        ("password=hunter2", "password=[redacted]"),
    ],
    ids=["surrogate", "long", "none", "number", "secret"],
)
def test_no_reason_keeps_a_run_from_its_end(runs, remote, reason, kept):
    """What a tool has printed need not be text that a record holds; secrets stay out of it."""
    runs.add("a", None)
    runs.reconcile()
    remote.says("r1", RemoteStatus.FAILED, reason)
    assert runs.reconcile().failed == ("a",)
    assert runs.status("a") == ("failed", kept)


@pytest.mark.parametrize(
    "given",
    [
        None,
        [RemoteRun("r1", "a", RemoteStatus.RUNNING)],
        {"r1": None},
        {7: RemoteRun("7", "a", RemoteStatus.DONE)},
        {"r1": RemoteRun("r1", None, RemoteStatus.RUNNING)},
    ],
    ids=["none", "list", "no run", "no id", "no key"],
)
def test_a_list_that_is_none_changes_nothing(runs, remote, given):
    """Whatever was left out of it would have been launched again, and what carries no key removed."""
    runs.add("a", None)
    runs.reconcile()
    remote.runs = lambda: given
    with pytest.raises(UsageError, match=r"what runs\(\) gave"):
        runs.reconcile()
    assert runs.status("a")[0] == "launched"
    assert (remote.launches, list(remote.kept)) == (["a"], ["r1"])


def test_a_launch_without_an_answer_counts_as_one(runs, remote):
    """It is written down before it begins: a process that each launch kills would launch for ever."""

    def killed(key, payload):
        raise Killed

    remote.launch = killed
    runs.add("a", None)
    for _ in range(3):
        with pytest.raises(Killed):
            runs.reconcile()
    assert runs.reconcile().failed == ("a",)


def test_a_run_that_is_launched_again_under_its_old_id_stays(runs, remote):
    """A service may give a cancelled run its id back; it was listed before, and is not an orphan now."""
    runs.add("a", None)
    runs.reconcile()
    remote.says("r1", RemoteStatus.CANCELLED)

    def again(key, payload):
        remote.says("r1", RemoteStatus.RUNNING)
        return "r1"

    remote.launch = again
    report = runs.reconcile()
    assert (report.launched, report.removed) == (("a",), ())
    assert set(remote.kept) == {"r1"}
