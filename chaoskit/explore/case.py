"""What the engine is asked, and one case on its way through it."""

from __future__ import annotations

from dataclasses import dataclass, field

from chaoskit.core.operation import Operation
from chaoskit.core.result import Options
from chaoskit.core.words import PYTEST, Words
from chaoskit.explore.border import CaseSource, Planned
from chaoskit.explore.job import Job
from chaoskit.explore.judge import Judgement
from chaoskit.explore.observation import Observation
from chaoskit.faults import FaultSet


@dataclass(frozen=True, slots=True)
class Question:
    """What the engine is to find out, by which ``sources`` of cases.

    ``listing`` stops before the first case. ``options.replay`` runs that schedule alone.
    ``words`` are those of the front that asks.
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


@dataclass(slots=True)
class Case:
    """One case on its way: what is planned, what it strikes, and how it was judged so far."""

    planned: Planned
    operations: tuple[Operation, ...]
    points: tuple[int, ...]
    job: Job
    seen: Observation = field(default_factory=Observation)
    judgement: Judgement = field(default_factory=lambda: Judgement("not injected"))
    attempts: int = 0
