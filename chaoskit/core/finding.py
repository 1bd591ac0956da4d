"""Cases that broke in the same way, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from chaoskit.core.case import CaseFailure, Difference, Verdict
from chaoskit.core.operation import Frame
from chaoskit.core.source import Excerpt

FaultClass = Literal["local", "share", "interference"]
"""Where a fault comes from: the machine and its own disk, a network file system, or other processes that
change names or hold locks."""


@dataclass(frozen=True, slots=True)
class Advice:
    """Which call is to blame, and what to write instead.

    ``kind`` is stable (``rename-before-sync``, ``directory-not-synced`` …), ``text`` one sentence, ``fix`` at
    most three lines of Python or English, ``operation`` the guilty call as text, ``site`` the place of that
    call, ``models`` the persistence models under which it matters.
    """

    kind: str
    text: str
    fix: str
    operation: str = ""
    site: Frame | None = None
    models: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """One cause, and the cases that show it; ``schedule`` is the plainest of them.

    ``id`` is the finding's name: short, and the same on other machines, with other budgets and after lines
    have moved. ``cause`` says what is wrong: ``stopped`` (the program must not be stopped there),
    ``answered`` (it reports an error and made things worse), ``went on`` (it ignored an error), ``unsynced``
    (a power loss undoes what it relies on), ``damaged`` (it trusts damaged files). ``known`` is why the
    finding is accepted, empty for a new one.

    ``stack`` is the Python stack of the operation that was hit, innermost first; ``source`` holds the source
    line of each of its frames at that time: a page made later, or elsewhere, cannot look it up.
    """

    index: int
    verdict: Verdict
    schedule: str
    schedules: tuple[str, ...]
    call: str
    site: Frame | None
    stack: tuple[Frame, ...]
    failure: CaseFailure
    differences: tuple[Difference, ...] = ()
    source: tuple[str, ...] = ()
    reproduced: bool | None = None
    """True if the case broke again when it was run once more; None if that was not tried."""
    models: tuple[str, ...] = ()
    """For a power loss, the persistence models under which it shows."""
    advice: Advice | None = None
    id: str = ""
    cause: str = ""
    known: str = ""
    by_model: Mapping[str, str] = field(default_factory=dict)
    """For a power loss: by model, the simplest of ``schedules`` whose crash state that model allows."""
    shrunk_from: str = ""
    """The schedule of the larger crash state that broke first, if ``schedule`` was made from one."""
    smallest: bool | None = None
    """True if no smaller crash state breaks so; None if not tried, False if the search hit its bound."""
    fault_class: FaultClass = "local"
    """Where the fault comes from, in the most ordinary of its cases."""
    excerpt: Excerpt | None = None
    """The lines around the innermost frame of ``stack`` that belongs to the project; None without one."""
