"""What a case that broke shows, without the run that it comes from: enough to group such cases by cause.

A shard of a run knows a part of the cases only, and which of them have one cause depends on all. So its
report carries this, and joining the shards groups once more: by the same code, on the same evidence.
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
"""With which number the order of a case begins: what it comes from."""

HANGS = 3
"""After this many hangs of cases that strike at one line, the others there are left out."""

EACH = 60
"""How many cases are run at most to make one crash state smaller. Halving finds one step among a thousand
in twenty; a state whose every step is needed takes one for each."""
ALL = 240
"""How many are run at most for one scenario."""

CauseKind = Literal["stopped", "answered", "went on", "unsynced", "damaged"]


@dataclass(frozen=True, slots=True)
class Shard:
    """One of several equal parts of every scenario's plan: the ``number``-th ``of`` all, from 1."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str, option: str) -> Shard:
        """Read ``2/3``; ``option`` is where it was given.

        Raises:
            UsageError: it is not of this form, or there is no such part.
        """
        match = re.fullmatch(r"([1-9]\d{0,3})/([1-9]\d{0,3})", text)
        if match is None or int(match[1]) > int(match[2]):
            raise wrong(option, text, "which part of how many, such as 1/3, 2/3 and 3/3")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


@dataclass(frozen=True, slots=True)
class Cause:
    """``what`` is missing, ``harm`` how that shows (empty where that tells nothing apart), and where.

    ``owner`` is the function or program that is answerable, ``files`` which kind of files it concerns.
    ``at`` is the moment in the recording: an index of an operation before which the program was stopped; None
    if the case is not in the recording. ``killed``: it had no chance to do anything about it.
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
    """A world that a broken case has found.

    ``steps`` are the numbers of what is missing, in the recording that ``lineage`` names by the strikes that
    it holds. ``at`` is the moment at which it would have been a kill, None behind another fault. ``shown``:
    its strike is the last of the case. ``told``: there is advice about it. ``content`` is equal for equal
    worlds behind the same strikes, ``alike`` behind the same first fault wherever it struck.
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
        """The steps, as a set that two worlds of different recordings have nothing in common of."""
        return frozenset((self.lineage, step) for step in self.steps)


@dataclass(frozen=True, slots=True)
class CaseEvidence:
    """One case that broke.

    ``order`` says where it stands among all cases, in each shard alike. ``harm`` is equal for cases that
    broke in the same way. ``id`` is the finding's id if ``cause`` is right, and ``answered`` its id if the
    program was told of an error and made it worse. Of several cases that show the same, the one for which
    ``simplicity`` is least is the easiest to understand. ``left`` is a digest of what was left, None if that
    is nothing.
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
    """A case that broke, with all that a finding which is shown by it says.

    ``line`` is a digest of where it strikes, and ``rank`` its place in the order of running, -1 if it was not
    planned.
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
    """A crash state that was tried while another was made smaller; ``planned``: every run has tried it.

    ``ways`` is how many enumerated sets of steps leave it, 0 if what is left is counted already.
    """

    schedule: str
    content: int
    ways: int = 1
    planned: bool = False


@dataclass(frozen=True, slots=True)
class Trail:
    """How the crash state of the case ``origin`` was made smaller: the states tried, in order, and the last.

    ``ended`` is False if the search was stopped by its bound. ``planned``: the smallest is one of the plan.
    """

    origin: str
    steps: tuple[StateTried, ...]
    smallest: str
    ended: bool
    planned: bool


@dataclass(frozen=True, slots=True)
class Followed:
    """A fault that the program has survived, with a digest of what followed it."""

    order: tuple[int, ...]
    what: int


@dataclass(frozen=True, slots=True)
class Part:
    """What a shard knows beside its result, to be joined with the others.

    ``planned`` cases were planned in all shards together. ``safe`` are the moments at which a kill was
    harmless. ``tried`` are the cases by which states were made smaller, beyond the plan; those of them that
    broke are in ``broken``, too. ``possible`` and ``distinct`` are the crash states of the plan.
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
    """By reason how many of the planned cases no shard runs."""
