"""What runs cases: the border, and running them here one after the other."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Protocol

from chaoskit.core.case import RunSummary
from chaoskit.explore.job import Job
from chaoskit.explore.observation import Observation


class Watch(Protocol):
    """Told by a case how far it is."""

    def expect(self, seconds: float) -> None:
        """From now on the case counts as hung after ``seconds``."""

    def tell(self, runs: tuple[RunSummary, ...]) -> None:
        """These runs are over; what is told is known even if the case's process then dies."""


RunOne = Callable[[Job, Watch], Observation]


Observations = Generator[tuple[int, Observation], None, None]
"""Numbers of jobs with what they showed. Closing it ends everything that is still under way."""


class Executor(Protocol):
    """Runs jobs and gives each number and observation back, in any order, each once."""

    def run(self, jobs: Sequence[Job]) -> Observations: ...


class Patience:
    """A watch that waits for ever: for a case in the process of the test itself."""

    def expect(self, seconds: float) -> None:
        """Do nothing."""

    def tell(self, runs: tuple[RunSummary, ...]) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True)
class Serial:
    """Runs jobs here, one after the other; errors that ``run_one`` lets through end it."""

    run_one: RunOne

    def run(self, jobs: Sequence[Job]) -> Observations:
        for number, job in enumerate(jobs):
            yield number, self.run_one(job, Patience())
