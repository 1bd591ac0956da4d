"""Runs elsewhere: none lost, none launched twice while it is known, orphans removed; killed at each step."""

from __future__ import annotations

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
