"""A finding in words, for readers who have never seen the test: what struck, what it left, how to replay."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from chaoskit.core.case import BROKEN, INCONCLUSIVE, CaseFailure, CaseResult, Difference, RunSummary
from chaoskit.core.finding import Finding
from chaoskit.core.result import OracleTrial, ScenarioResult
from chaoskit.core.source import of_a_library
from chaoskit.core.words import PYTEST, Words
from chaoskit.report.visible import on_one_line, visible


@dataclass(frozen=True, slots=True)
class Extent:
    """How much of a scenario is shown: the most of each. The report file has everything.

    ``findings`` are shown at all, ``whole`` of them with more than two lines; ``output`` counts characters.
    ``texts``: show pytest's whole text of what broke, not only the essential lines.
    """

    findings: int = 20
    whole: int = 20
    schedules: int = 5
    frames: int = 12
    differences: int = 20
    variations: int = 10
    output: int = 2000
    texts: bool = True


FULL = Extent()
"""Enough to see what happened without scrolling."""

BRIEF = Extent(8, whole=1, schedules=0, frames=1, differences=2, variations=3, output=300, texts=False)
"""Enough to start fixing each scenario, when many have failed and share a screen."""

LINES = Extent(50, whole=0, variations=0)
"""One or two lines for each finding."""

_BRIEF_LINES, _BRIEF_WIDTH = 4, 160


def replay_command(result: ScenarioResult, schedule: str) -> str:
    """The shell command that repeats one case, in the directory in which it was found."""
    if not schedule:
        # The baseline itself breaks, and every run begins with the baseline.
        known = result.options.command
        return f"chaoskit explore {known}" if known else f"pytest {shlex.quote(_test(result))}"
    if result.options.command:
        return f"chaoskit replay {shlex.quote(schedule)} {result.options.command}"
    return f"pytest {shlex.quote(_test(result))} --chaoskit-replay {shlex.quote(schedule)}"


def _test(result: ScenarioResult) -> str:
    # The name that pytest was given: a parametrized scenario may be shown under another name.
    return result.options.test or result.nodeid


def as_read(schedule: str) -> str:
    """A schedule for people: the empty one is called the baseline."""
    return schedule or "without any fault"


def finding_text(result: ScenarioResult, finding: Finding, detail: Extent = FULL) -> str:
    """Everything about a finding: what struck where, what is on the disk, which assertion, how to replay."""
    cases = [case for case in result.cases if case.finding == finding.index]
    shown = next((case for case in cases if case.schedule == finding.schedule), None)
    # A report that was reduced to its findings may not have the case.
    case = shown or next(iter(cases), None) or CaseResult(0, finding.schedule, finding.verdict)
    replay = f"      {replay_command(result, finding.schedule)}"
    text = "\n".join((*_finding(finding, case, detail), replay))
    # Its text comes from the program: names, messages, output.
    return visible(text)


def violation_text(result: ScenarioResult, detail: Extent = FULL) -> str:
    """The message of a failed scenario."""
    counts = result.verdicts
    broken = sum(counts[verdict] for verdict in BROKEN)
    new = result.new_findings
    known = [finding for finding in result.findings if finding.known]
    number = _plural(len(new), "new finding" if known else "finding")
    number += f", {len(known):,} known" if known else ""
    lines = [f"{broken} of {_plural(result.tried, 'case')} broke this scenario: {number}."]
    for finding in new[: detail.whole]:
        lines += [*([""] if detail.texts else []), finding_text(result, finding, detail)]
    brief = new[detail.whole : detail.findings]
    for finding in brief:
        lines += [_first_line(finding), f"    {_message(finding.failure)}"]
    if len(new) > detail.findings:
        lines += ["", f"… and {len(new) - detail.findings} more findings, in the report."]
    lines += ["", *(f"known: {one.id} {one.known}" for one in known)] if known else []
    lines += _gone(result)
    lines += _footnotes(result, detail)
    return "\n".join(map(visible, lines))


def _gone(result: ScenarioResult) -> list[str]:
    """The findings stated as known that no case showed, although all cases were run."""
    if not result.stale:
        return []
    lines = ["", "Stated as known but no longer found; remove what was fixed:"]
    return lines + [f"  {one}: {result.known.get(one, '')}" for one in result.stale]


def weak_text(oracle: OracleTrial) -> str:
    """What a check wrongly accepts, and what to do about it."""
    accepted = "; ".join(oracle.accepted)
    return (
        f"its check accepts {accepted}. Expected it to fail then, since no working program leaves that: "
        "assert what must be there."
    )


def inconclusive_text(result: ScenarioResult, words: Words = PYTEST) -> str:
    """The message of a scenario in which too many cases could not be judged."""
    unjudged = [case for case in result.cases if case.verdict in INCONCLUSIVE]
    allowed = result.options.allow_inconclusive
    lines = [
        f"{len(unjudged)} of {_plural(result.tried, 'case')} could not be judged, after "
        f"{_plural(max(case.attempts for case in unjudged), 'attempt')}; at most {allowed:.0%} may be"
        f"{words.allowance}. A case without proof that its fault struck is never counted as passed.",
        "",
    ]
    for case in unjudged[: FULL.findings]:
        lines.append(f"  {case.verdict}: {case.schedule}")
        lines += [f"      {case.note}"] if case.note else []
        lines.append(f"      replay: {replay_command(result, case.schedule)}")
    if len(unjudged) > FULL.findings:
        lines.append(f"  … and {len(unjudged) - FULL.findings} more")
    if not result.variations:
        lines += ["", _NO_VARIATIONS]
    lines += map(visible, _footnotes(result, FULL))
    return "\n".join(lines)


_NO_VARIATIONS = (
    "Two baselines did not differ, so this comes from what the faults do, or from the clock: both may "
    "have fallen within one second. A program that writes the time into what it hashes or names (git commit "
    "without GIT_AUTHOR_DATE and GIT_COMMITTER_DATE) makes other calls in the next one. Fix its time."
)


def _footnotes(result: ScenarioResult, detail: Extent) -> list[str]:
    lines = []
    if result.variations and detail.variations:
        lines += ["", "Not the same in two baselines:"]
        for one in result.variations[: detail.variations]:
            where = f" ({one.site.file}:{one.site.line})" if one.site else ""
            lines.append(f"  {one.kind}: {one.text}{where}")
    if result.caveats and detail.variations:
        lines += ["", "Could not be followed:", *(f"  {c.kind}: {c.text}" for c in result.caveats)]
    return lines


def _first_line(finding: Finding) -> str:
    return f"[{finding.id or finding.index + 1}] {finding.verdict}: {as_read(finding.schedule)}"


def _finding(finding: Finding, case: CaseResult, detail: Extent) -> Iterator[str]:
    yield _first_line(finding)
    # None means that it was not tried. Only a failed attempt is worth a line.
    if finding.reproduced is False:
        yield "    this did not show again when the case was run once more, so chance has a part in it"
    # In the order in which a reader asks: how small, how often, what, why, and what came of it.
    yield from _class(finding)
    yield from _size(finding)
    yield from _others(finding, detail.schedules)
    yield from _struck(finding, case, detail.frames)
    yield from _advice(finding)
    yield from _outcomes(case.runs)
    yield from _disk(finding.differences, detail)
    yield from _broken(finding, case, detail)
    yield "    replay it:"


CLASSES = {
    "share": "only on a network file system",
    "interference": "only where other processes change these names or hold these locks",
}
"""What is said of findings that a program alone on a local disk never meets."""


def _class(finding: Finding) -> Iterator[str]:
    if finding.fault_class in CLASSES:
        yield f"    {finding.fault_class}: {CLASSES[finding.fault_class]}"


def _size(finding: Finding) -> Iterator[str]:
    if finding.shrunk_from:
        yield f"    made smaller from: {finding.shrunk_from}"
    if finding.smallest is False:
        yield "    a still smaller crash state may break it too: the search was stopped by its bound"


def _others(finding: Finding, limit: int) -> Iterator[str]:
    others = [schedule for schedule in finding.schedules if schedule != finding.schedule]
    if not others:
        return
    yield f"    and {len(others)} more with the same cause:{'' if limit else ' -v lists them'}"
    yield from (f"      {schedule}" for schedule in others[:limit])
    if limit and len(others) > limit:
        yield f"      … {len(others) - limit} more"


def _struck(finding: Finding, case: CaseResult, frames: int) -> Iterator[str]:
    receipts = [receipt for run in case.runs for receipt in run.receipts]
    for receipt in receipts:
        yield f"    struck: {receipt.operation}, {receipt.effect}"
    if not receipts and finding.schedule:
        yield f"    struck: nothing that is proven{f' ({case.note})' if case.note else ''}"
    if finding.stack:
        yield "    in the call (most recent call last):"
        yield from _stack(finding, frames)


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


def _stack(finding: Finding, limit: int) -> Iterator[str]:
    # Reports of early versions have no lines of source.
    source = (*finding.source, *("" for _ in finding.stack))
    shown = list(zip(finding.stack, source, strict=False))
    if limit < len(shown):
        # The line to fix is usually the innermost one outside libraries.
        own = next((i for i, (frame, _) in enumerate(shown) if not of_a_library(frame.file)), 0)
        first = own if limit == 1 else 0
        shown = shown[first : first + limit]
    # Recorded from the call outwards, but people read tracebacks the other way round.
    for frame, line in reversed(shown):
        yield f'      File "{on_one_line(frame.file)}", line {frame.line}, in {frame.function}'
        if line:
            yield f"        {line}"


def _outcomes(runs: Iterable[RunSummary]) -> Iterator[str]:
    for run in runs:
        what = "recovery" if run.recovery else "workload"
        with_what = run.error.splitlines()[0] if run.error else run.signal
        yield f"    {what} (run {run.run}): {run.how}{f' {with_what}' if with_what else ''}"
        if run.promised:
            yield f"      had promised {_plural(run.promised, 'value')}"


def _disk(differences: Sequence[Difference], detail: Extent) -> Iterator[str]:
    if not differences:
        return
    yield "    disk at the end, beside what the baseline left:"
    limit = detail.differences
    for one in differences[:limit]:
        sides = ", ".join(
            f"{name} {value}" for name, value in (("expected", one.expected), ("found", one.found)) if value
        )
        yield f"      {one.change:<8} {on_one_line(one.path)}: {on_one_line(sides)}"
        if one.detail:
            text = (
                one.detail
                if detail.texts or len(one.detail) <= _BRIEF_WIDTH
                else f"{one.detail[:_BRIEF_WIDTH]}…"
            )
            yield f"               {text}"
    if len(differences) > limit:
        yield f"      … {len(differences) - limit} more"


def _message(failure: CaseFailure) -> str:
    message = failure.message.splitlines()[0] if failure.message else failure.name
    return f"{_TITLES[failure.kind]}: {message}"


def _broken(finding: Finding, case: CaseResult, detail: Extent) -> Iterator[str]:
    failure = finding.failure
    yield f"    {_message(failure)}"
    if failure.text.strip() and failure.text != failure.message:
        lines = failure.text.rstrip().splitlines()
        shown = lines if detail.texts else _in_brief(lines, failure.message)
        yield from (f"      {line}" for line in shown)
    if case.output.strip():
        yield "    printed in this case:"
        # From the end: the last output is closest to what went wrong.
        printed = case.output[-detail.output :].rstrip().splitlines()
        yield from (f"      {line}" for line in (printed if detail.texts else printed[-_BRIEF_LINES:]))


def _in_brief(lines: Sequence[str], message: str) -> Sequence[str]:
    """The test's line and its error from pytest's text, or the end of any other text."""
    said = [line for line in lines if line.startswith("E ")]
    if not said:
        return lines[-_BRIEF_LINES:]
    # The first such line is the test's own; the functions that it called come below. With --tb=short it
    # follows the place, otherwise it precedes it.
    places = [i for i, line in enumerate(lines) if re.match(r"\S+:\d+:", line)]
    where = lines[places[0]].partition(" in ")[0].rpartition(":")[0] if places else ""
    follows = lines[places[0] + 1] if places and places[0] + 1 < len(lines) else ""
    pointed = next((line[1:] for line in lines if line.startswith(">")), follows).strip()
    # The first error is the message, which is shown above.
    new = [line for line in said if line[1:].strip() not in message and message not in line]
    return [*filter(None, (f"{where}: {pointed}".strip(": "),)), *new[:_BRIEF_LINES]]


_TITLES = {
    "assertion": "broken assertion",
    "error": "error after the faults",
    "invariant": "broken invariant",
    "hang": "hung",
    "death": "the test process died",
}


def _plural(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
