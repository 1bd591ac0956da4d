"""What the engine is asked, and one case on its way through it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from chaoskit.core.evidence import Shard
from chaoskit.core.operation import Operation
from chaoskit.core.result import Options
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
    """What the engine is to find out, by which ``sources`` of cases.

    ``listing`` stops before the first case. ``options.replay`` runs that schedule alone.
    ``first`` are schedules to run before all others, and within any budget. ``exit_first``: one case that
    breaks is enough, and those behind it in the order of running are left out.
    ``onlooker`` has seen what the workload writes, if the check is to be tried as well.
    ``inside`` is what the faults need to see inside of the interpreter, ``handlers`` are those of which it
    is noted whether they run.
    ``promise`` is what the scenario is about, in a sentence.
    ``words`` are those of the front that asks; ``known`` has by id why a finding is accepted.
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
    first: tuple[str, ...] = ()
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
    """How time is in its runs; None for the real one."""


@dataclass(slots=True)
class Case:
    """One case on its way: what is planned, what it strikes, and how it was judged so far.

    ``order`` says where it stands among all cases, in every shard alike; ``rank`` is its place in the order
    of running, -1 where that is worked out among those that are run.
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
    """The world whose strike is the last of the case; with a fault behind it, it is not a new one."""
    world = case.planned.world
    return world if world is not None and case.planned.schedule.strikes[-1] == world.strike else None
