"""Finding the case that a schedule names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from chaoskit.core.errors import ScheduleError
from chaoskit.core.schedule import Schedule, Strike
from chaoskit.core.words import PYTEST, Words
from chaoskit.explore.align import Naming, patterns_with
from chaoskit.explore.border import CaseSource, Planned, Recording
from chaoskit.faults.shapes import is_afterwards


def planned_for(
    wanted: Schedule,
    planned: Sequence[Planned],
    recording: Recording,
    sources: Sequence[CaseSource] = (),
    words: Words = PYTEST,
) -> Planned:
    """The planned case that a schedule to replay means, or one made from it.

    A world need not be among the planned ones: its source finds one that was made smaller by name. If the
    case returned has fewer strikes than ``wanted``, the others strike after it. Which of them are possible is
    known once the case has been recorded, and :func:`wanted_among` then finds the right one.

    Raises:
        ScheduleError: for an empty schedule, a first strike at a point that the recording does not have, and
        an impossible world.
    """
    if (same := _equal(wanted, planned)) is not None:
        return same
    if not wanted.strikes:
        raise ScheduleError("the schedule to replay is empty; expected at least one fault at one point.")
    _check_afterwards(wanted)
    _check_point(wanted.strikes[0], recording, words)
    first, *others = wanted.strikes
    if not any(is_afterwards(strike.fault) for strike in wanted):
        # A fault that is not offered may still be replayed, on purpose.
        return Planned(wanted)
    if others and is_afterwards(first.fault):
        # The first strike's world is that of the whole case; a backend injects the other strikes into it.
        begins = wanted_among(planned, Schedule((first,)), recording, sources)
        if begins is not None:
            return Planned(wanted, begins.world)
    elif len(others) == 1:
        return Planned(Schedule((first,)))
    elif (known := _named(wanted, recording, sources)) is not None and not others:
        return known
    raise refused(wanted, sources)


def wanted_among(
    listed: Iterable[Planned],
    wanted: Schedule,
    recording: Recording,
    sources: Sequence[CaseSource],
    before: Planned | None = None,
) -> Planned | None:
    """The case of a schedule: one of those listed, or one that a source knows by its name alone.

    With ``before`` the recording is of that case, and ``wanted`` strikes once more after it.
    """
    return _equal(wanted, listed) or _named(wanted, recording, sources, before)


def refused(wanted: Schedule, sources: Sequence[CaseSource]) -> ScheduleError:
    """The error for a schedule that leads to no case; a source that knows better raises its own."""
    for source in sources:
        source.refuse(wanted)
    return ScheduleError(
        f"the schedule {str(wanted)!r} names what this scenario does not lead to; expected one that a run of "
        "it has printed, with the same faults and models."
    )


def _equal(wanted: Schedule, planned: Iterable[Planned]) -> Planned | None:
    return next((one for one in planned if one.schedule == wanted), None)


def _named(
    wanted: Schedule, recording: Recording, sources: Sequence[CaseSource], before: Planned | None = None
) -> Planned | None:
    found = (source.named(wanted, recording, before) for source in sources)
    return next((one for one in found if one is not None), None)


def _check_afterwards(wanted: Schedule) -> None:
    """Refuse more than one world: the run that a world replaces is not executed, so nothing follows."""
    several = [strike for strike in wanted if is_afterwards(strike.fault)]
    if len(several) > 1:
        name, alone = several[0].fault.name, " and ".join(repr(str(strike)) for strike in several)
        raise ScheduleError(
            f"the schedule {str(wanted)!r} has {name} {len(several)} times; expected it once at most: no "
            f"case is followed beyond that. Replay each alone: {alone}."
        )


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
