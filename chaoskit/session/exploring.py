"""The building of one exploration, for whichever front asks for it: the plugin or the command line."""

from __future__ import annotations

from dataclasses import dataclass

from chaoskit.core.result import Options
from chaoskit.core.schedule import Schedule
from chaoskit.core.words import PYTEST, Words
from chaoskit.explore.case import Question
from chaoskit.explore.engine import Explorer
from chaoskit.explore.execute import Executor
from chaoskit.explore.job import Job
from chaoskit.explore.sources import sources_of
from chaoskit.explore.sweep import Progress
from chaoskit.inject import backends
from chaoskit.inject.base import TIMEOUT, Backend
from chaoskit.session.spec import ScenarioSpec

_LEAST_TIMEOUT = 10.0
_TIMES_THE_BASELINE = 20.0
"""A machine can be this much slower for one case than for another, and nothing hangs."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for a whole session and not by one scenario.

    ``listing`` stops before the first case; ``replay`` runs that schedule alone.
    """

    seed: int = 0
    workers: int = 1
    replay: Schedule | None = None
    listing: bool = False


@dataclass(frozen=True, slots=True)
class Specimen:
    """What is explored, in the words of its front.

    ``file`` and ``line`` are where a test is; ``test`` or ``command`` how it is named to be run again (see
    :class:`~chaoskit.core.result.Options`).
    """

    name: str
    file: str = ""
    line: int = 0
    test: str = ""
    command: str = ""
    words: Words = PYTEST


class Exploration:
    """All that it takes to explore one specimen, once. ``sources`` have to see its first recording."""

    def __init__(self, specimen: Specimen, spec: ScenarioSpec, request: Request, backend: Backend) -> None:
        """Refuse what can be refused before anything runs.

        Raises:
            ScheduleError: for a schedule to replay with a fault that ``backend`` cannot make happen.
        """
        self.specimen = specimen
        self.spec = spec
        self.request = request
        self.backend = backend
        # Before anything runs: the first recording may take minutes.
        if request.replay is not None:
            backends.check(request.replay, backend)
        self.sources = sources_of(spec.faults, spec.model, request.replay)

    @property
    def baseline(self) -> Job:
        """What the first recording is asked. How long the test takes is not known yet."""
        # Twenty times an unknown time is no bound, so the first recording has a fixed one.
        timeout = self.spec.timeout or TIMEOUT
        return Job(record=True, timeout=timeout, strike_recovery=self.spec.strike_recovery)

    def question(self, seconds: float) -> Question:
        """What the engine is to find out, given how long the first recording took."""
        return Question(
            nodeid=self.specimen.name,
            faults=self.spec.faults,
            sources=self.sources,
            options=self._options(seconds),
            seed=self.request.seed,
            backend=self.backend.name,
            file=self.specimen.file,
            line=self.specimen.line,
            listing=self.request.listing,
            strike_recovery=self.spec.strike_recovery,
            words=self.specimen.words,
        )

    def explorer(self, seconds: float, executor: Executor, progress: Progress | None = None) -> Explorer:
        """The engine, ready to be given the first recording, which took so many seconds."""
        return Explorer(self.question(seconds), executor, progress)

    def _options(self, seconds: float) -> Options:
        spec = self.spec
        return Options(
            faults=repr(spec.faults),
            depth=spec.depth,
            budget=spec.budget,
            workers=self.request.workers,
            # Under faults a program retries and waits, so it may take far longer than without.
            timeout=spec.timeout or max(_LEAST_TIMEOUT, _TIMES_THE_BASELINE * seconds),
            model=spec.model,
            allow_inconclusive=spec.allow_inconclusive,
            invariants=tuple(getattr(one, "__name__", repr(one)) for one in spec.invariants),
            replay=self.request.replay,
            command=self.specimen.command,
            test=self.specimen.test,
        )
