"""How many crash states there are, and how many of them were checked, against an independent count."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from crash_recorder import Recorder
from reference import Judge, World

from chaoskit import faults
from chaoskit.core.case import RunSummary
from chaoskit.core.operation import Receipt, Trace
from chaoskit.core.result import Options, ScenarioResult
from chaoskit.explore.case import Question
from chaoskit.explore.crash import CrashSource
from chaoskit.explore.engine import Explorer
from chaoskit.explore.execute import Wanted, always
from chaoskit.explore.job import Job
from chaoskit.explore.observation import Observation
from chaoskit.explore.sources import Offers

START = {"state": b"old"}


def work(r: Recorder) -> None:
    """Few enough steps for all states; the second file has the content of the first, so trees are equal."""
    r.put("a", b"x" * 600)
    r.put("b", b"x" * 600)
    r.rename("b", "a")
    r.promise("a")


@dataclass
class Passing:
    """An executor in whose cases nothing breaks; those in ``unproven`` have no receipt."""

    recorded: Trace
    unproven: Callable[[str], bool] = lambda schedule: False

    def run(
        self, jobs: Sequence[Job], wanted: Wanted = always
    ) -> Generator[tuple[int, Observation], None, None]:
        for number, job in enumerate(jobs):
            if job.record:
                yield number, Observation(trace=self.recorded)
                continue
            texts = tuple(map(str, job.schedule))
            if any(map(self.unproven, texts)):
                texts = ()
            run = RunSummary(1, "lost power", receipts=tuple(Receipt(t, "", "") for t in texts))
            yield number, Observation(runs=(run,), struck=texts, reached=len(job.schedule))


def explored(place: Path, model: str, budget: int | None = None, **answers: object) -> ScenarioResult:
    for name, data in START.items():
        Recorder(place).put(name, data)
    asked = faults.power_loss()
    source = CrashSource(asked, (model,))
    source.before_run(1, os.fspath(place))
    recorder = Recorder(place)
    work(recorder)
    options = Options(timeout=1.0, budget=budget, allow_inconclusive=1.0)
    question = Question("test_a.py::test_a", asked, (source,), options)
    executor = Passing(recorder.trace(), **answers)  # type: ignore[arg-type]
    return Explorer(question, executor).explore(Observation(trace=recorder.trace()))


def counted_by_hand(place: Path, model: str) -> tuple[int, int]:
    """Possible and distinct, by brute force: every subset of steps after every call that did something."""
    recorder = Recorder(place)
    work(recorder)
    trace = recorder.trace()
    judge = Judge(World(trace, START), model)
    moved = {micro.op for micro in judge.world.micro} | {o.index for o in trace if o.call == "promise"}
    trees = [
        (tree, sum(o.call == "promise" for o in trace.operations[: op + 1]))
        for op in sorted(moved)
        for tree in judge.states(op)
    ]
    return len(trees), len(set(trees))


@pytest.mark.parametrize("model", ["ext4", "xfs", "btrfs"])
def test_the_four_counts_are_those_of_an_independent_count(model: str, tmp_path: Path) -> None:
    """Possible before equal states are merged, distinct after it, checked, and what the budget left."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    possible, distinct = counted_by_hand(tmp_path / "one", model)
    counts = explored(tmp_path / "two", model, budget=4).crash_states
    assert counts is not None
    assert (counts.possible, counts.distinct) == (possible, distinct)
    assert (counts.checked, counts.left_out) == (4, distinct - 4)
    assert len({counts.possible, counts.distinct, counts.checked, counts.left_out}) == 4


def test_without_a_budget_nothing_is_left_out(tmp_path: Path) -> None:
    """All distinct states are checked."""
    counts = explored(tmp_path, "ext4").crash_states
    assert counts is not None
    assert (counts.checked, counts.left_out) == (counts.distinct, 0)


def test_a_state_that_could_not_be_judged_was_not_checked(tmp_path: Path) -> None:
    """It counts as left out, whatever the budget."""
    counts = explored(tmp_path, "ext4", unproven=lambda schedule: schedule.startswith("write")).crash_states
    assert counts is not None
    assert counts.left_out > 0
    assert counts.checked + counts.left_out == counts.distinct


def test_without_power_loss_there_are_no_counts(tmp_path: Path) -> None:
    """Not zeroes: nobody asked."""
    asked = faults.kill()
    recorder = Recorder(tmp_path)
    work(recorder)
    question = Question("test_a.py::test_a", asked, (Offers(asked),), Options(timeout=1.0))
    result = Explorer(question, Passing(recorder.trace())).explore(Observation(trace=recorder.trace()))
    assert result.cases
    assert result.crash_states is None
