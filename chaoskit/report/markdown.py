"""The report as Markdown, short enough for the summary page of a CI run."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from textwrap import indent

from chaoskit.core.case import BROKEN, INCONCLUSIVE, VERDICTS, CaseResult
from chaoskit.core.finding import Advice, Finding
from chaoskit.core.result import UNSTABLE, ScenarioResult
from chaoskit.report.document import Entry, Report, Run, cut_by_budget, left_out
from chaoskit.report.explain import finding_text, replay_command
from chaoskit.report.terminal import counted, headline, states_text, verdict_text

LONGEST_EXPLANATION = 8_000
"""Characters of one finding that are shown. CI services cut summaries at about 1 MB; the JSON has all."""


def markdown(report: Report) -> str:
    """The whole summary. Deterministic: equal reports give equal text."""
    parts = [
        "# chaoskit report",
        _head(report),
        _scenarios(report),
        _crash_states(report),
        _calls(report),
        _findings(report, known=False),
        _findings(report, known=True),
        _inconclusive(report),
        _remarks(report),
        _runs(report.runs),
    ]
    # A part with nothing to say is left out, heading and all.
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(report: Report) -> str:
    totals = report.totals
    lines = [f"**{headline(totals)}.**"]
    lines.append(f"Verdicts of cases: {verdict_text(totals)}.")
    if totals.known_findings:
        lines.append(f"Known findings, stated in their scenarios: {totals.known_findings}.")
    if (cut := cut_by_budget(report.entries)) and not report.interrupted:
        lines.append(f"The budget allowed {totals.cases:,} of {totals.cases + cut:,} possible cases.")
    if report.interrupted and totals.cases < totals.cases_possible:
        before = f"{totals.cases:,} of {totals.cases_possible:,} possible cases"
        lines.append(f"Before the interruption there were {before}.")
    if unstable := left_out(report.entries)[UNSTABLE]:
        lines.append(f"Left out: {counted(unstable, 'case')}, at calls that are {UNSTABLE}.")
    if totals.crash_states is not None:
        lines.append(f"Crash states: {states_text(totals.crash_states)}.")
    if report.interrupted:
        lines.append("**The run was interrupted**: what had not ended is missing.")
    # Two blanks at the end of a line make a line break in Markdown.
    return "  \n".join(lines)


def _scenarios(report: Report) -> str:
    if not report.entries:
        return "No scenario was run."
    several = len(report.runs) > 1
    head = ["scenario", *(["run"] if several else []), "outcome", "points", "cases"]
    rows = []
    for entry in report.entries:
        result = entry.result
        names = [code(result.nodeid), *([str(entry.run + 1)] if several else [])]
        cases = f"{len(result.cases):,}"
        # "of" only where something was left out: otherwise it looks like a limit.
        if result.budget.possible > len(result.cases):
            cases += f" of {result.budget.possible:,}"
        verdicts = result.verdicts
        rows.append(
            [
                *names,
                _outcome(entry),
                f"{len(result.points):,}",
                cases,
                *(_number(verdicts[verdict]) for verdict in (*VERDICTS[:2], *BROKEN)),
                _number(sum(verdicts[verdict] for verdict in INCONCLUSIVE)),
                f"{result.timing.total:.1f}",
            ]
        )
    return "## Scenarios\n\n" + table([*head, *VERDICTS[:2], *BROKEN, "inconclusive", "seconds"], rows)


def _crash_states(report: Report) -> str:
    """What power losses may have left, and how much of it was checked."""
    several = len(report.runs) > 1
    rows = [
        [
            code(entry.result.nodeid),
            *([str(entry.run + 1)] if several else []),
            *(f"{number:,}" for number in (known.possible, known.distinct, known.checked, known.left_out)),
        ]
        for entry in report.entries
        if (known := entry.result.crash_states) is not None
    ]
    head = ["scenario", *(["run"] if several else []), "possible", "distinct", "checked", "left out"]
    return "## Crash states\n\n" + table(head, rows) if rows else ""


def _outcome(entry: Entry) -> str:
    # In the words of a scenario: pytest's own would have to be explained.
    words = {"xfailed": "known finding", "xpassed": "known finding is gone"}
    text = words.get(entry.outcome, entry.outcome)
    return f"**{text}**" if entry.outcome in ("failed", "xpassed") else text


def _calls(report: Report) -> str:
    """Which calls were struck, and what came of it."""
    counts: dict[str, Counter[str]] = {}
    for entry in report.entries:
        for case in entry.result.cases:
            for call in calls_of(entry.result, case):
                counts.setdefault(call, Counter()).update([case.verdict])
    if not counts:
        return ""
    rows = [
        [code(call), f"{sum(verdicts.values()):,}", *(_number(verdicts[name]) for name in VERDICTS)]
        for call, verdicts in sorted(counts.items())
    ]
    return "## Calls that were struck\n\n" + table(["call", "cases", *VERDICTS], rows)


def calls_of(result: ScenarioResult, case: CaseResult) -> tuple[str, ...]:
    """The calls that a case strikes, each once, in the order of the schedule."""
    return tuple(dict.fromkeys(result.points[index].call for index in case.points))


def _findings(report: Report, *, known: bool) -> str:
    blocks = [
        _finding(entry, finding)
        for entry in report.entries
        if entry.known == known
        for finding in entry.result.findings
    ]
    if not known:
        # A scenario that could not be explored has no finding to show, only what it said.
        unexplored = [e for e in report.entries if e.outcome == "failed" and not e.result.findings]
        blocks += [_error(entry) for entry in unexplored if entry.result.error]
    title = "## Known findings" if known else "## Findings"
    return "\n\n".join([title, *blocks]) if blocks else ""


def _finding(entry: Entry, finding: Finding) -> str:
    lines = [f"### {escape(entry.result.nodeid)}: {finding.verdict}", ""]
    if entry.reason:
        lines += [escape(entry.reason), ""]
    lines.append(f"- schedule: {code(finding.schedule)}")
    if finding.site is not None:
        where = f"{finding.site.file}:{finding.site.line}"
        lines.append(f"- struck: {code(finding.call)} at {code(where)} in {code(finding.site.function)}")
    if finding.failure.message:
        lines.append(f"- broken: {code(first_line(finding.failure.message))}")
    if finding.models:
        lines.append(f"- file systems that allow it: {', '.join(finding.models)}")
    if finding.advice is not None:
        lines.append(f"- advice: {_advice(finding.advice)}{_fix(finding.advice)}")
    others = len(finding.schedules) - 1
    if others > 0:
        lines.append(f"- {counted(others, 'further schedule')} broke it in the same way")
    lines.append(f"- replay: {code(replay_command(entry.result, finding.schedule))}")
    # A known finding asks for no action: the line that replays it is enough.
    if not entry.known:
        text = finding_text(entry.result, finding)
        lines += ["", "<details><summary>what the test printed</summary>", "", block(text), "", "</details>"]
    return "\n".join(lines)


def _error(entry: Entry) -> str:
    return f"### {escape(entry.result.nodeid)}: could not be explored\n\n{block(entry.result.error)}"


def _inconclusive(report: Report) -> str:
    lines = [
        f"- {code(entry.result.nodeid)}: {code(case.schedule)} {case.verdict}"
        + (f" ({escape(first_line(case.note))})" if case.note else "")
        for entry in report.entries
        for case in entry.result.cases
        if case.verdict in INCONCLUSIVE
    ]
    return "## Inconclusive cases\n\n" + _first(lines, 50) if lines else ""


def _remarks(report: Report) -> str:
    lines = []
    for entry in report.entries:
        name = code(entry.result.nodeid)
        lines += [
            f"- {name} varies between baselines ({variation.kind}): {code(variation.text)}"
            for variation in entry.result.variations
        ]
        lines += [f"- {name}: {escape(caveat.text)}" for caveat in entry.result.caveats]
        lines += [f"- {name}: {_warning(advice)}" for advice in entry.result.advice]
        lines += [
            f"- {name}: {counted(number, 'case')} left out ({escape(why)})"
            for why, number in sorted(entry.result.budget.left_out.items())
        ]
        if entry.outcome == "skipped":
            lines.append(f"- {name} was skipped: {escape(entry.reason)}")
    return "## Remarks\n\n" + _first(lines, 200) if lines else ""


def _warning(advice: Advice) -> str:
    where = f"; matters on {', '.join(advice.models)}" if advice.models else ""
    return f"{_advice(advice)}{where}{_fix(advice)}"


def _advice(advice: Advice) -> str:
    where = f" ({code(f'{advice.site.file}:{advice.site.line}')})" if advice.site is not None else ""
    return f"{escape(advice.text)}{where}"


def _fix(advice: Advice) -> str:
    """A fix as a code block below an item of a list: on one line its second half would be a comment."""
    if not advice.fix:
        return ""
    return "\n" + indent(block(advice.fix), "  ")


def _first(lines: Sequence[str], limit: int) -> str:
    # Bounded, since a page of CI is cut off without a word.
    more = [f"- … and {len(lines) - limit:,} more; the JSON has all."] if len(lines) > limit else []
    return "\n".join([*lines[:limit], *more])


def _runs(runs: Iterable[Run]) -> str:
    rows = []
    for position, run in enumerate(runs, 1):
        where = run.environment
        machine = f"{where.system} {where.kernel}, {where.machine}, {counted(where.processors, 'processor')}"
        if where.filesystem:
            machine += f", {where.filesystem}"
        python = f"{where.implementation} {where.python}"
        command = code(" ".join(run.command)) if run.command else ""
        rows.append(
            [
                str(position),
                run.created,
                f"{run.seconds:.1f}",
                python,
                escape(machine),
                where.chaoskit,
                command,
            ]
        )
    head = ["run", "ended", "seconds", "Python", "machine", "chaoskit", "command"]
    return "## Runs\n\n" + table(head, rows)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; cells must be escaped already, apart from bars."""
    lines = [_row(head), _row(["---"] * len(head)), *map(_row, rows)]
    return "\n".join(lines)


def _row(cells: Iterable[str]) -> str:
    # A bar ends a cell even in code style.
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def escape(text: str) -> str:
    """Plain text on one line, with every character escaped that means something to Markdown."""
    # A node id may hold brackets and underscores, which Markdown would swallow.
    return re.sub(r"([\\`*_\[\]<>#])", r"\\\1", " ".join(text.split()))


def code(text: str) -> str:
    """Text in code style, on one line, between more backticks than it has in a row."""
    line = " ".join(text.split())
    fence = "`" * (_longest_run(line) + 1)
    padding = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{padding}{line}{padding}{fence}" if line else ""


def block(text: str, limit: int = LONGEST_EXPLANATION) -> str:
    """Text as a code block. After ``limit`` characters it is cut, and the block says so."""
    if len(text) > limit:
        # From the front: the first lines say what broke.
        text = f"{text[:limit]}\n… {len(text) - limit:,} more characters; the JSON has all."
    # Longer than any in the text, which would end the block.
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"{fence}text\n{text.rstrip()}\n{fence}"


def _longest_run(text: str) -> int:
    return max(map(len, re.findall(r"`+", text)), default=0)


def first_line(text: str) -> str:
    """The first line that has something on it."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def _number(count: int) -> str:
    return f"{count:,}" if count else "·"
