"""From the text of a schedule back to the case that it names."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Sequence

from chaoskit.core.errors import ScheduleError
from chaoskit.core.schedule import Fault, Schedule, Strike
from chaoskit.core.words import PYTEST, Words
from chaoskit.explore.align import Naming, patterns_with
from chaoskit.explore.job import CaseSource, Planned, Recording
from chaoskit.faults.power import LIES

POWER_LOSS = "power_loss"


def planned_for(
    wanted: Schedule,
    planned: Iterable[Planned],
    recording: Recording,
    sources: Sequence[CaseSource] = (),
    words: Words = PYTEST,
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
    _check_losses(wanted)
    _check_point(wanted.strikes[0], recording, words)
    first, *others = wanted.strikes
    if others and first.fault.name == POWER_LOSS:
        lost = next((one for one in planned if one.schedule == Schedule((first,))), None)
        lost = lost or named(Schedule((first,)), recording, sources)
        if lost is not None:
            return Planned(wanted, lost.world)
    if others and loses_power_after(wanted):
        return Planned(Schedule((first,)))
    if any(strike.fault.name == POWER_LOSS for strike in wanted):
        state = named(wanted, recording, sources) if not others else None
        if state is not None:
            return state
        for source in sources:
            source.refuse(first)
        raise unknown_state(wanted)
    return Planned(wanted)


def named(
    wanted: Schedule, recording: Recording, sources: Sequence[CaseSource], before: Planned | None = None
) -> Planned | None:
    """The case that one of the sources knows by its name alone, or None."""
    found = (source.named(wanted, recording, before) for source in sources)
    return next((one for one in found if one is not None), None)


def _check_losses(wanted: Schedule) -> None:
    """Refuse what no recording can be followed to: a run that lost power is not executed."""
    losses = [str(strike) for strike in wanted if strike.fault.name == POWER_LOSS]
    if len(losses) > 1:
        raise ScheduleError(
            f"the schedule {str(wanted)!r} loses power {len(losses)} times; expected once at most: no case "
            f"is followed beyond that. Replay each alone: {' and '.join(map(repr, losses))}."
        )


def unknown_state(wanted: Schedule) -> ScheduleError:
    """The error for a power loss whose state cannot come about."""
    return ScheduleError(
        f"the schedule {str(wanted)!r} names a crash state that this scenario does not have; expected one "
        "that a run of it has printed, with the same faults and models."
    )


def not_followed(wanted: Schedule, faults: Collection[str]) -> ScheduleError:
    """The error for a fault and then a power loss that does not come about."""
    first = wanted.strikes[0]
    lies = first.point.call in ("fsync", "fdatasync") and first.fault == Fault("EIO")
    if lies and LIES not in faults:
        return ScheduleError(
            f"the schedule {str(wanted)!r} loses power after a failed fsync; expected the family fsync_lies "
            "among the faults, since no other looks for that."
        )
    return unknown_state(wanted)


def loses_power_after(wanted: Schedule) -> bool:
    """Whether a schedule is a fault and then a power loss, which is known once the fault was recorded."""
    names = [strike.fault.name for strike in wanted]
    return len(names) == 2 and names[0] != POWER_LOSS and names[1] == POWER_LOSS


def _check_point(strike: Strike, recording: Recording, words: Words) -> None:
    naming = Naming(patterns_with(recording.patterns, Schedule((strike,))))
    if strike.point in naming.points(recording.trace.operations) or strike.point in recording.points:
        return
    known = list(map(str, recording.points))
    near = difflib.get_close_matches(str(strike.point), known, n=3, cutoff=0.4) or known[:3]
    raise ScheduleError(
        f"the schedule to replay strikes at {str(strike.point)!r}, which this scenario never reaches; "
        f"expected one of its {len(known)} points, such as {', '.join(map(repr, near))}. "
        f"{words.listing} prints them all."
    )
