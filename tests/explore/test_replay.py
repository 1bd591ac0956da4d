"""A replay answers with one run of the case that was asked for, and shows that run."""

from __future__ import annotations

from dataclasses import replace

from made import KILL, saving
from test_engine import BROKEN, Scripted, explore, struck

from chaoskit.core.result import Options, ScenarioResult
from chaoskit.core.schedule import Schedule
from chaoskit.explore.job import Job
from chaoskit.explore.observation import Observation

LINE = "rename(a.tmp -> final)#1=kill"


def told(options: Options) -> tuple[ScenarioResult, list[Job]]:
    """The result of a scenario that :data:`LINE` breaks, and the jobs with a fault in the order they ran."""
    jobs = []

    def answer(job: Job, attempt: int) -> Observation:
        jobs.append(job)
        return struck(job, failure=BROKEN if str(job.schedule) == LINE else None)

    return explore(Scripted(saving("a.tmp"), answer), KILL, options=options), jobs


def test_a_replay_shows_the_run_that_broke_and_makes_no_other() -> None:
    """Its timeline is that of a sweep, which runs the case once more to record it; the recovery is in it."""
    swept, jobs = told(Options(timeout=1.0))
    assert [str(job.schedule) for job in jobs].count(LINE) == 2
    replayed, jobs = told(Options(timeout=1.0, replay=Schedule.parse(LINE)))
    assert [(str(job.schedule), job.record, job.strike_recovery) for job in jobs] == [(LINE, True, True)]
    (shown,) = replayed.cases
    (broke,) = [case for case in swept.cases if case.verdict == "violated"]
    assert shown.timeline == broke.timeline is not None
    assert shown.timeline.entries
    assert replace(shown, index=broke.index, seconds=0.0) == replace(broke, seconds=0.0)


def test_the_finding_of_a_replay_does_not_say_that_it_was_tried_twice() -> None:
    """It was run once: a replay is itself the second try of what a sweep has found."""
    swept, replayed = (told(Options(timeout=1.0, replay=one))[0] for one in (None, Schedule.parse(LINE)))
    assert [finding.reproduced for finding in swept.findings] == [True]
    assert [finding.reproduced for finding in replayed.findings] == [None]
