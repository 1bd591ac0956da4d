"""The summary at the end of a test run: a few lines that say what was tried and what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from chaoskit.core.case import INCONCLUSIVE, VERDICTS
from chaoskit.core.result import AFTER_FIRST, ALIKE, HANGS_THERE, UNSTABLE, ScenarioResult, StateCounts
from chaoskit.report.document import Entry, Report, Totals, broken, cut_by_budget, left_out
from chaoskit.report.explain import as_read
from chaoskit.report.visible import on_one_line

_MARKUP = {"violated": "red", "hung": "red", "diverged": "yellow", "not injected": "yellow"}

_WORTH_SAYING = 1.0
"""The summary says how many seconds of waiting were skipped, from this number on."""

KNOWN_SHOWN = 2
"""The most known findings of one scenario that are listed."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of plain text; ``markup`` holds keywords of pytest's ``TerminalWriter.line``."""

    text: str
    markup: dict[str, bool] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.text


def summary_lines(report: Report, *, verbose: bool = False) -> tuple[Line, ...]:
    """The summary. Scenarios that need attention have a separate line; with ``verbose`` all have."""
    # Once for all of it: a name must neither move the cursor nor forge a line.
    return tuple(replace(line, text=on_one_line(line.text)) for line in _lines(report, verbose))


def _lines(report: Report, verbose: bool) -> Iterator[Line]:
    totals = report.totals
    for entry in report.entries:
        if verbose or _needs_attention(entry):
            yield from _scenario(entry)
    failed = any(entry.outcome == "failed" for entry in report.entries)
    # Scenarios without a single case have shown nothing, so the line must not be green.
    bad = failed or (totals.scenarios and not totals.cases)
    yield Line(headline(totals), {"red" if bad else "green": True, "bold": True})
    yield Line(f"verdicts: {verdict_text(totals)}")
    if totals.known_findings:
        yield Line(f"known findings, stated in their scenarios: {totals.known_findings}")
    if totals.weak_oracles:
        text = f"{counted(totals.weak_oracles, 'scenario')} with a check that accepts what it should not"
        yield Line(text, {"yellow": True})
    # After an interruption the last line counts the missing cases, and the budget is not the reason.
    if (cut := cut_by_budget(report.entries)) and not report.interrupted:
        text = f"budget: {totals.cases:,} of {totals.cases + cut:,} cases were run"
        yield Line(text, {"yellow": True})
    if totals.not_waited >= _WORTH_SAYING:
        yield Line(f"virtual time: {totals.not_waited:,.1f} s were not waited")
    if totals.crash_states is not None:
        yield Line(f"crash states: {states_text(totals.crash_states)}")
    yield from _not_covered(report.entries)
    if report.interrupted:
        ran = f"{totals.cases:,} of {totals.cases_possible:,} cases were run; "
        ran = ran if totals.cases < totals.cases_possible else ""
        yield Line(f"interrupted: {ran}what had not ended is missing", {"yellow": True})


def _not_covered(entries: Sequence[Entry]) -> Iterator[Line]:
    """What the verdicts do not cover: one line for each reason, however many scenarios have it."""
    counts = left_out(entries)
    if counts[UNSTABLE]:
        text = f"left out: {counted(counts[UNSTABLE], 'case')}, at calls that are {UNSTABLE}"
        yield Line(f"{text}: {_first_few(_varied(entries))}", {"yellow": True})
    for why in (ALIKE, HANGS_THERE, AFTER_FIRST):
        if counts[why]:
            yield Line(f"left out: {counted(counts[why], 'case')} ({why})")
    by_kind: dict[str, dict[str, None]] = {}
    for entry in entries:
        for caveat in entry.result.caveats:
            by_kind.setdefault(caveat.kind, {})[caveat.text] = None
    for kind, texts in sorted(by_kind.items()):
        yield Line(f"caveat {kind}: {_first_few(texts, 1)}", {"yellow": True})


def _varied(entries: Iterable[Entry]) -> Iterator[str]:
    """What occurs in only one of two baselines, in scenarios that leave out cases for that reason."""
    for entry in entries:
        if UNSTABLE in entry.result.budget.left_out:
            yield from (v.text for v in entry.result.variations if v.kind.startswith("only in"))


def _first_few(texts: Iterable[str], limit: int = 3) -> str:
    different = list(dict.fromkeys(" ".join(text.split()) for text in texts))
    # Once each: workers and shards often say the same.
    more = len(different) - limit
    return ", ".join(different[:limit]) + (f" (and {more:,} more)" if more > 0 else "")


def headline(totals: Totals) -> str:
    """Scenarios, points, cases, findings, time; or that nothing was examined."""
    if totals.scenarios and not totals.cases:
        how = ", ".join(f"{number:,} {outcome}" for outcome, number in totals.outcomes.items() if number)
        tried = f"{counted(totals.scenarios, 'scenario')} ({how}), no case"
        return f"nothing was examined: {tried} in {totals.seconds:.1f} s"
    findings = counted(totals.findings, "finding") if totals.findings else "no findings"
    points = f"{counted(totals.points, 'point')} ({totals.points_struck:,} struck)"
    tried = f"{counted(totals.scenarios, 'scenario')}, {points}, {counted(totals.cases, 'case')}"
    return f"{tried}: {findings} in {totals.seconds:.1f} s"


def verdict_text(totals: Totals) -> str:
    """``2,990 tolerated, 130 failed safe``: the verdicts that occurred."""
    counts = [f"{totals.verdicts[name]:,} {name}" for name in VERDICTS if totals.verdicts.get(name)]
    return ", ".join(counts) or "none, as no case was run"


def states_text(states: StateCounts) -> str:
    """``1,200 possible, 400 distinct, 150 checked, 250 left out``."""
    counts = (
        (states.possible, "possible"),
        (states.distinct, "distinct"),
        (states.checked, "checked"),
        (states.left_out, "left out"),
    )
    return ", ".join(f"{number:,} {name}" for number, name in counts)


def counted(number: int, noun: str) -> str:
    """``1 case``, ``2,112 cases``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _scenario(entry: Entry) -> Iterator[Line]:
    result = entry.result
    known = bool(result.findings) and not result.new_findings
    state = "known findings" if known and entry.outcome == "passed" else entry.outcome
    verdicts = ", ".join(f"{count:,} {name}" for name, count in result.verdicts.items() if count)
    text = f"{result.nodeid}: {state}; {counted(result.tried, 'case')}"
    colour = {"red": True} if entry.outcome == "failed" else {"yellow": True} if known else {}
    yield Line(f"{text}: {verdicts}" if verdicts else text, colour)
    for finding in result.new_findings:
        text = f"{finding.id} {finding.verdict}: {as_read(finding.schedule)}".lstrip()
        yield Line(f"    {text}", {_MARKUP[finding.verdict]: True})
    accepted = [finding for finding in result.findings if finding.known]
    for finding in accepted[:KNOWN_SHOWN]:
        yield Line(f"    {finding.id} known: {finding.schedule}", {"yellow": True})
    if len(accepted) > KNOWN_SHOWN:
        yield Line(f"    … and {len(accepted) - KNOWN_SHOWN} more known ones, in the report")
    for gone in result.stale:
        yield Line(f"    {gone} is stated as known and gone", {"red": True})
    for name in unreached(result):
        yield Line(f"    no case came to: {name}", {"yellow": True})
    if result.oracle is not None:
        for what in result.oracle.accepted:
            yield Line(f"    its check accepts {what}", {"yellow": True})
    if result.error and entry.outcome == "failed":
        yield Line(f"    {result.error.splitlines()[0]}")


def _needs_attention(entry: Entry) -> bool:
    """Return True if something failed, broke or could not be judged; all other scenarios are only counted."""
    inconclusive = any(entry.result.verdicts[verdict] for verdict in INCONCLUSIVE)
    weak = entry.result.oracle is not None and bool(entry.result.oracle.accepted)
    idle = weak or bool(unreached(entry.result))
    return entry.outcome == "failed" or bool(broken(entry)) or inconclusive or idle


def unreached(result: ScenarioResult) -> list[str]:
    """The states that some case must reach, and none did."""
    return [name for name, number in result.sometimes.items() if not number]
