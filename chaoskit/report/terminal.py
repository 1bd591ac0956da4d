"""The summary at the end of a test run: a few lines that say what was tried and what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from chaoskit.core.case import INCONCLUSIVE, VERDICTS
from chaoskit.core.result import ALIKE, UNSTABLE, StateCounts
from chaoskit.report.document import Entry, Report, Totals, broken, cut_by_budget, left_out

_MARKUP = {"violated": "red", "hung": "red", "diverged": "yellow", "not injected": "yellow"}

KNOWN_SHOWN = 2
"""How many findings of a scenario that states them as known are listed."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of plain text; ``markup`` holds keywords of pytest's ``TerminalWriter.line``."""

    text: str
    markup: dict[str, bool] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.text


def summary_lines(report: Report, *, verbose: bool = False) -> tuple[Line, ...]:
    """The summary. Scenarios that need attention have a separate line; with ``verbose`` all have."""
    return tuple(_lines(report, verbose))


def _lines(report: Report, verbose: bool) -> Iterator[Line]:
    totals = report.totals
    for entry in report.entries:
        if verbose or _needs_attention(entry):
            yield from _scenario(entry)
    failed = any(entry.outcome == "failed" for entry in report.entries)
    yield Line(headline(totals), {"red" if failed else "green": True, "bold": True})
    yield Line(f"verdicts: {verdict_text(totals)}")
    if totals.known_findings:
        yield Line(f"known findings, stated in their scenarios: {totals.known_findings}")
    # After an interruption the last line counts what is missing, and a budget had no say in it.
    if (cut := cut_by_budget(report.entries)) and not report.interrupted:
        text = f"budget: {totals.cases:,} of {totals.cases + cut:,} cases were run"
        yield Line(text, {"yellow": True})
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
    if counts[ALIKE]:
        yield Line(f"left out: {counted(counts[ALIKE], 'case')} ({ALIKE})")
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
    """Scenarios, points, cases, findings, time."""
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
    state = "known finding" if entry.known else entry.outcome
    verdicts = ", ".join(f"{count:,} {name}" for name, count in result.verdicts.items() if count)
    text = f"{result.nodeid}: {state}; {counted(len(result.cases), 'case')}"
    colour = {"red": True} if entry.outcome == "failed" else {"yellow": True} if entry.known else {}
    yield Line(f"{text}: {verdicts}" if verdicts else text, colour)
    shown = result.findings[:KNOWN_SHOWN] if entry.known else result.findings
    for finding in shown:
        yield Line(f"    {finding.verdict}: {finding.schedule}", {_MARKUP[finding.verdict]: True})
    if len(shown) < len(result.findings):
        yield Line(f"    … and {len(result.findings) - len(shown)} more, in the report")
    if result.error and entry.outcome == "failed":
        yield Line(f"    {result.error.splitlines()[0]}")


def _needs_attention(entry: Entry) -> bool:
    """Something failed, broke, or could not be judged; a scenario that is fine is counted and not listed."""
    inconclusive = any(entry.result.verdicts[verdict] for verdict in INCONCLUSIVE)
    return entry.outcome == "failed" or bool(broken(entry)) or inconclusive
