"""The evidence of a broken case, independent of its run: enough to group such cases by cause.

A shard of a run sees only some of the cases, and which cases share a cause depends on all of them. So its
report carries this evidence, and joining the shards groups the cases again with the same code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from chaoskit.core.case import CaseResult, Verdict
from chaoskit.core.errors import wrong
from chaoskit.core.finding import Advice, FaultClass
from chaoskit.core.operation import Frame
from chaoskit.core.source import Excerpt

BASELINE, PLANNED, LIGHT, PAIRED, SMALLER = range(5)
"""The first number of a case's order: how the case came to be run."""

HANGS = 3
"""After this many hung cases that strike at one line, the other cases there are left out."""

EACH = 60
"""The most cases run to make one crash state smaller. Halving finds one step among a thousand in twenty
cases; a state that needs all of its steps takes one case for each."""
ALL = 240
"""The most cases run to make crash states smaller in one scenario."""

CauseKind = Literal["stopped", "answered", "went on", "unsynced", "damaged"]


@dataclass(frozen=True, slots=True)
class Shard:
    """One of several equal parts of each scenario's plan: part ``number``, from 1, of ``of`` parts."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str, option: str) -> Shard:
        """Parse ``2/3``; ``option`` names the option that had it.

        Raises:
            UsageError: if ``text`` has another form, or there is no such part.
        """
        match = re.fullmatch(r"([1-9]\d{0,3})/([1-9]\d{0,3})", text)
        if match is None or int(match[1]) > int(match[2]):
            raise wrong(option, text, "which part of how many, such as 1/3, 2/3 and 3/3")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


@dataclass(frozen=True, slots=True)
class Cause:
    """The cause of a broken case: ``what`` is missing, the ``harm`` that it does, and where.

    ``harm`` is empty if it does not tell causes apart. ``owner`` is the function or program responsible,
    ``files`` the kind of files concerned. ``at`` is the moment in the recording, as the index of the
    operation before which the program was stopped; None if the case is not in the recording. ``killed``: the
    program had no chance to react.
    """

    kind: CauseKind
    what: str
    harm: str
    owner: str
    files: str
    at: int | None = None
    killed: bool = False


@dataclass(frozen=True, slots=True)
class WorldEvidence:
    """The world of a broken case.

    ``steps`` are the numbers of the missing steps in one recording, which ``lineage`` names by the strikes in
    it. ``at`` is the moment at which a kill would have left the same, None after another fault. ``shown``:
    its strike is the last of the case. ``told``: there is advice about it. ``content`` is equal for equal
    worlds after the same strikes, ``alike`` for equal worlds after the same first fault, wherever it struck.
    """

    run: int
    operation: int
    lineage: str
    steps: tuple[int, ...]
    at: int | None
    shown: bool
    told: bool
    content: int
    alike: int
    models: tuple[str, ...] = ()

    @property
    def missing(self) -> frozenset[tuple[str, int]]:
        """The steps as a set; sets from different recordings are disjoint."""
        return frozenset((self.lineage, step) for step in self.steps)


@dataclass(frozen=True, slots=True)
class CaseEvidence:
    """One case that broke.

    ``order`` is its position among all cases, the same in every shard. ``harm`` is equal for cases that broke
    in the same way. ``id`` is the finding's id if ``cause`` is right, and ``answered`` its id if the program
    received an error and made things worse. Of several cases that show the same thing, the one with the least
    ``simplicity`` is the easiest to understand. ``left`` is a digest of the directory's content, None if it
    was empty.
    """

    order: tuple[int, ...]
    schedule: str
    verdict: Verdict
    harm: tuple[str, ...]
    cause: Cause
    id: str
    answered: str
    simplicity: tuple[int, ...]
    left: int | None = None
    world: WorldEvidence | None = None


@dataclass(frozen=True, slots=True)
class Guilt:
    """The operation to blame: its call, where it was made, and the source there as it was then."""

    call: str
    stack: tuple[Frame, ...]
    source: tuple[str, ...]
    excerpt: Excerpt | None


@dataclass(frozen=True, slots=True)
class BrokenCase:
    """A case that broke, with everything that a finding says if this case illustrates it.

    ``line`` is a digest of the place it strikes, and ``rank`` its position in the running order, -1 if it was
    not planned.
    """

    evidence: CaseEvidence
    case: CaseResult
    guilt: Guilt
    advice: Advice | None = None
    reproduced: bool | None = None
    fault_class: FaultClass = "local"
    line: int = 0
    rank: int = -1


@dataclass(frozen=True, slots=True)
class StateTried:
    """A crash state that was tried while another was made smaller; ``planned``: the plan tries it anyway.

    ``ways`` counts the enumerated sets of steps that leave it, 0 if its content is counted already.
    """

    schedule: str
    content: int
    ways: int = 1
    planned: bool = False


@dataclass(frozen=True, slots=True)
class Trail:
    """How the crash state of the case ``origin`` was made smaller: the states tried, in order, and the last.

    ``ended`` is False if the search reached its bound. ``planned``: the smallest state is in the plan.
    """

    origin: str
    steps: tuple[StateTried, ...]
    smallest: str
    ended: bool
    planned: bool


@dataclass(frozen=True, slots=True)
class Followed:
    """A fault that the program survived, with a digest of what followed it."""

    order: tuple[int, ...]
    what: int


@dataclass(frozen=True, slots=True)
class Part:
    """What a shard adds to its result so that it can be joined with the others.

    ``planned`` counts the cases planned in all shards together. ``safe`` are the moments at which a kill was
    harmless. ``tried`` are the cases, beyond the plan, that made states smaller; those that broke are also in
    ``broken``. ``possible`` and ``distinct`` count the crash states of the plan.
    """

    shard: Shard
    planned: int
    safe: tuple[int, ...] = ()
    broken: tuple[BrokenCase, ...] = ()
    tried: tuple[CaseResult, ...] = ()
    trails: tuple[Trail, ...] = ()
    followed: tuple[Followed, ...] = ()
    possible: int = 0
    distinct: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)
    """By reason, how many of the planned cases no shard runs."""
