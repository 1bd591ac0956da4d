"""Runs on another machine under disk errors, kills and loss of power: each launched once, none forgotten.

The other machine is what was promised: its record is the one thing that no crash here takes back, and each
call to it is a point at which a fault can strike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from budgets import bounded

from chaoskit import Chaos, Outcome, faults, scenario
from chaoskit.runtime import Durability, RemoteRun, RemoteRuns, RemoteStatus, Store
from chaoskit.runtime.failures.taxonomy import ResilienceError

EVERYTHING = faults.disk() | faults.kill() | faults.power_loss()
TIMEOUT = 30
KEYS = ("a", "b")
RELAUNCHES = 1

Event = tuple[str, str]


class Remote:
    """A batch queue whose state follows from the calls that reached it. ``tell`` records one more."""

    def __init__(self, earlier: Iterable[Event], tell: Callable[[Event], None]) -> None:
        self.events = [event for event in earlier if event[0] in ("launch", "end", "remove")]
        self._tell = tell

    def _did(self, what: str, about: str) -> None:
        self._tell((what, about))
        self.events.append((what, about))

    def launch(self, key: str, payload: object) -> str:
        assert payload == f"sample {key}"
        self._did("launch", key)
        return f"r{len(self.launched)}"

    def end(self, id: str) -> None:
        """Not by a call of ours: the run is done."""
        self._did("end", id)

    def remove(self, id: str) -> None:
        self._did("remove", id)

    def runs(self) -> dict[str, RemoteRun]:
        kept = {
            f"r{at}": RemoteRun(f"r{at}", key, RemoteStatus.RUNNING)
            for at, key in enumerate(self.launched, start=1)
        }
        for what, about in self.events:
            if what == "end":
                kept[about] = replace(kept[about], status=RemoteStatus.DONE)
            elif what == "remove":
                kept.pop(about, None)
        return kept

    @property
    def launched(self) -> list[str]:
        return [about for what, about in self.events if what == "launch"]


def opened(directory: Path, durability: Durability = "power-loss") -> Store:
    # A short wait: a reconciliation goes on to the next run when the store is busy for one.
    return Store.open(directory / "store.db", durability=durability, lock_timeout=0.05, reserve=0)


def subject(store: Store, remote: Remote) -> RemoteRuns:
    return RemoteRuns(store, remote, name="lab", relaunches=RELAUNCHES)


def prepared(directory: Path) -> None:
    """Two runs to launch, durable."""
    with opened(directory) as store:
        runs = subject(store, Remote([], lambda event: None))
        for key in KEYS:
            runs.add(key, f"sample {key}")


Runs = Callable[[Store, Remote], RemoteRuns]


def work(
    directory: Path,
    promise: Callable[[object], None],
    make: Runs = subject,
    durability: Durability = "power-loss",
) -> None:
    """Launch both; the first ends, is acknowledged as done, and its results are fetched and removed."""
    remote = Remote([], promise)
    with opened(directory, durability) as store:
        runs = make(store, remote)
        runs.reconcile()
        # None, if the disk is at fault: what a reconciliation could not do is told in its report.
        for first, run in [*remote.runs().items()][:1]:
            remote.end(first)
            runs.reconcile()
            if runs.status(run.key) == ("done", ""):
                promise(("acknowledged", run.key))
                remote.remove(first)


def judge(chaos: Chaos, make: Runs = subject) -> None:
    """Each was launched once, whatever was struck; a result is removed by its owner alone."""
    remote = Remote(chaos.promised, lambda event: None)
    removed = [about for what, about in remote.events if what == "remove"]
    acknowledged = [about for what, about in chaos.promised if what == "acknowledged"]
    # Before anyone looks again: one of them has ended meanwhile, the other is still at work.
    for id, run in remote.runs().items():
        if run.key == KEYS[0]:
            remote.end(id)
    with opened(chaos.path) as store:
        runs = make(store, remote)
        for _ in range(3):
            report = runs.reconcile()
            assert report.troubles == ()
            assert report.removed == (), "the run or the results of one of ours were removed"
        assert sorted(remote.launched) == sorted(KEYS), "launched twice, or never"
        for id in remote.runs():
            remote.end(id)
        runs.reconcile()
        states = {key: runs.status(key) for key in KEYS}
        assert set(states.values()) == {("done", "")}, states
        assert len(removed) <= len(acknowledged), "removed before it was acknowledged"


@scenario(EVERYTHING, model="strict", timeout=TIMEOUT, budget=bounded(100))
def test_each_run_is_launched_once_and_its_results_stay(chaos: Chaos) -> None:
    """What was launched is found again by its key; what was acknowledged as done stays done."""
    prepared(chaos.path)
    outcome: Outcome = chaos.run(work, chaos.path, chaos.promise)
    assert outcome.error is None or isinstance(outcome.error, (ResilienceError, OSError))
    judge(chaos)


class Forgetful(Remote):
    """A queue that has forgotten each run by the next look."""

    def runs(self) -> dict[str, RemoteRun]:
        return {}


def try_on(directory: Path, promise: Callable[[object], None], make: Runs = subject) -> None:
    with opened(directory) as store:
        runs = make(store, Forgetful([], promise))
        for _ in range(RELAUNCHES + 2):
            runs.reconcile()


def judge_tries(chaos: Chaos, make: Runs = subject) -> None:
    """It is given up after as many launches as are allowed, those before the crash among them."""
    remote = Forgetful(chaos.promised, lambda event: None)
    with opened(chaos.path) as store:
        runs = make(store, remote)
        for _ in range(RELAUNCHES + 2):
            runs.reconcile()
        for key in KEYS:
            assert remote.launched.count(key) <= RELAUNCHES + 1, f"{key} was launched too often"
            status = runs.status(key)
            assert status is not None
            assert status[0] == "failed", "tried without end"


@scenario(EVERYTHING, model="strict", timeout=TIMEOUT, budget=bounded(80))
def test_launches_are_counted_before_they_are_made(chaos: Chaos) -> None:
    """A run that takes its launcher down each time ends nevertheless."""
    prepared(chaos.path)
    chaos.run(try_on, chaos.path, chaos.promise)
    judge_tries(chaos)


def add(directory: Path, promise: Callable[[object], None]) -> None:
    with opened(directory) as store:
        assert subject(store, Remote([], promise)).add("c", "sample c")
        promise(("added", "c"))


@scenario(EVERYTHING, model="strict", timeout=TIMEOUT, budget=bounded(40))
def test_a_run_that_was_acknowledged_will_be_launched(chaos: Chaos) -> None:
    """And adding it again after the crash does not make it two."""
    prepared(chaos.path)
    chaos.run(add, chaos.path, chaos.promise)
    remote = Remote([], lambda event: None)
    with opened(chaos.path) as store:
        runs = subject(store, remote)
        if chaos.promised:
            assert runs.status("c") == ("launching", "")
            assert not runs.add("c", "another")
        else:
            runs.add("c", "sample c")
        runs.reconcile()
    assert sorted(remote.launched) == ["a", "b", "c"]
