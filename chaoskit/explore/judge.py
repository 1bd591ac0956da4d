"""From what one execution showed to its verdict."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from chaoskit.core.case import CaseFailure, Verdict
from chaoskit.explore.job import Job
from chaoskit.explore.observation import Observation
from chaoskit.inject.base import Leaks


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict with what led to it; ``again`` says that the case should be tried once more."""

    verdict: Verdict
    failure: CaseFailure | None = None
    note: str = ""
    again: bool = False


def judge(job: Job, seen: Observation) -> Judgement:
    """The verdict on one execution of ``job``.

    A failure is a violation even without a receipt: it must not hide behind an allowed share of
    inconclusive cases. But it is tried again first. A hang after calls that a signal interrupted while they
    waited for us is none of the program's, and never a finding.
    """
    missing = _missing(job, seen)
    stray = sum(run.stray_interrupts for run in seen.runs)
    hang = _hang(seen)
    if hang is not None and stray:
        # A close that was interrupted leaves its descriptor open, and the reader of the pipe waits for ever.
        return Judgement("diverged", note=f"it hung after {_interrupted(stray)}", again=True)
    if hang is not None:
        return Judgement("hung", hang)
    if seen.failure is not None:
        notes = [f"without a receipt: {missing[1]}"] if missing else []
        notes += [_interrupted(stray)] if stray else []
        return Judgement("violated", seen.failure, "; ".join(notes), again=bool(notes))
    if missing is not None:
        return Judgement(missing[0], note=missing[1], again=True)
    leak = next(_leaks(job, seen), None)
    if leak is not None:
        return Judgement("violated", leak)
    if seen.skipped:
        return Judgement("diverged", note=f"the test skipped itself in this case: {seen.skipped}")
    struck = [run for run in seen.runs if run.receipts]
    verdict: Verdict = "tolerated" if all(run.how == "returned" for run in struck) else "failed safe"
    return Judgement(verdict, again=stray > 0, note=_interrupted(stray) if stray else "")


def _interrupted(stray: int) -> str:
    """What is said of calls that a signal of the workload's own interrupted before we had them."""
    return f"{stray} calls were interrupted"


def _missing(job: Job, seen: Observation) -> tuple[Verdict, str] | None:
    """The verdict and the reason if a strike of the schedule is not proven to have struck."""
    strikes = [str(strike) for strike in job.schedule]
    lacking = Counter(strikes) - Counter(seen.struck)
    if not lacking:
        return None
    first = next(strike for strike in strikes if strike in lacking)
    if seen.reached < len(strikes):
        return "diverged", f"{strikes[seen.reached]}: this call was never made"
    return "not injected", f"{first}: the call was made, but there is no proof that the fault struck"


def _hang(seen: Observation) -> CaseFailure | None:
    if seen.failure is not None and seen.failure.kind == "hang":
        return seen.failure
    for run in seen.runs:
        if run.how == "stopped":
            what = "recovery" if run.recovery else "workload"
            return CaseFailure("hang", "hang", f"the {what} of run {run.run} hung and was killed", run.stacks)
    return None


def _leaks(job: Job, seen: Observation) -> Iterator[CaseFailure]:
    """What a workload that ended by itself still held, beyond what it holds without faults."""
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
    """A name in which process ids, inode numbers and counters do not tell it from its like."""
    return re.sub(r"\d+", "#", name)
