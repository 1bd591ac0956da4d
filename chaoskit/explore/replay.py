"""From the text of a schedule back to the case that it names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from chaoskit.core.errors import ScheduleError
from chaoskit.core.schedule import Schedule, Strike
from chaoskit.explore.align import Naming, patterns_with
from chaoskit.explore.job import CaseSource, Planned, Recording


def planned_for(
    wanted: Schedule, planned: Iterable[Planned], recording: Recording, sources: Sequence[CaseSource]
) -> Planned:
    """The planned case that a schedule to be replayed means, or one made from it.

    A crash state need not be among the planned: one that was made smaller is known to its source by name.

    Raises:
        ScheduleError: for an empty schedule, a first strike at a point that the recording does not
            have, and a crash state that cannot come about.
    """
    text = str(wanted)
    for one in planned:
        if str(one.schedule) == text:
            return one
    if not wanted.strikes:
        raise ScheduleError("the schedule to replay is empty; expected at least one fault at one point.")
    _check_point(wanted.strikes[0], recording)
    first, *others = wanted.strikes
    if others and first.fault.name == "power_loss":
        lost = next((one for one in planned if one.schedule == Schedule((first,))), None)
        lost = lost or named(Schedule((first,)), recording, sources)
        if lost is not None:
            return Planned(wanted, lost.world)
    if others and loses_power_after(wanted):
        return Planned(Schedule((first,)))
    if any(strike.fault.name == "power_loss" for strike in wanted):
        state = named(wanted, recording, sources) if not others else None
        if state is None:
            raise unknown_state(wanted)
        return state
    return Planned(wanted)


def named(
    wanted: Schedule, recording: Recording, sources: Sequence[CaseSource], before: Planned | None = None
) -> Planned | None:
    """The case that one of the sources knows by its name alone, or None."""
    found = (source.named(wanted, recording, before) for source in sources)
    return next((one for one in found if one is not None), None)


def unknown_state(wanted: Schedule) -> ScheduleError:
    """The error for a power loss whose state cannot come about."""
    return ScheduleError(
        f"the schedule {str(wanted)!r} names a crash state that this scenario does not have; expected one "
        "that a run of it has printed, with the same faults and models."
    )


def loses_power_after(wanted: Schedule) -> bool:
    """Whether a schedule is a fault and then a power loss, which is known once the fault was recorded."""
    names = [strike.fault.name for strike in wanted]
    return len(names) == 2 and names[0] != "power_loss" and names[1] == "power_loss"


def _check_point(strike: Strike, recording: Recording) -> None:
    naming = Naming(patterns_with(recording.patterns, Schedule((strike,))))
    if strike.point in naming.points(recording.trace.operations) or strike.point in recording.points:
        return
    known = list(map(str, recording.points))
    near = difflib.get_close_matches(str(strike.point), known, n=3, cutoff=0.4) or known[:3]
    raise ScheduleError(
        f"the schedule to replay strikes at {str(strike.point)!r}, which this scenario never reaches; "
        f"expected one of its {len(known)} points, such as {', '.join(map(repr, near))}. "
        "--chaoskit-list prints them all."
    )
