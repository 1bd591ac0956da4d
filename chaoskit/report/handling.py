"""The exception handlers of all scenarios, and which of them no fault has ever reached."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from chaoskit.core.case import BROKEN
from chaoskit.core.operation import Frame
from chaoskit.report.document import Entry

NEVER_CALLED, NEVER_RAN, RAN_AND_BROKE, RAN = (
    "its function was never called",
    "never ran under faults",
    "ran, and some of its cases broke",
    "ran under faults",
)
"""The words for a handler."""

ORDER = (NEVER_RAN, NEVER_CALLED, RAN_AND_BROKE, RAN)
"""The worst first: a function that was never called may belong to another program."""


@dataclass(slots=True)
class HandlerCoverage:
    """One handler in all scenarios. ``cases`` counts, by verdict, the cases in which it ran."""

    site: Frame
    kind: str
    called: bool = False
    cases: Counter[str] = field(default_factory=Counter)

    @property
    def word(self) -> str:
        """One of :data:`ORDER`."""
        if not self.cases.total():
            return NEVER_RAN if self.called else NEVER_CALLED
        return RAN_AND_BROKE if any(self.cases[verdict] for verdict in BROKEN) else RAN


def handlers(entries: Iterable[Entry]) -> list[HandlerCoverage] | None:
    """Every handler, the worst first, then by place; None if no scenario watched them."""
    found: dict[tuple[str, int, str], HandlerCoverage] = {}
    noted = False
    for entry in entries:
        noted = noted or entry.result.handlers is not None
        for one in entry.result.handlers or ():
            key = one.site.file, one.site.line, one.kind
            known = found.setdefault(key, HandlerCoverage(one.site, one.kind))
            known.called = known.called or one.called
            known.cases.update(one.cases)
    if not noted:
        return None
    return sorted(found.values(), key=lambda one: (ORDER.index(one.word), one.site.file, one.site.line))


def never_ran(entries: Iterable[Entry]) -> list[HandlerCoverage]:
    """The handlers that no fault has reached."""
    return [one for one in handlers(entries) or () if one.word in (NEVER_RAN, NEVER_CALLED)]
