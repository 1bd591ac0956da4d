"""What runs cases: the border, and running them here one after the other."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from chaoskit.core.case import RunSummary
from chaoskit.explore.job import Job
from chaoskit.explore.observation import Observation

TURN = ".turn"
"""Ends the name of the file beside a directory by which cases take turns there."""


class Watch(Protocol):
    """Told by a case how far it is."""

    def expect(self, seconds: float) -> None:
        """From now on the case counts as hung after ``seconds``."""

    def tell(self, runs: tuple[RunSummary, ...]) -> None:
        """These runs are over; what is told is known even if the case's process then dies."""


RunOne = Callable[[Job, Watch], Observation]


Observations = Generator[tuple[int, Observation], None, None]
"""Numbers of jobs with what they showed. Closing it ends everything that is still under way."""


Wanted = Callable[[int], bool]
"""Takes the number of a job that has not begun; returns True if it is still to run."""


def always(number: int) -> bool:
    """True: every job is to be run."""
    return True


class Executor(Protocol):
    """Runs jobs and gives each number and observation back, in any order, each once.

    A job is left out if it is not ``wanted`` when its turn comes: what others showed may have decided that.
    Some were handed out before.
    """

    def run(self, jobs: Sequence[Job], wanted: Wanted = always) -> Observations: ...


class Patience:
    """A watch that waits for ever: for a case in the process of the test itself."""

    def expect(self, seconds: float) -> None:
        """Do nothing."""

    def tell(self, runs: tuple[RunSummary, ...]) -> None:
        """Do nothing."""


def executed(run_one: RunOne, job: Job, watch: Watch, *, alone: bool = False) -> Observation:
    """Run a job where its verdict is true; ``alone`` says that nothing else runs meanwhile.

    A world that tells of its directory is looked at there. Of any other that can't be ruled out either, since
    it may do so in a form that is not seen; so what is broken elsewhere is run once more at home, and counts
    as it is there. The rest runs beside each other.
    """
    world = job.world
    if world is None or not world.home:
        return run_one(job, watch)
    # On another machine there is no such place. Here it may be away for a moment, while a case that has its
    # turn there makes it again.
    place = os.path.dirname(world.home)
    if not os.path.isdir(place) and not os.path.exists(f"{place}{TURN}"):
        return run_one(job, watch)
    at_home = replace(job, home=world.home)
    if world.tells_of_home or alone or job.record:
        return run_one(at_home, watch)
    seen = run_one(job, watch)
    if seen.failure is None:
        return seen
    watch.expect(job.timeout)
    again, before = run_one(at_home, watch), seen.failure
    # Only the first failure of a kind has been given its text.
    if again.failure == replace(before, text=""):
        return replace(again, failure=before)
    return again


@dataclass(frozen=True, slots=True)
class Serial:
    """Runs jobs here, one after the other; errors that ``run_one`` lets through end it."""

    run_one: RunOne

    def run(self, jobs: Sequence[Job], wanted: Wanted = always) -> Observations:
        for number, job in enumerate(jobs):
            if wanted(number):
                yield number, executed(self.run_one, job, Patience(), alone=True)
