"""A new kind of thing that can go wrong is one source; the engine does not change for it."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from made import KILL, saving
from test_engine import BROKEN, Scripted, struck

from chaoskit import faults
from chaoskit.core.errors import ScheduleError
from chaoskit.core.operation import Operation, Receipt
from chaoskit.core.result import Options
from chaoskit.core.schedule import Fault, Schedule, Strike
from chaoskit.explore.border import CaseSource, Note, Planned, Recording, World
from chaoskit.explore.case import Question
from chaoskit.explore.engine import Explorer
from chaoskit.explore.job import Job
from chaoskit.explore.observation import Observation
from chaoskit.explore.sources import Offers, sources_of

KILLS = Offers(KILL)


@dataclass(frozen=True)
class Damaged(World):
    """A file that comes to harm while the program is not running: no more than a world must say."""

    hit: Operation
    spelled: Strike

    @property
    def run(self) -> int:
        return 1

    @property
    def strike(self) -> Strike:
        return self.spelled

    @property
    def blamed(self) -> Operation:
        return self.hit

    @property
    def content(self) -> Hashable:
        return str(self.spelled)

    @property
    def promised(self) -> tuple[Any, ...]:
        return ()

    def build(self, path: str) -> tuple[Receipt, ...]:
        return (Receipt(str(self.spelled), str(self.hit), "one bit flipped"),)


@dataclass
class Damage(CaseSource):
    """Knows a fault of which the engine has never heard. ``followed`` asks for what comes behind kills."""

    followed: bool = False
    noted: list[Planned] = field(default_factory=list)

    def cases(self, recording: Recording) -> Iterator[Planned]:
        yield from self._behind(Schedule(), recording)

    def follows(self, planned: Planned) -> bool:
        return self.followed and planned.world is None and planned.schedule.strikes[0].point.call == "write"

    def note(self, planned: Planned) -> Note | None:
        self.noted.append(planned)
        return None

    def after(self, before: Planned, recording: Recording) -> Iterator[Planned]:
        yield from self._behind(before.schedule, recording)

    def _behind(self, before: Schedule, recording: Recording) -> Iterator[Planned]:
        for operation, point in zip(recording.trace, recording.points, strict=True):
            if operation.call == "rename":
                strike = Strike(point, Fault("power_loss", "flipped"))
                yield Planned(Schedule((*before, strike)), Damaged(operation, strike))


def explored(source: CaseSource, *, depth: int = 1, broken: str = "flipped") -> Any:
    def answer(job: Job, attempt: int) -> Observation:
        return struck(job, failure=BROKEN if broken in str(job.schedule) else None)

    options = Options(timeout=1.0, depth=depth)
    question = Question("t.py::test", KILL, (KILLS, source), options)
    return Explorer(question, Scripted(saving("a"), answer)).explore(Observation(trace=saving("a")))


def test_a_source_with_nothing_but_cases_is_explored_and_merged() -> None:
    """Its world has no parts and no models; it gets its verdict, its finding and its timeline."""
    result = explored(Damage())
    [finding] = result.findings
    assert finding.schedule == "rename(a -> final)#1=power_loss[flipped]"
    assert (finding.call, finding.advice, finding.models, finding.by_model) == ("rename", None, (), {})
    assert (finding.reproduced, finding.smallest) == (True, None)
    [case] = [case for case in result.cases if case.verdict == "violated"]
    assert case.timeline is not None
    assert case.timeline.entries[-1].struck == "effect"


def test_what_a_source_asks_to_follow_is_recorded_and_nothing_else() -> None:
    """One case behind the one kill that it wants; the other kills are not run again for it."""
    source = Damage(followed=True)
    result = explored(source, broken="none")
    pairs = [case.schedule for case in result.cases if ";" in case.schedule]
    assert pairs == ["write(a)#1=kill; rename(a -> final)#1=power_loss[flipped]"]
    assert [str(planned.schedule) for planned in source.noted] == ["write(a)#1=kill"]


def test_nothing_is_followed_that_no_source_asks_for() -> None:
    """A default costs no execution."""
    source = Damage()
    result = explored(source, broken="none")
    assert [case.schedule for case in result.cases if ";" in case.schedule] == []
    assert source.noted == []


@pytest.mark.parametrize(
    ("asked", "replay", "kinds"),
    [
        (faults.disk(), "", ["Offers"]),
        (faults.power_loss(), "", ["Offers", "CrashSource"]),
        (faults.fsync_lies(), "", ["Offers", "CrashSource"]),
        (faults.disk(), "write(a)#1=EIO", ["Offers"]),
        (faults.disk(), "promise()#1=power_loss[all]", ["Offers", "CrashSource"]),
    ],
)
def test_the_sources_are_those_that_the_faults_need(
    asked: faults.FaultSet, replay: str, kinds: list[str]
) -> None:
    """A schedule to replay brings the source that can say what is wrong with it."""
    made = sources_of(asked, ("ext4",), Schedule.parse(replay))
    assert [type(one).__name__ for one in made] == kinds


@pytest.mark.parametrize("replay", ["end()#1=power_loss[all]", "fsync(a)#1=EIO; end()#1=power_loss[all]"])
def test_a_state_that_no_fault_of_the_scenario_leads_to_is_refused_by_its_source(replay: str) -> None:
    """Although the scenario loses no power: the error still says what the schedule would have needed."""
    options = Options(timeout=1.0, replay=Schedule.parse(replay))
    sources = sources_of(faults.disk(), ("ext4",), options.replay)
    question = Question("t.py::test", faults.disk(), sources, options)
    with pytest.raises(ScheduleError, match=r"names a crash state|expected the family fsync_lies"):
        Explorer(question, Scripted(saving("a"))).explore(Observation(trace=saving("a")))
