"""The verdict on one execution."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from chaoskit.core.case import CaseFailure, Verdict
from chaoskit.core.operation import Caveat
from chaoskit.explore.interpreters import own_failure
from chaoskit.explore.job import Job
from chaoskit.explore.observation import Observation
from chaoskit.inject.base import Leaks


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict and its grounds; ``again`` says that the case should be tried again.

    ``interrupted``: it should be tried more often, since interrupted calls may be the cause.
    """

    verdict: Verdict
    failure: CaseFailure | None = None
    note: str = ""
    again: bool = False
    interrupted: bool = False


def judge(job: Job, seen: Observation) -> Judgement:
    """The verdict on one execution of ``job``.

    A failure is a violation even without a receipt: it must not hide behind an allowed share of inconclusive
    cases. But it is tried again first. A failure is never a finding if a signal interrupted calls while they
    waited for the supervisor, since it may not be the program's fault; nor if a server could not be brought
    to its state before the power loss, nor if CPython itself failed.
    """
    if seen.unrepeatable is not None and not job.schedule.strikes:
        return Judgement("violated", seen.unrepeatable)
    if seen.untold:
        return Judgement("diverged", note=_UNTOLD.format(seen.untold))
    own = own_failure(job, seen)
    if own is not None:
        return Judgement("interpreter", note=f"Python itself failed: {own}")
    missing = _missing(job, seen)
    stray = seen.interrupted
    hang = _hang(seen)
    if hang is not None and stray:
        # An interrupted close leaves its descriptor open, and the reader of the pipe waits forever.
        return _doubtful(stray, hang.message)
    if hang is not None:
        return Judgement("hung", hang)
    if seen.failure is not None and stray:
        return _doubtful(stray, seen.failure.message)
    if seen.failure is not None:
        note = f"without a receipt: {missing[1]}" if missing else ""
        return Judgement("violated", seen.failure, note, again=bool(note))
    if missing is not None:
        return Judgement(missing[0], note=missing[1], again=True, interrupted=stray > 0)
    leak = next(_leaks(job, seen), None)
    if leak is not None and stray:
        return _doubtful(stray, leak.message)
    if leak is not None:
        return Judgement("violated", leak)
    if seen.skipped:
        return Judgement("diverged", note=f"the test skipped itself in this case: {seen.skipped}")
    struck = [run for run in seen.runs if run.receipts]
    verdict: Verdict = "tolerated" if all(run.how == "returned" for run in struck) else "failed safe"
    return Judgement(verdict, again=stray > 0, note=_interrupted(stray) if stray else "")


_UNTOLD = (
    "the server could not be told again what it was told before the power loss: {}. A log-in by a challenge, "
    "or TLS, cannot be repeated: have the server take the program without, or strike this scenario without "
    "faults.power_loss() and faults.fsync_lies()."
)


def _doubtful(stray: int, what: str) -> Judgement:
    """The judgement if the workload's own signals interrupted calls that waited for the supervisor."""
    return Judgement("diverged", note=f"after {_interrupted(stray)}: {what}", again=True, interrupted=True)


def _interrupted(stray: int) -> str:
    """The number of interrupted calls, in words."""
    return f"{stray} {'call was' if stray == 1 else 'calls were'} interrupted by signals"


def _missing(job: Job, seen: Observation) -> tuple[Verdict, str] | None:
    """The verdict and its reason if a strike of the schedule has no receipt; otherwise None."""
    strikes = [str(strike) for strike in job.schedule]
    lacking = Counter(strikes) - Counter(seen.struck)
    if not lacking:
        return None
    first = next(strike for strike in strikes if strike in lacking)
    if seen.reached < len(strikes):
        return "diverged", f"{strikes[seen.reached]}: this call was never made"
    near = seen.nearest.get(first)
    there = f"; the nearest that was there is {near.fault}" if near is not None else ""
    return "not injected", f"{first}: the call was made, but there is no proof that the fault struck{there}"


def _hang(seen: Observation) -> CaseFailure | None:
    if seen.failure is not None and seen.failure.kind == "hang":
        return seen.failure
    for run in seen.runs:
        if run.how == "stopped":
            what = "recovery" if run.recovery else "workload"
            return CaseFailure("hang", "hang", f"the {what} of run {run.run} hung and was killed", run.stacks)
    return None


def _leaks(job: Job, seen: Observation) -> Iterator[CaseFailure]:
    """What a workload that ended by itself still held beyond what it holds without faults."""
    usual = job.expected.leaks if job.expected is not None else ()
    for index, (run, leaks) in enumerate(zip(seen.runs, seen.leaks, strict=False)):
        if run.how not in ("returned", "raised"):
            continue
        before = usual[index] if index < len(usual) else Leaks()
        for what in ("descriptors", "threads", "processes"):
            more = _more(getattr(before, what), getattr(leaks, what))
            if more:
                text = f"the workload of run {run.run} leaked {what}: {', '.join(more)}"
                yield CaseFailure("invariant", f"no_leaked_{what}", text, text)
        # It is the same leak as soon as a caller keeps the object, so it has no separate invariant.
        more = _more(before.unclosed, leaks.unclosed)
        if more:
            text = f"the workload of run {run.run} left to the garbage collector: {', '.join(more)}"
            yield CaseFailure("invariant", "no_leaked_descriptors", text, text)


def forgotten(job: Job, seen: Observation) -> Iterator[Caveat]:
    """Caveats for what was left open beyond the baseline, and which CPython closed with its frame."""
    usual = job.expected.leaks if job.expected is not None else ()
    for index, leaks in enumerate(seen.leaks):
        before = usual[index] if index < len(usual) else Leaks()
        for text in _more(before.forgotten, leaks.forgotten):
            where = "left to the garbage collector after a fault; 'with' closes it on every path"
            yield Caveat("unclosed", text, f"{text} was {where}")


def _more(before: Iterable[str], after: Iterable[str]) -> list[str]:
    """The names in ``after`` beyond those in ``before``; numbers in names do not tell them apart."""
    allowed = Counter(map(without_numbers, before))
    more = []
    for name in after:
        if allowed[without_numbers(name)] > 0:
            allowed[without_numbers(name)] -= 1
        else:
            more.append(name)
    return more


def without_numbers(name: str) -> str:
    """A name without the process ids, inode numbers and counters that distinguish it from similar ones."""
    return re.sub(r"0x[0-9a-f]+|\d+", "#", name)
