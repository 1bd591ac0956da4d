"""A record of whether one exception handler ran: an ``except``, a ``finally``, or the exit of a ``with``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from chaoskit.core.operation import Frame


@dataclass(frozen=True, slots=True)
class HandlerResult:
    """One handler. ``site`` has the line of an ``except`` or ``with``, or the first line in a ``finally``.

    ``called`` is False if no workload called its function; ``baseline`` is True if it also ran without
    faults. ``cases`` counts by verdict the cases in which it ran, and ``schedule`` is one of them; empty if
    there is none.
    """

    site: Frame
    kind: Literal["except", "finally", "with"]
    called: bool = True
    baseline: bool = False
    cases: Mapping[str, int] = field(default_factory=dict)
    schedule: str = ""
