"""Running cases: the border, and an executor that runs them here, one after the other."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from chaoskit.core.case import RunSummary
from chaoskit.explore.job import Job
from chaoskit.explore.observation import Observation

TURN = ".turn"
"""Suffix of the file beside a directory whose lock lets cases take turns there."""


class Watch(Protocol):
    """Receives the progress of a case."""

    def expect(self, seconds: float) -> None:
        """From now on the case counts as hung after ``seconds``."""

    def tell(self, runs: tuple[RunSummary, ...]) -> None:
        """These runs are over; this is known even if the case's process dies afterwards."""


RunOne = Callable[[Job, Watch], Observation]


Observations = Generator[tuple[int, Observation], None, None]
"""Job numbers and their observations. Closing it ends everything that is still under way."""


Wanted = Callable[[int], bool]
"""Takes the number of a job that has not begun; returns True if the job must still run."""


def always(number: int) -> bool:
    """Return True: run every job."""
    return True


class Executor(Protocol):
    """Runs jobs and yields the number and observation of each once, in any order.

    A job that is no longer ``wanted`` when its turn comes is left out: what other jobs showed may decide
    that. Jobs that were handed out already are run all the same.
    """

    def run(self, jobs: Sequence[Job], wanted: Wanted = always) -> Observations: ...


class Patience:
    """A watch that waits forever, for a case in the test's own process."""

    def expect(self, seconds: float) -> None:
        """Do nothing."""

    def tell(self, runs: tuple[RunSummary, ...]) -> None:
        """Do nothing."""


def executed(run_one: RunOne, job: Job, watch: Watch, *, alone: bool = False) -> Observation:
    """Run a job in a directory where its verdict is valid; ``alone`` says that nothing else runs meanwhile.

    A world whose content mentions its directory is run there. Any other may mention it in a form that is not
    recognised, so if it breaks elsewhere it is run again at home, and that observation counts. All others run
    in parallel.
    """
    world = job.world
    if world is None or not world.home:
        return run_one(job, watch)
    # On another machine there is no such directory. Here it may be missing for a moment, while the case whose
    # turn it is makes it again.
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
    # Only the first failure of a kind has its text.
    if again.failure == replace(before, text=""):
        return replace(again, failure=before)
    return again


@dataclass(frozen=True, slots=True)
class Serial:
    """Runs jobs here, one after the other; an error that ``run_one`` raises ends it."""

    run_one: RunOne

    def run(self, jobs: Sequence[Job], wanted: Wanted = always) -> Observations:
        for number, job in enumerate(jobs):
            if wanted(number):
                yield number, executed(self.run_one, job, Patience(), alone=True)
