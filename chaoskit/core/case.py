"""How one case ended: its verdict, its runs, and what was wrong after them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from chaoskit.core.operation import Frame, Receipt

Verdict = Literal["tolerated", "failed safe", "violated", "hung", "diverged", "not injected", "interpreter"]
"""How one case ended; ``interpreter``: CPython itself failed, so the case says nothing about the program."""

PASSING: tuple[Verdict, ...] = ("tolerated", "failed safe")
BROKEN: tuple[Verdict, ...] = ("violated", "hung")
INCONCLUSIVE: tuple[Verdict, ...] = ("diverged", "not injected")
NO_JUDGEMENT: tuple[Verdict, ...] = (*INCONCLUSIVE, "interpreter")
"""Verdicts that say nothing about the program. Any number of ``interpreter`` cases may occur in a scenario
that passes, since no test can prevent them; each place is reported once."""
VERDICTS: tuple[Verdict, ...] = PASSING + BROKEN + NO_JUDGEMENT


@dataclass(frozen=True, slots=True)
class RunSummary:
    """How one ``chaos.run`` of a case ended. ``how``: returned, raised, died, stopped, lost power.

    ``error`` is ``Type: message``; ``signal`` the signal's name; times are seconds.
    """

    run: int
    how: Literal["returned", "raised", "died", "stopped", "lost power"]
    recovery: bool = False
    error: str = ""
    traceback: str = ""
    signal: str = ""
    stacks: str = ""
    promised: int = 0
    receipts: tuple[Receipt, ...] = ()
    stray_interrupts: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class OutsidePromise:
    """A promise that the test itself made, outside any run. ``after`` is the run before it, or 0.

    ``value`` is its ``repr``, shortened if long.
    """

    after: int
    value: str


@dataclass(frozen=True, slots=True)
class CaseFailure:
    """What was found wrong after the faults.

    ``kind``: ``assertion`` (the test's own), ``error`` (another exception out of the test), ``invariant``
    (one of chaoskit's, named by ``name``), ``hang``, ``death`` (the process that runs the test died).
    ``text`` is what pytest prints for it; ``site`` is where it was raised.
    """

    kind: Literal["assertion", "error", "invariant", "hang", "death"]
    name: str
    message: str
    text: str = ""
    site: Frame | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """One path that differs from what the baseline leaves.

    ``change``: ``missing``, ``extra`` or ``changed``; ``expected`` and ``found`` describe both sides
    (``file, 12 bytes, mode 644``), ``detail`` shows the contents when they are short.
    """

    path: str
    change: Literal["missing", "extra", "changed"]
    expected: str = ""
    found: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """One operation of a case, or one fault that struck where no operation took place.

    ``operation`` is its point as schedules name it; ``outcome`` what the call returned (``0``, ``-ENOENT``,
    empty if that is not known). ``struck`` is what the injector did to it, empty if nothing struck; ``site``
    is where the call was made.
    """

    run: int
    operation: str
    outcome: str = ""
    struck: str = ""
    site: Frame | None = None


@dataclass(frozen=True, slots=True)
class Timeline:
    """What a case did, in order, and the faults that struck.

    ``recorded`` is False if the case itself could not be recorded (it hung): the entries are then those of
    the baseline up to the fault, and what the case did afterwards is unknown. ``left_out`` counts the entries
    that were dropped to bound their number, those furthest from the faults.
    """

    entries: tuple[TimelineEntry, ...]
    recorded: bool = True
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One execution of the scenario under one schedule.

    ``index`` counts from 0 in the order of enumeration. ``points`` are the indices into
    :attr:`ScenarioResult.points` of those strikes that are listed there. ``attempts`` is more than one if the
    case was run again. ``finding`` is the index of the finding it belongs to.
    """

    index: int
    schedule: str
    verdict: Verdict
    points: tuple[int, ...] = ()
    faults: tuple[str, ...] = ()
    runs: tuple[RunSummary, ...] = ()
    failure: CaseFailure | None = None
    differences: tuple[Difference, ...] = ()
    attempts: int = 1
    seconds: float = 0.0
    output: str = ""
    caveats: tuple[str, ...] = ()
    note: str = ""
    finding: int | None = None
    models: tuple[str, ...] = ()
    """For a power loss the persistence models that allow its crash state."""
    timeline: Timeline | None = None
    """What the case did, if a finding is illustrated by it; otherwise None."""
