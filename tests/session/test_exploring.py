"""Both fronts build an exploration in one place, so what holds for a test holds for a program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from chaoskit import faults
from chaoskit.core.errors import ScheduleError
from chaoskit.core.schedule import Fault, Schedule
from chaoskit.faults.power import DEFAULT_MODELS
from chaoskit.inject.base import TIMEOUT, Backend, Check, Command, Plan, Ran
from chaoskit.session.exploring import Exploration, Request, Specimen
from chaoskit.session.spec import ScenarioSpec

TEST = Specimen("t.py::test", "/app/t.py", 7, "app/t.py::test")


@dataclass
class Weak:
    """A backend that can kill and nothing else."""

    name: str = "weak"

    def unavailable(self) -> str | None:
        return None

    def time_is_real(self) -> str | None:
        return "it has no clock"

    def clocks_cannot_be_set(self) -> str | None:
        return "it has no clock"

    def examine(self) -> Sequence[Check]:
        return ()

    def check(self, fault: Fault) -> None:
        if fault.name != "kill":
            raise ScheduleError(f"{fault} is beyond the weak backend")

    def run(self, work: Callable[[], Any] | Command, plan: Plan) -> Ran:
        raise NotImplementedError


def exploration(replay: str = "", **changes: Any) -> Exploration:
    backend: Backend = Weak()  # type: ignore[assignment]
    spec = replace(ScenarioSpec.checked((faults.disk(),), {}), **changes)
    request = Request(seed=3, workers=2, replay=Schedule.parse(replay) if replay else None)
    return Exploration(TEST, spec, request, backend)


def test_the_question_has_all_that_was_asked_for() -> None:
    """What a front says of the test, the scenario and the session arrives at the engine, each once."""
    question = exploration("write(a)#1=kill", depth=2, budget=9, strike_recovery=True).question(0.1)
    assert (question.nodeid, question.file, question.line) == ("t.py::test", "/app/t.py", 7)
    assert (question.seed, question.backend, question.strike_recovery) == (3, "weak", True)
    options = question.options
    assert (options.depth, options.budget, options.workers, options.test) == (2, 9, 2, "app/t.py::test")
    assert options.replay == Schedule.parse("write(a)#1=kill")
    assert options.model == DEFAULT_MODELS
    assert options.faults == "faults.disk()"


@pytest.mark.parametrize(
    ("given", "seconds", "baseline", "cases"),
    [(None, 0.01, TIMEOUT, 10.0), (None, 2.0, TIMEOUT, 40.0), (5.0, 2.0, 5.0, 5.0)],
)
def test_a_case_may_take_a_multiple_of_the_baseline(
    given: float | None, seconds: float, baseline: float, cases: float
) -> None:
    """Unless the scenario says how long; the baseline itself has the default, since nothing is known yet."""
    made = exploration(timeout=given)
    assert made.baseline.timeout == baseline
    assert made.question(seconds).options.timeout == cases


def test_the_baseline_is_recorded_and_nothing_strikes_in_it() -> None:
    """Its job expects nothing: it is what all others are compared with."""
    job = exploration().baseline
    assert (job.record, len(job.schedule), job.expected, job.world) == (True, 0, None, None)


def test_a_fault_that_the_backend_cannot_make_is_refused_before_anything_runs() -> None:
    """A power loss is the explorer's own, so no backend is asked for it."""
    with pytest.raises(ScheduleError, match="EIO is beyond the weak backend"):
        exploration("write(a)#1=kill; write(b)#1=EIO")
    exploration("write(a)#1=kill; write(b)#1=power_loss[all]")
