"""Building one exploration, for either front: the plugin or the command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from chaoskit.core.errors import BackendUnavailable, wrong
from chaoskit.core.evidence import Shard
from chaoskit.core.result import Options
from chaoskit.core.schedule import Schedule
from chaoskit.core.words import PYTEST, Words
from chaoskit.explore.case import Question
from chaoskit.explore.engine import Explorer
from chaoskit.explore.execute import Executor
from chaoskit.explore.job import Job
from chaoskit.explore.oracle import Onlooker
from chaoskit.explore.sources import sources_of
from chaoskit.explore.sweep import Progress
from chaoskit.faults.calls import TIME_CALLS
from chaoskit.faults.clocks import NAMES as CLOCK_FAULTS
from chaoskit.faults.inside import NOTHING_INWARD, inside_of
from chaoskit.inject import backends
from chaoskit.inject.base import TIMEOUT, Backend, VirtualTime
from chaoskit.inject.handlers import scan
from chaoskit.session.spec import REAL, ScenarioSpec

_LEAST_TIMEOUT = 10.0
"""Seconds that every case may take: a busy machine easily needs twenty times a few milliseconds."""
_TIMES_THE_BASELINE = 20.0
"""A case may take this many times as long as the baseline without counting as hung."""


@dataclass(frozen=True, slots=True)
class Request:
    """The options that hold for a whole session rather than for one scenario.

    ``first`` are schedules that are run before all others; ``exit_first`` ends a scenario with the first case
    that breaks. ``listing`` stops before the first case; ``replay`` runs that schedule alone. ``handlers``
    records which exception handlers run; ``audit`` finds out what each sync protects. ``shard`` is the part
    of each plan to run.
    """

    seed: int = 0
    workers: int = 1
    replay: Schedule | None = None
    listing: bool = False
    first: tuple[Schedule, ...] = ()
    exit_first: bool = False
    handlers: bool = False
    audit: bool = False
    shard: Shard | None = None

    def __post_init__(self) -> None:
        """Refuse a shard together with a question that one part of a plan cannot answer.

        Raises:
            UsageError: for a shard together with a replay, an audit, or an end at the first finding.
        """
        other = "a replay" if self.replay is not None else "an audit of syncs" if self.audit else ""
        other = other or ("an end at the first finding" if self.exit_first else "")
        if self.shard is not None and other:
            hint = f"Leave the shard out for {other}: it looks at all cases together, or at one."
            raise wrong("shard", str(self.shard), f"none together with {other}", hint)


@dataclass(frozen=True, slots=True)
class Specimen:
    """What is explored, in the words of its front.

    ``file`` and ``line`` locate a test; ``test`` or ``command`` is what to type to run it again (see
    :class:`~chaoskit.core.result.Options`). ``known`` has the findings that a file beside the test accepts;
    ``checked`` is False if the check itself is not to be tried: for a command without one, and under a
    debugger, which would stop in the trial.
    """

    name: str
    file: str = ""
    line: int = 0
    test: str = ""
    command: str = ""
    words: Words = PYTEST
    known: Mapping[str, str] = field(default_factory=dict)
    checked: bool = True
    promise: str = ""
    """What it is about, in a sentence; empty if it does not say."""


class Exploration:
    """Everything needed to explore one specimen, once. ``sources`` must see its first recording."""

    def __init__(self, specimen: Specimen, spec: ScenarioSpec, request: Request, backend: Backend) -> None:
        """Check, before anything runs, what can be checked by then.

        Raises:
            ScheduleError: for a schedule to replay with a fault that ``backend`` cannot make happen.
            UsageError: for faults of a clock in a scenario whose time is real.
            BackendUnavailable: for such faults on a machine that cannot have virtual time.
        """
        self.specimen = specimen
        self.spec = spec
        self.request = request
        self.backend = backend
        # Before anything runs: the first recording may take minutes.
        if request.replay is not None:
            backends.check(request.replay, backend)
        self.sources = sources_of(spec.faults, spec.model, request.replay)
        self._inside = inside_of(spec.faults, request.replay)
        tried = spec.oracle != "off" and not request.listing and request.replay is None
        self._onlooker = Onlooker() if tried and specimen.checked else None
        self.sources = (*self.sources, self._onlooker) if self._onlooker is not None else self.sources
        self.time = _time(spec, request.replay, backend)
        # Faults inside the interpreter count allocations, and watching the handlers would add some.
        watched = request.handlers and not request.listing and self._inside == NOTHING_INWARD
        self.handlers = scan() if watched else None

    @property
    def baseline(self) -> Job:
        """The job of the first recording, when it is not yet known how long the test takes."""
        # Twenty times an unknown time is no bound, so the first recording has a fixed one.
        timeout = self.spec.timeout or TIMEOUT
        spec, inside = self.spec, self._inside
        return Job(
            record=True,
            timeout=timeout,
            strike_recovery=spec.strike_recovery,
            time=self.time,
            inside=inside,
            handlers=self.handlers,
        )

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
            onlooker=self._onlooker,
            inside=self._inside,
            handlers=self.handlers,
            audit=self.request.audit,
            shard=self.request.shard,
            promise=self.specimen.promise,
            # All shards have to plan the same, and what broke here before is not known elsewhere.
            first=self.request.first if self.request.shard is None else (),
            exit_first=self.request.exit_first,
            # A replay is to show what happens, known or not.
            known={} if self.request.replay is not None else {**self.specimen.known, **self.spec.known},
            time=self.time,
        )

    def explorer(
        self,
        seconds: float,
        executor: Executor,
        progress: Progress | None = None,
        on_plan: Callable[[str], None] = lambda plan: None,
    ) -> Explorer:
        """The engine, ready to be given the first recording, which took this many seconds.

        ``on_plan`` is called with the digest of all cases before the first of them is run.
        """
        return Explorer(self.question(seconds), executor, progress, on_plan)

    def _options(self, seconds: float) -> Options:
        spec = self.spec
        return Options(
            faults=repr(spec.faults),
            families=spec.faults.families,
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


def _time(spec: ScenarioSpec, replay: Schedule | None, backend: Backend) -> VirtualTime | None:
    """The virtual time of a scenario's runs; None if their time is real."""
    struck = {strike.point.call for strike in replay or ()}
    operations = bool(spec.faults.names & CLOCK_FAULTS or struck & TIME_CALLS)
    if spec.time == REAL:
        if operations:
            hint = "Leave time= out: waiting then costs nothing, and the clocks can be set."
            raise wrong("time", spec.time, "'virtual' with faults of a clock", hint)
        return None
    if backend.time_is_real() is None:
        return VirtualTime(operations=operations)
    if not operations:
        return None
    # The scenario is about time: if it ran without, it would pass as if its faults had been tried.
    if why := backend.clocks_cannot_be_set():
        raise BackendUnavailable(f"clocks cannot be set here: {why}")
    return VirtualTime(operations=True)
