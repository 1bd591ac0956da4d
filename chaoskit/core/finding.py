"""Cases that broke in the same way, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from chaoskit.core.case import CaseFailure, Difference, Verdict
from chaoskit.core.operation import Frame
from chaoskit.core.plain import ADDED


@dataclass(frozen=True, slots=True)
class Advice:
    """Which call is to blame, and what to write instead.

    ``kind`` is stable (``rename-before-sync``, ``directory-not-synced`` …), ``text`` one sentence, ``fix``
    at most two lines of Python or English, ``operation`` the guilty call as text, ``site`` where it was
    made, ``models`` the persistence models under which it matters.
    """

    kind: str
    text: str
    fix: str
    operation: str = ""
    site: Frame | None = None
    models: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """Cases that broke in the same way at the same call site; ``schedule`` is the shortest of them.

    ``stack`` is the Python stack of the operation that was hit, innermost first;
    ``source`` has the line of source for each of its frames, as it was then: a page that is made later, or
    elsewhere, cannot look it up.
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
    source: tuple[str, ...] = field(default=(), metadata=ADDED)
    reproduced: bool | None = None
    """True if it showed again when it was run once more; None if that was not tried."""
    models: tuple[str, ...] = ()
    """For a power loss the persistence models under which it shows."""
    advice: Advice | None = None
    by_model: Mapping[str, str] = field(default_factory=dict, metadata=ADDED)
    """For a power loss by model the simplest of ``schedules`` whose crash state that model allows."""
    shrunk_from: str = field(default="", metadata=ADDED)
    """The schedule of the larger crash state that broke first, if ``schedule`` was made from one."""
    smallest: bool | None = field(default=None, metadata=ADDED)
    """True if every smaller crash state was seen not to break in this way; None if that was not tried,
    False if the search was stopped by its bound."""
