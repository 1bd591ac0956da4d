"""Which families of calls a run has to look at: all of them in a recording, few in a case.

A call that no pending strike can be at, and no lasting condition can answer, concerns nobody. The filter
of a case does not stop it at all (:mod:`chaoskit.inject.kernel.bpf`), and what it does stop only because
an earlier strike was at such calls goes on unread.
"""

from __future__ import annotations

from collections.abc import Iterable

from chaoskit.core.schedule import PERSISTENT, Strike
from chaoskit.inject.base import Plan
from chaoskit.inject.kernel.standing import FULL_FAMILIES, FullDisk, Standing
from chaoskit.inject.kernel.syscalls import Families

_ALSO: dict[str, frozenset[str]] = {
    # As unlinkat with a flag; as a copy to somewhere else.
    "rmdir": frozenset({"unlink"}),
    "read": frozenset({"copy_file_range", "sendfile", "splice"}),
}
"""The calls that an operation may come as, other than those of its own name."""


def at_any_time(plan: Plan, promised_by_writing: bool) -> Families:
    """What may have to be looked at from the first call of a run to its last.

    ``promised_by_writing`` says whether lines on the standard output are promises.
    """
    if plan.record:
        return None
    families = _struck(plan.strikes)
    for strike in plan.strikes:
        if families is None or strike.fault.argument == PERSISTENT:
            return None
        if strike.fault.name == "full":
            families |= FULL_FAMILIES
    return None if families is None else _with_promises(families, promised_by_writing)


def from_now_on(
    plan: Plan, pending: Iterable[Strike], standing: Iterable[Standing], promised_by_writing: bool
) -> Families:
    """What has to be looked at until the next strike: it is among what :func:`at_any_time` said."""
    families = None if plan.record else _struck(pending)
    for one in standing:
        if families is None or not isinstance(one, FullDisk):
            return None
        families |= FULL_FAMILIES
    return None if families is None else _with_promises(families, promised_by_writing)


def _struck(strikes: Iterable[Strike]) -> Families:
    """The families at which strikes are due; all, where processes or threads have to be numbered."""
    families: frozenset[str] = frozenset()
    for strike in strikes:
        point = strike.point
        if point.place.process or point.place.thread:
            return None
        families |= {point.call} | _ALSO.get(point.call, frozenset())
    return families


def _with_promises(families: frozenset[str], promised_by_writing: bool) -> frozenset[str]:
    return families | {"write"} if promised_by_writing else families
