"""A finding in words, for a reader who has never seen the test: what struck, what it left, how to replay."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterable, Iterator, Sequence

from chaoskit.core.case import BROKEN, INCONCLUSIVE, CaseResult, Difference, RunSummary
from chaoskit.core.finding import Finding
from chaoskit.core.operation import Frame
from chaoskit.core.result import ScenarioResult
from chaoskit.core.words import PYTEST, Words

_SCHEDULES_SHOWN = 5
_FRAMES_SHOWN = 12
_DIFFERENCES_SHOWN = 20
_FINDINGS_SHOWN = 20
_OUTPUT_SHOWN = 2000
_VARIATIONS_SHOWN = 10
# Enough to see what happened without scrolling it away; the result file has everything.


def replay_command(result: ScenarioResult, schedule: str) -> str:
    """The line for a shell that repeats one case, in the directory in which it was found."""
    if result.options.command:
        return f"chaoskit replay {shlex.quote(schedule)} {result.options.command}"
    # The name that pytest was given: a parametrized scenario may be shown under another.
    test = result.options.test or result.nodeid
    return f"pytest {shlex.quote(test)} --chaoskit-replay {shlex.quote(schedule)}"


def finding_text(result: ScenarioResult, finding: Finding) -> str:
    """All about one finding: what struck where, what is on the disk, which assertion, how to replay."""
    cases = [case for case in result.cases if case.finding == finding.index]
    shown = next((case for case in cases if case.schedule == finding.schedule), None)
    # A report that was cut down to its findings may have lost the case.
    case = shown or next(iter(cases), None) or CaseResult(0, finding.schedule, finding.verdict)
    return "\n".join((*_finding(finding, case), f"      {replay_command(result, finding.schedule)}"))


def violation_text(result: ScenarioResult) -> str:
    """The whole message of a failed scenario."""
    counts = result.verdicts
    broken = sum(counts[verdict] for verdict in BROKEN)
    number = _plural(len(result.findings), "finding")
    lines = [f"{broken} of {_plural(len(result.cases), 'case')} broke this scenario: {number}."]
    for finding in result.findings[:_FINDINGS_SHOWN]:
        lines += ["", finding_text(result, finding)]
    if len(result.findings) > _FINDINGS_SHOWN:
        lines += ["", f"… and {len(result.findings) - _FINDINGS_SHOWN} more findings, in the report."]
    lines += _footnotes(result)
    return "\n".join(lines)


def inconclusive_text(result: ScenarioResult, words: Words = PYTEST) -> str:
    """The message of a scenario in which too many cases could not be judged."""
    unjudged = [case for case in result.cases if case.verdict in INCONCLUSIVE]
    allowed = result.options.allow_inconclusive
    lines = [
        f"{len(unjudged)} of {_plural(len(result.cases), 'case')} could not be judged, after "
        f"{_plural(max(case.attempts for case in unjudged), 'attempt')}; at most {allowed:.0%} may be"
        f"{words.allowance}. A case without proof that its fault struck is never counted as passed.",
        "",
    ]
    for case in unjudged[:_FINDINGS_SHOWN]:
        lines.append(f"  {case.verdict}: {case.schedule}")
        lines += [f"      {case.note}"] if case.note else []
        lines.append(f"      replay: {replay_command(result, case.schedule)}")
    if len(unjudged) > _FINDINGS_SHOWN:
        lines.append(f"  … and {len(unjudged) - _FINDINGS_SHOWN} more")
    if not result.variations:
        lines += ["", _NO_VARIATIONS]
    lines += _footnotes(result)
    return "\n".join(lines)


_NO_VARIATIONS = (
    "Two baselines did not differ, so this comes from what the faults do, or from the clock: both may "
    "have fallen within one second. A program that writes the time into what it hashes or names (git commit "
    "without GIT_AUTHOR_DATE and GIT_COMMITTER_DATE) makes other calls in the next one. Fix its time."
)


def _footnotes(result: ScenarioResult) -> list[str]:
    lines = []
    if result.variations:
        lines += ["", "Not the same in two baselines:"]
        for one in result.variations[:_VARIATIONS_SHOWN]:
            where = f" ({one.site.file}:{one.site.line})" if one.site else ""
            lines.append(f"  {one.kind}: {one.text}{where}")
    if result.caveats:
        lines += ["", "Could not be followed:", *(f"  {c.kind}: {c.text}" for c in result.caveats)]
    return lines


def _finding(finding: Finding, case: CaseResult) -> Iterator[str]:
    yield f"[{finding.index + 1}] {finding.verdict}: {finding.schedule}"
    # None: it was not tried. Only an attempt that failed says anything.
    if finding.reproduced is False:
        yield "    this did not show again when the case was run once more, so chance has a part in it"
    # In the order in which a reader asks: how small, how often, what, why, and what came of it.
    yield from _size(finding)
    yield from _others(finding)
    yield from _struck(finding, case)
    yield from _advice(finding)
    yield from _outcomes(case.runs)
    yield from _disk(finding.differences)
    yield from _broken(finding, case)
    yield "    replay it:"


def _size(finding: Finding) -> Iterator[str]:
    if finding.shrunk_from:
        yield f"    made smaller from: {finding.shrunk_from}"
    if finding.smallest is False:
        yield "    a still smaller crash state may break it too: the search was stopped by its bound"


def _others(finding: Finding) -> Iterator[str]:
    others = [schedule for schedule in finding.schedules if schedule != finding.schedule]
    if not others:
        return
    yield f"    and {len(others)} more at the same call site, broken in the same way:"
    yield from (f"      {schedule}" for schedule in others[:_SCHEDULES_SHOWN])
    if len(others) > _SCHEDULES_SHOWN:
        yield f"      … {len(others) - _SCHEDULES_SHOWN} more"


def _struck(finding: Finding, case: CaseResult) -> Iterator[str]:
    receipts = [receipt for run in case.runs for receipt in run.receipts]
    for receipt in receipts:
        yield f"    struck: {receipt.operation}, {receipt.effect}"
    if not receipts:
        yield f"    struck: nothing that is proven{f' ({case.note})' if case.note else ''}"
    if finding.stack:
        yield "    in the call (most recent call last):"
        yield from _stack(finding)


def _advice(finding: Finding) -> Iterator[str]:
    if finding.advice is None:
        return
    yield f"    because {finding.advice.text}"
    if finding.models:
        yield f"    after a power loss on: {', '.join(finding.models)}"
    for schedule in dict.fromkeys(finding.by_model.values()):
        if schedule != finding.schedule:
            models = ", ".join(model for model, other in finding.by_model.items() if other == schedule)
            yield f"    on {models} more is missing with it: {schedule}"
    yield "    fix:"
    yield from (f"      {line}" for line in finding.advice.fix.splitlines())


def _stack(finding: Finding) -> Iterator[str]:
    shown = list(itertools.zip_longest(finding.stack, finding.source, fillvalue=""))[:_FRAMES_SHOWN]
    # Recorded from the call outwards; people read tracebacks the other way round.
    for frame, source in reversed(shown):
        assert isinstance(frame, Frame)
        yield f'      File "{frame.file}", line {frame.line}, in {frame.function}'
        if source:
            yield f"        {source}"


def _outcomes(runs: Iterable[RunSummary]) -> Iterator[str]:
    for run in runs:
        what = "recovery" if run.recovery else "workload"
        with_what = run.error.splitlines()[0] if run.error else run.signal
        yield f"    {what} (run {run.run}): {run.how}{f' {with_what}' if with_what else ''}"
        if run.promised:
            yield f"      had promised {_plural(run.promised, 'value')}"


def _disk(differences: Sequence[Difference]) -> Iterator[str]:
    if not differences:
        return
    yield "    disk at the end, beside what the baseline left:"
    for one in differences[:_DIFFERENCES_SHOWN]:
        sides = ", ".join(
            f"{name} {value}" for name, value in (("expected", one.expected), ("found", one.found)) if value
        )
        yield f"      {one.change:<8} {one.path}: {sides}"
        if one.detail:
            yield f"               {one.detail}"
    if len(differences) > _DIFFERENCES_SHOWN:
        yield f"      … {len(differences) - _DIFFERENCES_SHOWN} more"


def _broken(finding: Finding, case: CaseResult) -> Iterator[str]:
    failure = finding.failure
    message = failure.message.splitlines()[0] if failure.message else failure.name
    yield f"    {_TITLES[failure.kind]}: {message}"
    if failure.text.strip() and failure.text != failure.message:
        yield from (f"      {line}" for line in failure.text.rstrip().splitlines())
    if case.output.strip():
        yield "    printed in this case:"
        # The end: what was printed last is nearest to what went wrong.
        yield from (f"      {line}" for line in case.output[-_OUTPUT_SHOWN:].rstrip().splitlines())


_TITLES = {
    "assertion": "broken assertion",
    "error": "error after the faults",
    "invariant": "broken invariant",
    "hang": "hung",
    "death": "the test process died",
}


def _plural(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
