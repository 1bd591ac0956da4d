"""The cause of a broken case, which is what the program lacks, and its id.

Cases with one cause are one finding (:mod:`chaoskit.grouping.groups`), whichever fault showed it, whatever
the assertion printed, and whichever of a few lines it struck.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace

from chaoskit.core.case import CaseFailure
from chaoskit.core.evidence import Cause
from chaoskit.core.finding import Advice
from chaoskit.core.operation import Operation
from chaoskit.explore.case import Case, state_shown
from chaoskit.explore.judge import Judgement
from chaoskit.explore.spots import Spot, Spots, function_of, text_of
from chaoskit.faults.shapes import Damaged, shape_of

_DIGITS = 6
"""Hexadecimal digits of an id. Equal ids do harm only within a scenario, which has a handful of findings."""

_STOPPED = "stopped-between"
_IN_PLACE = frozenset({"torn-write", "truncate-then-write"})
_LACKING = {
    "rename-before-sync": "file",
    "acknowledged-before-sync": "file",
    "not-ordered": "file",
    "wrong-file-synced": "file",
    "directory-not-synced": "directory",
    "rename-in-halves": "directory",
    "wrong-directory-synced": "directory",
}
"""Kinds of advice that mean the same missing call: which one applies depends on what else was lost."""


def id_of(cause: Cause, scenario: str) -> str:
    """The id of a cause: the same on every machine until the scenario or the place is renamed."""
    parts = (scenario_name(scenario), cause.kind, cause.what, cause.harm, cause.owner, cause.files)
    return hashlib.sha256("\0".join(parts).encode("utf-8", "backslashreplace")).hexdigest()[:_DIGITS]


def id_if_answered(cause: Cause, scenario: str) -> str:
    """The id that a "stopped" cause has if the program did receive the error; empty for any other cause."""
    return id_of(replace(cause, kind="answered"), scenario) if cause.kind == "stopped" else ""


def scenario_name(nodeid: str) -> str:
    """The name of a test, without its directory, which depends on the root, and without its parameters."""
    return nodeid.partition("[")[0].rpartition("/")[2]


def harm_of(judgement: Judgement) -> tuple[object, ...]:
    """Equal for two cases that broke in the same way: the place of the assertion, not what it printed."""
    verdict, failure = judgement.verdict, judgement.failure
    assert failure is not None
    # One line of a test asks one question, whether it raises an assertion or some other error.
    return (verdict, failure.site) if failure.site is not None else (verdict, failure.kind, failure.name)


def cause_of(case: Case, spots: Spots, advice: Advice | None, guilty: Operation | None) -> Cause:
    """The cause of a broken case; ``advice`` and ``guilty`` are those of its world, if it has one."""
    harm = _harm_text(case.judgement.failure)
    if state_shown(case) is not None:
        return _of_world(case, spots, advice, guilty, harm)
    operation = case.operations[-1] if case.operations else None
    at = case.points[-1] if case.points and len(case.planned.schedule) == 1 else None
    how = _how_it_ended(case)
    if operation is None:
        return Cause("stopped", "", harm, "", "", at)
    shape = shape_of(case.planned.schedule.strikes[-1].fault)
    if isinstance(shape, Damaged):
        # The program was neither stopped nor given an error: what matters is which kind of file it trusts.
        return Cause("damaged", shape.nature, "" if how == "returned" else harm, *spots.call(operation), at)
    if how in ("returned", "stopped"):
        # One handler usually guards several calls, so their lines do not tell causes apart; and which of a
        # test's assertions notices first is chance.
        seen = "" if case.judgement.failure and case.judgement.failure.site else harm
        return Cause("went on", "", seen, *spots.call(operation), at)
    return Cause("stopped", "", harm, *spots.spot(operation), at, killed=how == "died")


def _of_world(case: Case, spots: Spots, advice: Advice | None, guilty: Operation | None, harm: str) -> Cause:
    world = case.planned.world
    assert world is not None
    guilty = guilty or world.blamed
    if advice is None:
        fault = case.planned.schedule.strikes[-1].fault.name
        return Cause("damaged", fault, harm, *spots.spot(guilty))
    if advice.kind == _STOPPED:
        return Cause("stopped", "", harm, *spots.spot(guilty), moment_of(case), killed=True)
    if advice.kind in _IN_PLACE:
        return Cause("unsynced", "in place", "", *spots.spot(guilty))
    what = _LACKING.get(advice.kind, advice.kind)
    # One missing sync loses many things, and which assertion notices first is chance.
    spot: Spot = spots.directory(guilty) if what == "directory" else spots.spot(guilty)
    return Cause("unsynced", what, "", *spot)


def moment_of(case: Case) -> int | None:
    """The moment in the recording when a kill would have left this case's world; None after another fault."""
    world = case.planned.world
    return world.operation.index + 1 if world is not None and len(case.planned.schedule) == 1 else None


def _how_it_ended(case: Case) -> str:
    """How the run with the last fault ended."""
    # A case that broke without any fault has no strike.
    last = str(next(reversed(case.planned.schedule.strikes), ""))
    for run in reversed(case.seen.runs):
        if any(receipt.strike == last for receipt in run.receipts):
            return run.how
    return "died"


def _harm_text(failure: CaseFailure | None) -> str:
    if failure is None:
        return ""
    if failure.site is None:
        return f"{failure.kind} {failure.name}"
    return f"{os.path.basename(failure.site.file)}:{function_of(failure.site)}: {text_of(failure.site)}"
