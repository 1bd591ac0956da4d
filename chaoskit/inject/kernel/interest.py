"""The families of calls that a run has to examine: all in a recording, few in a case.

A call matters only if a pending strike may be due at it or a lasting condition may answer it. The filter of a
case does not stop other calls (:mod:`chaoskit.inject.kernel.seccomp.bpf`), and a call that mattered only to
an earlier strike goes on unread.
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
    """The families that may matter at any moment of a run.

    ``promised_by_writing`` is True if lines on the standard output are promises.
    """
    if plan.record:
        return None
    lasting = [domains.lasting(shape) for shape in plan.shapes]
    return _together(plan.strikes, lasting, promised_by_writing)


def from_now_on(
    plan: Plan, pending: Iterable[Strike], standing: Iterable[Standing], promised_by_writing: bool
) -> Families:
    """The families that matter until the next strike, a subset of :func:`at_any_time`."""
    if plan.record:
        return None
    return _together(pending, [one.families for one in standing], promised_by_writing)


def _together(
    strikes: Iterable[Strike], lasting: Iterable[frozenset[str]], promised_by_writing: bool
) -> Families:
    """Where strikes are due, what lasting conditions can answer, and how promises are made.

    All families, if processes or threads have to be numbered.
    """
    points = [strike.point for strike in strikes]
    # A process or thread is numbered at its first operation, of whatever family.
    if any(point.place.process or point.place.thread for point in points):
        return None
    families = frozenset(point.call for point in points).union(*lasting)
    # A schedule typed by hand may name a family that does not exist; no call belongs to it.
    rows = [FAMILIES[family] for family in families if family in FAMILIES]
    # Some calls show their family only when they are decoded.
    families = families.union(*(row.comes_as for row in rows))
    return families | {"write"} if promised_by_writing else families
