"""Crash states made smaller: what is left of a large one, whom it blames, and that it replays."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from crash_recorder import Recorder
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from programs import PROGRAMS, Program
from reference import freeze
from test_oracle import _OPS, few_steps, referee, run

from chaoskit import faults
from chaoskit.core.case import CaseFailure, RunSummary
from chaoskit.core.evidence import EACH
from chaoskit.core.operation import Trace
from chaoskit.core.result import Options, ScenarioResult
from chaoskit.core.schedule import Schedule
from chaoskit.explore.border import Planned, Recording
from chaoskit.explore.case import Question
from chaoskit.explore.crash import CrashSource, CrashStates, crash_states, models_named, script, state_tree
from chaoskit.explore.crash.aftermath import Aftermath
from chaoskit.explore.crash.states import CrashState
from chaoskit.explore.crash.steps import mask_of
from chaoskit.explore.engine import Explorer
from chaoskit.explore.execute import Wanted, always
from chaoskit.explore.job import Job
from chaoskit.explore.observation import Observation
from chaoskit.report.explain import finding_text

REAL = ("ext4", "xfs", "btrfs")
Check = Callable[[Mapping[str, object], int], str]
"""Given the tree and how many values were promised: how the test breaks, or nothing."""


# --- whole explorations: recorded calls, built worlds, a scripted check --------------------------------


@dataclass
class Judging:
    """An executor that builds each world and has it checked."""

    recorded: Trace
    place: Path
    check: Check

    def run(
        self, jobs: Sequence[Job], wanted: Wanted = always
    ) -> Generator[tuple[int, Observation], None, None]:
        for number, job in enumerate(jobs):
            if job.world is None:
                yield number, Observation(trace=self.recorded)
                continue
            self.place.mkdir(exist_ok=True)
            receipts = job.world.build(os.fspath(self.place))
            broken = self.check(tree(self.place), len(job.world.promised))
            failure = CaseFailure("invariant", broken, broken) if broken else None
            texts = tuple(receipt.strike for receipt in receipts)
            run = RunSummary(1, "lost power", receipts=receipts)
            yield number, Observation((run,), failure, texts, len(texts))


def tree(path: Path) -> dict[str, object]:
    return {p.name: tree(p) if p.is_dir() else p.read_bytes() for p in path.iterdir()}


class Largest(CrashSource):
    """Offers only those of the states that lack most: as if the budget had been spent on them."""

    def __init__(self, models: tuple[str, ...], at_least: int, only: str) -> None:
        super().__init__(faults.power_loss(), models)
        self._at_least = at_least
        self._only = only

    def cases(self, recording: Recording) -> Iterator[Planned]:
        for one in super().cases(recording):
            assert one.world is not None
            if len(one.world.missing) >= self._at_least and one.world.operation.call.startswith(self._only):
                yield one


def explored(
    place: Path,
    start: Mapping[str, bytes],
    work: Callable[[Recorder], None],
    check: Check,
    models: tuple[str, ...] = REAL,
    *,
    at_least: int = 0,
    replay: Schedule | None = None,
    budget: int | None = None,
    only: str = "",
) -> ScenarioResult:
    home = place / "home"
    home.mkdir(parents=True)
    for name, data in start.items():
        Recorder(home).put(name, data)
    source = Largest(models, at_least, only)
    source.before_run(1, os.fspath(home))
    recorder = Recorder(home)
    work(recorder)
    question = Question(
        "test_a.py::test_a",
        faults.power_loss(),
        (source,),
        Options(timeout=1.0, model=models, budget=budget, replay=replay),
    )
    executor = Judging(recorder.trace(), place / "case", check)
    return Explorer(question, executor).explore(Observation(trace=recorder.trace()))


OTHERS = tuple(f"log{n}" for n in range(12))
START = dict.fromkeys((*OTHERS, "state"), b"old " * 100)


def overwrite(r: Recorder, name: str) -> None:
    fd = r.open(name, os.O_WRONLY)
    r.write(fd, b"new " * 100)
    r.close(fd)


def many_unsynced(r: Recorder) -> None:
    """Thirteen files are written over in place and none is synced; only one of them matters."""
    for name in (*OTHERS[:6], "state", *OTHERS[6:]):
        overwrite(r, name)
    r.promise("state")


def state_is_new(found: Mapping[str, object], promised: int) -> str:
    return "lost" if promised and found.get("state") != b"new " * 100 else ""


def test_of_thirteen_missing_writes_only_the_one_that_matters_is_dropped(tmp_path: Path) -> None:
    """Only states in which all are missing were shown; the finding lacks one of them and blames its call."""
    result = explored(tmp_path, START, many_unsynced, state_is_new, at_least=13)
    (finding,) = result.findings
    assert finding.schedule == "promise()#1=power_loss[drop 7]"
    assert finding.shrunk_from
    assert finding.smallest is True
    assert set(finding.models) == set(REAL) == set(finding.by_model)
    assert finding.advice is not None
    assert finding.advice.operation == "write(state)#1 = 400"
    assert (
        finding.advice.text
        == "what was written to `state` was acknowledged (promise()#1 = 0) before it was synced"
    )
    assert finding.shrunk_from in finding.schedules
    assert result.shrinking is not None
    assert 0 < result.shrinking.cases <= 12 < result.shrinking.limit_each == EACH
    assert result.budget.run == len(result.cases)
    assert result.budget.possible == result.budget.run + sum(result.budget.left_out.values())


def test_what_the_budget_left_out_and_is_run_all_the_same_is_counted_once(tmp_path: Path) -> None:
    """Cases run and left out still add up to those possible, and so do the crash states."""
    found = [
        explored(tmp_path / f"{n}", START, many_unsynced, state_is_new, budget=n, only="promise")
        for n in range(1, 7)
    ]
    assert any(result.shrinking is not None and result.shrinking.cases for result in found)
    for result in found:
        budget, states = result.budget, result.crash_states
        assert states is not None
        assert budget.run == len(result.cases)
        assert budget.possible == budget.run + sum(budget.left_out.values())
        assert states.distinct == budget.possible == states.checked + states.left_out


def test_the_first_look_would_have_blamed_another_call(tmp_path: Path) -> None:
    """What the test above is about: in the large state the first missing write is the one that is named."""
    result = explored(tmp_path, START, many_unsynced, state_is_new, at_least=13)
    (finding,) = result.findings
    large = next(case for case in result.cases if case.schedule == finding.shrunk_from)
    assert large.finding == finding.index
    again = explored(
        tmp_path / "again", START, many_unsynced, state_is_new, replay=Schedule.parse(large.schedule)
    )
    (unshrunk,) = again.findings
    assert unshrunk.advice is not None
    assert unshrunk.advice.operation == "write(log0)#1 = 400"
    assert again.shrinking is None


def test_a_smaller_state_replays_although_no_family_has_it(tmp_path: Path) -> None:
    """Its name alone is enough, and names what it named."""
    result = explored(tmp_path, START, pairs, both_gone, at_least=13)
    (finding,) = result.findings
    assert finding.schedule == "promise()#1=power_loss[drop 4,10]"
    again = explored(tmp_path / "again", START, pairs, both_gone, replay=Schedule.parse(finding.schedule))
    (replayed,) = again.findings
    assert replayed.schedule == finding.schedule
    assert replayed.models == finding.models
    assert again.cases[0].verdict == "violated"


def pairs(r: Recorder) -> None:
    for name in (*OTHERS, "state"):
        overwrite(r, name)
    r.promise("both")


def both_gone(found: Mapping[str, object], promised: int) -> str:
    old = b"old " * 100
    return "both" if promised and found.get("log3") == found.get("log9") == old else ""


def ordered(r: Recorder) -> None:
    """Metadata in order: on ext4 and xfs a later change is never there without an earlier one."""
    for n in range(5):
        r.mkdir(f"d{n}")
    r.promise("d2")


def third_is_there(found: Mapping[str, object], promised: int) -> str:
    return "gone" if promised and "d2" not in found else ""


def test_what_is_missing_only_because_of_the_order_is_not_blamed(tmp_path: Path) -> None:
    """Without the third directory the fourth and fifth cannot be there; the third is to blame."""
    result = explored(tmp_path, {}, ordered, third_is_there, at_least=5)
    (finding,) = result.findings
    assert finding.schedule in ("promise()#1=power_loss[drop 1-3]",)
    assert finding.advice is not None
    assert finding.advice.operation == "mkdir(d2)#1 = 0"


def test_data_that_waits_for_a_directory_is_not_blamed(tmp_path: Path) -> None:
    """On btrfs new data shows only together with all metadata before it; the directory was the reason."""

    def work(r: Recorder) -> None:
        r.mkdir("d2")
        overwrite(r, "state")
        r.promise("d2")

    result = explored(tmp_path, START, work, third_is_there, ("btrfs",))
    (finding,) = result.findings
    assert finding.schedule == "promise()#1=power_loss[only-synced btrfs]"
    assert finding.call == "mkdir"
    assert finding.advice is not None
    assert finding.advice.operation == "mkdir(d2)#1 = 0"


def test_no_model_is_lost_that_only_a_larger_state_has(tmp_path: Path) -> None:
    """Under ``strict`` one missing directory is enough, on ext4 the later ones go with it: both are said."""
    result = explored(tmp_path, {}, ordered, third_is_there, ("ext4", "strict"))
    (finding,) = result.findings
    assert finding.models == ("ext4", "strict")
    assert finding.schedule == "promise()#1=power_loss[drop 3]"
    assert finding.by_model == {
        "ext4": "promise()#1=power_loss[drop 1-3]",
        "strict": "promise()#1=power_loss[drop 3]",
    }
    assert "on ext4 more is missing with it: promise()#1=power_loss[drop 1-3]" in finding_text(
        result, finding
    )


def test_the_timeline_of_a_power_loss_ends_where_the_power_went(tmp_path: Path) -> None:
    """The run was not executed in that case: what it had done is taken from the recording."""
    result = explored(tmp_path, {}, ordered, third_is_there, ("strict",))
    (finding,) = result.findings
    (shown,) = [case for case in result.cases if case.timeline is not None]
    assert shown.schedule == finding.schedule
    assert shown.timeline is not None
    told = [point.name for point in result.points]
    *before, last = shown.timeline.entries
    assert [*(entry.operation for entry in before), last.operation] == told[: told.index("promise()#1") + 1]
    assert not any(entry.struck for entry in before)
    assert last.struck.startswith("power lost with 1 of ")


def test_what_breaks_with_nothing_missing_is_put_down_to_the_stop(tmp_path: Path) -> None:
    """Missing steps are no reason where the test breaks with all of them there."""

    def torn_pair(found: Mapping[str, object], promised: int) -> str:
        return "between" if found.get("state") != found.get("log11") else ""

    def work(r: Recorder) -> None:
        for name in (*OTHERS[:11], "state", "log11"):
            overwrite(r, name)

    result = explored(tmp_path, START, work, torn_pair, at_least=1)
    kinds = {finding.schedule: finding.advice.kind for finding in result.findings if finding.advice}
    assert kinds["write(state)#1=power_loss[all]"] == "stopped-between"
    there = {
        case.finding for case in result.cases if case.finding is not None and "write(state)" in case.schedule
    }
    assert len(there) == 1


def test_another_way_to_break_that_comes_up_on_the_way_is_kept_and_made_smaller(tmp_path: Path) -> None:
    """Nothing that was seen to break is dropped; what one missing sync does is one finding."""

    def check(found: Mapping[str, object], promised: int) -> str:
        old = [name for name in START if found.get(name) == b"old " * 100]
        return "many" if len(old) > 8 else "log5" if promised and "log5" in old else ""

    result = explored(tmp_path, START, many_unsynced, check, at_least=13)
    assert {case.failure.message for case in result.cases if case.failure} == {"many", "log5"}
    (finding,) = result.findings
    assert (finding.failure.message, finding.schedule) == ("log5", "promise()#1=power_loss[drop 8]")


# --- one state at a time, against the reference and the planted programs -------------------------------


EACH_PROGRAM = pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.name.replace(" ", "-"))
ALL_MODELS = ("ext4", "ext4-ordered", "xfs", "btrfs", "portable", "strict")


@EACH_PROGRAM
def test_a_cut_allows_what_the_enumeration_says(
    program: Program, states_of: Callable[..., CrashStates]
) -> None:
    """Under at least one of the models; whole steps under no other (other steps may leave the same)."""
    states = states_of(program.setup, program.wrong, models=ALL_MODELS)
    cuts: dict[int, Aftermath] = {}
    for state in states:
        at = state.moment.operation
        cut = cuts.setdefault(at, Aftermath(states.script, models_named(ALL_MODELS), at))
        allowed = cut.allowing(state.persisted, state.garbage)
        whole = not state.garbage and not state.persisted & ~state.moment.present
        assert set(state.models) & set(allowed)
        assert set(state.models) >= set(allowed) or not whole


@pytest.mark.parametrize("model", ALL_MODELS)
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(ops=st.lists(_OPS, min_size=2, max_size=8), data=st.data())
def test_whatever_is_given_back_the_state_is_legal(
    model: str, ops: list[tuple[object, ...]], data: st.DataObject
) -> None:
    """Any part of what is missing may be asked for: what comes back is among the states of the reference."""
    trace, before = run(ops)
    assume(few_steps(trace, before))
    states = crash_states(script(trace, before), model)
    legal = referee(trace, model)
    for state in states:
        if not state.dropped:
            continue
        cut = Aftermath(states.script, models_named(model), state.moment.operation)
        wanted = data.draw(st.sets(st.sampled_from(state.dropped)))
        smaller = cut.lacking(state, mask_of(wanted), states.tables)
        assert smaller is not None
        assert set(wanted) <= set(smaller.dropped) <= set(state.dropped)
        assert smaller.models == (model,)
        assert (freeze(state_tree(states, smaller)), smaller.moment.promises) in legal


@EACH_PROGRAM
def test_something_is_always_to_blame(program: Program, states_of: Callable[..., CrashStates]) -> None:
    """Of what is missing at least one step is not missing because of another."""
    states = states_of(program.setup, program.wrong, models=ALL_MODELS)
    for state in states:
        if state.dropped:
            cut = Aftermath(states.script, models_named(ALL_MODELS), state.moment.operation)
            assert mask_of(state.dropped) & ~cut.implied(state)


def test_where_everything_seems_implied_nothing_is(
    states_of: Callable[..., CrashStates], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two models that put two steps in opposite orders leave both to blame, not neither."""
    states = states_of(lambda r: r.put("a", b"1"), lambda r: (r.put("b", b"2"), r.put("c", b"3")))
    state = max(states, key=lambda state: len(state.dropped))
    cut = Aftermath(states.script, models_named(("ext4", "xfs")), state.moment.operation)
    first, last = state.dropped[0], state.dropped[-1]
    for order, (one, other) in zip(cut.orders, ((first, last), (last, first)), strict=True):
        order.need = [1 << index for index in range(len(order.need))]
        order.need[one] |= 1 << other
    monkeypatch.setattr(cut, "_allowing", lambda state: ("ext4", "xfs"))
    only = CrashState(state.moment, state.moment.present & ~(1 << first | 1 << last), 0, 0, ("ext4", "xfs"))
    assert cut.implied(only) == 0
