"""The families of calls that a run has to look at: all of them in a recording, few in a case.

A call that no pending strike can be at, and no lasting condition can answer, does not matter. The filter
of a case does not stop it at all (:mod:`chaoskit.inject.kernel.seccomp.bpf`), and what it does stop only
because an earlier strike was at such calls goes on unread.
"""

from __future__ import annotations

from collections.abc import Iterable

from chaoskit.core.schedule import Strike
from chaoskit.faults.calls import FAMILIES
from chaoskit.inject.base import Plan
from chaoskit.inject.kernel import domains
from chaoskit.inject.kernel.border import Standing
from chaoskit.inject.kernel.seccomp.syscalls import Families


def at_any_time(plan: Plan, promised_by_writing: bool) -> Families:
    """What may have to be looked at from the first call of a run to its last.

    ``promised_by_writing`` is True if lines on the standard output are promises.
    """
    if plan.record:
        return None
    lasting = [domains.lasting(shape) for shape in plan.shapes]
    return _together(plan.strikes, lasting, promised_by_writing)


def from_now_on(
    plan: Plan, pending: Iterable[Strike], standing: Iterable[Standing], promised_by_writing: bool
) -> Families:
    """What has to be looked at until the next strike: it is among what :func:`at_any_time` said."""
    if plan.record:
        return None
    return _together(pending, [one.families for one in standing], promised_by_writing)


def _together(
    strikes: Iterable[Strike], lasting: Iterable[frozenset[str]], promised_by_writing: bool
) -> Families:
    """Where strikes are due, what lasting conditions can answer, and how promises are made.

    All, where processes or threads have to be numbered.
    """
    points = [strike.point for strike in strikes]
    # Numbers are given by first operations, of whatever family.
    if any(point.place.process or point.place.thread for point in points):
        return None
    families = frozenset(point.call for point in points).union(*lasting)
    # A family of a schedule that was typed by hand need not exist; then no call is of it.
    rows = [FAMILIES[family] for family in families if family in FAMILIES]
    # A call may turn out to be of the family only when it is decoded.
    families = families.union(*(row.comes_as for row in rows))
    return families | {"write"} if promised_by_writing else families
