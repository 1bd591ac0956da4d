"""What the engine has to find out, and one case on its way through it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from chaoskit.core.evidence import Shard
from chaoskit.core.operation import Operation
from chaoskit.core.result import Options
from chaoskit.core.schedule import Schedule
from chaoskit.core.words import PYTEST, Words
from chaoskit.explore.border import CaseSource, Planned, World
from chaoskit.explore.job import Job
from chaoskit.explore.judge import Judgement
from chaoskit.explore.observation import Observation
from chaoskit.explore.oracle import Onlooker
from chaoskit.faults import FaultSet
from chaoskit.faults.inside import NOTHING_INWARD, Inward
from chaoskit.inject.base import VirtualTime
from chaoskit.inject.handlers import Handlers


@dataclass(frozen=True, slots=True)
class Question:
    """What the engine has to find out, and the ``sources`` of cases to use.

    ``listing`` stops before the first case. ``options.replay`` runs that schedule alone. ``first`` are
    schedules to run before all others, and within any budget. ``exit_first``: one broken case is enough, and
    those after it in the running order are left out. ``onlooker`` saw what the workload writes, if the check
    is to be tried as well. ``inside`` is what the faults need to see inside the interpreter; ``handlers`` are
    the exception handlers to watch. ``promise`` is what the scenario is about, in a sentence. ``words`` is
    the vocabulary of the front that asks; ``known`` maps the id of an accepted finding to the reason.
    """

    nodeid: str
    faults: FaultSet
    sources: tuple[CaseSource, ...]
    options: Options
    seed: int = 0
    backend: str = ""
    file: str = ""
    line: int = 0
    listing: bool = False
    strike_recovery: bool = False
    words: Words = PYTEST
    first: tuple[Schedule, ...] = ()
    exit_first: bool = False
    onlooker: Onlooker | None = None
    inside: Inward = NOTHING_INWARD
    known: Mapping[str, str] = field(default_factory=dict)
    handlers: Handlers | None = None
    promise: str = ""
    audit: bool = False
    """Find out, with further cases, what each sync protects."""
    shard: Shard | None = None
    """Which part of the plan to run; None for all of it."""
    time: VirtualTime | None = None
    """The virtual time of its runs; None for real time."""


@dataclass(slots=True)
class Case:
    """One case on its way: what is planned, what it strikes, and the latest judgement.

    ``order`` is its position among all cases, the same in every shard; ``rank`` is its place in the running
    order, -1 if that is decided among the cases that are run.
    """

    planned: Planned
    operations: tuple[Operation, ...]
    points: tuple[int, ...]
    job: Job
    seen: Observation = field(default_factory=Observation)
    judgement: Judgement = field(default_factory=lambda: Judgement("not injected"))
    attempts: int = 0
    order: tuple[int, ...] = ()
    rank: int = -1


def state_shown(case: Case) -> World | None:
    """The world whose strike is the last of the case; None if there is none, or another fault follows it."""
    world = case.planned.world
    return world if world is not None and case.planned.schedule.strikes[-1] == world.strike else None
