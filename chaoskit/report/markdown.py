"""The report as Markdown, short enough for the summary page of a CI run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from chaoskit.core.case import BROKEN, NO_JUDGEMENT, VERDICTS, CaseResult
from chaoskit.core.counted import CountedCases
from chaoskit.core.finding import Advice, Finding
from chaoskit.core.result import HANGS_THERE, UNSTABLE, ScenarioResult
from chaoskit.report.document import Entry, Report, Run, cut_by_budget, left_out
from chaoskit.report.explain import CLASSES, as_read, finding_text, replay_command
from chaoskit.report.markup import Markup, below_item, block, code, escape, joined, md, table
from chaoskit.report.terminal import counted, headline, states_text, unreached, verdict_text

LONGEST_EXPLANATION = 8_000
"""Characters of one finding that are shown. CI services cut summaries at about 1 MB; the JSON has all."""


def markdown(report: Report) -> str:
    """The whole summary. Deterministic: equal reports give equal text."""
    parts = [
        Markup("# chaoskit report"),
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
    # A part without content is left out, heading included.
    return joined("\n\n", (part for part in parts if part)) + "\n"


def _head(report: Report) -> Markup:
    totals = report.totals
    lines = [md("**{}.**", headline(totals))]
    lines.append(md("Verdicts of cases: {}.", verdict_text(totals)))
    if totals.known_findings:
        lines.append(md("Known findings, stated in their scenarios: {}.", totals.known_findings))
    if (cut := cut_by_budget(report.entries)) and not report.interrupted:
        before = f"{totals.cases:,} of {totals.cases + cut:,}"
        lines.append(md("The budget allowed {} possible cases.", before))
    if report.interrupted and totals.cases < totals.cases_possible:
        before = f"{totals.cases:,} of {totals.cases_possible:,} possible cases"
        lines.append(md("Before the interruption there were {}.", before))
    if unstable := left_out(report.entries)[UNSTABLE]:
        lines.append(md("Left out: {}, at calls that are {}.", counted(unstable, "case"), UNSTABLE))
    if hanging := left_out(report.entries)[HANGS_THERE]:
        lines.append(md("Left out: {}, since {}.", counted(hanging, "case"), HANGS_THERE))
    if totals.crash_states is not None:
        lines.append(md("Crash states: {}.", states_text(totals.crash_states)))
    if report.interrupted:
        lines.append(Markup("**The run was interrupted**: what had not ended is missing."))
    # Two blanks at the end of a line are a line break in Markdown.
    return joined("  \n", lines)


def _scenarios(report: Report) -> Markup:
    if not report.entries:
        return Markup("No scenario was run.")
    several = len(report.runs) > 1
    head = ["scenario", *(["run"] if several else []), "outcome", "points", "cases"]
    rows = []
    for entry in report.entries:
        result = entry.result
        names = [code(result.nodeid), *([str(entry.run + 1)] if several else [])]
        cases = f"{result.tried:,}"
        # "of" only where something was left out: otherwise it looks like a limit.
        if result.budget.possible > result.tried:
            cases += f" of {result.budget.possible:,}"
        verdicts = result.verdicts
        rows.append(
            [
                *names,
                _outcome(entry),
                f"{len(result.points):,}",
                cases,
                *(_number(verdicts[verdict]) for verdict in (*VERDICTS[:2], *BROKEN)),
                _number(sum(verdicts[verdict] for verdict in NO_JUDGEMENT)),
                f"{result.timing.total:.1f}",
            ]
        )
    head += [*VERDICTS[:2], *BROKEN, "inconclusive", "seconds"]
    return md("## Scenarios\n\n{}", table(head, rows))


def _crash_states(report: Report) -> Markup:
    """The crash states of power losses, and how many of them were checked."""
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
    return md("## Crash states\n\n{}", table(head, rows)) if rows else Markup()


def _outcome(entry: Entry) -> Markup:
    known = entry.outcome == "passed" and entry.result.findings
    text = "known findings" if known else entry.outcome
    return md("**{}**" if entry.outcome == "failed" else "{}", text)


def _calls(report: Report) -> Markup:
    """The calls that were struck, and what came of it."""
    counts: dict[str, Counter[str]] = {}
    for entry in report.entries:
        for case in entry.result.cases:
            for call in calls_of(entry.result, case):
                counts.setdefault(call, Counter())[case.verdict] += 1
        for several in entry.result.counted:
            for call in calls_of(entry.result, several):
                counts.setdefault(call, Counter())[several.verdict] += several.count
    if not counts:
        return Markup()
    rows = [
        [code(call), f"{sum(verdicts.values()):,}", *(_number(verdicts[name]) for name in VERDICTS)]
        for call, verdicts in sorted(counts.items())
    ]
    return md("## Calls that were struck\n\n{}", table(["call", "cases", *VERDICTS], rows))


def calls_of(result: ScenarioResult, case: CaseResult | CountedCases) -> tuple[str, ...]:
    """The calls that a case strikes, each once, in the order of the schedule."""
    return tuple(dict.fromkeys(result.points[index].call for index in case.points))


def _findings(report: Report, *, known: bool) -> Markup:
    blocks = [
        _finding(entry, finding)
        for entry in report.entries
        for finding in entry.result.findings
        if bool(finding.known) == known
    ]
    if not known:
        # A scenario that could not be explored has no finding to show, only its error.
        unexplored = [e for e in report.entries if e.outcome == "failed" and not e.result.findings]
        blocks += [_error(entry) for entry in unexplored if entry.result.error]
        blocks += [_stale(entry) for entry in report.entries if entry.result.stale]
    title = Markup("## Known findings" if known else "## Findings")
    return joined("\n\n", [title, *blocks]) if blocks else Markup()


def _finding(entry: Entry, finding: Finding) -> Markup:
    parts = [md("### {}: {}", entry.result.nodeid, finding.verdict)]
    if finding.known:
        parts.append(escape(finding.known))
    parts.append(joined("\n", _items(entry, finding)))
    # A known finding needs no action: its replay command is enough.
    if not finding.known:
        text = block(finding_text(entry.result, finding), LONGEST_EXPLANATION)
        summary = "<details><summary>what the test printed</summary>\n\n{}\n\n</details>"
        parts.append(md(summary, text))
    return joined("\n\n", parts)


def _items(entry: Entry, finding: Finding) -> Iterator[Markup]:
    if finding.id:
        yield md("- finding: {}", code(finding.id))
    yield md("- schedule: {}", code(as_read(finding.schedule)))
    if (site := finding.site) is not None:
        where = code(f"{site.file}:{site.line}")
        yield md("- struck: {} at {} in {}", code(finding.call), where, code(site.function))
    if finding.failure.message:
        yield md("- broken: {}", code(first_line(finding.failure.message)))
    if finding.fault_class in CLASSES:
        yield md("- class: {}, {}", finding.fault_class, CLASSES[finding.fault_class])
    if finding.models:
        yield md("- file systems that allow it: {}", ", ".join(finding.models))
    if finding.advice is not None:
        yield md("- advice: {}{}", _advice(finding.advice), _fix(finding.advice))
    others = len(finding.schedules) - 1
    if others > 0:
        yield md("- {} broke it in the same way", counted(others, "further schedule"))
    yield md("- replay: {}", code(replay_command(entry.result, finding.schedule)))


def _stale(entry: Entry) -> Markup:
    known = entry.result.known
    listed = (md("- {}: {}", code(gone), known.get(gone, "")) for gone in entry.result.stale)
    gone = joined("\n", listed)
    return md("### {}: known findings that are gone\n\n{}", entry.result.nodeid, gone)


def _error(entry: Entry) -> Markup:
    text = block(entry.result.error, LONGEST_EXPLANATION)
    return md("### {}: could not be explored\n\n{}", entry.result.nodeid, text)


def _inconclusive(report: Report) -> Markup:
    lines = [
        md(
            "- {}: {} {}{}",
            code(entry.result.nodeid),
            code(case.schedule),
            case.verdict,
            md(" ({})", first_line(case.note)) if case.note else "",
        )
        for entry in report.entries
        for case in entry.result.cases
        if case.verdict in NO_JUDGEMENT
    ]
    return md("## Inconclusive cases\n\n{}", _first(lines, 50)) if lines else Markup()


def _remarks(report: Report) -> Markup:
    lines = []
    for entry in report.entries:
        name = code(entry.result.nodeid)
        lines += [
            md("- {} varies between baselines ({}): {}", name, variation.kind, code(variation.text))
            for variation in entry.result.variations
        ]
        lines += [md("- {}: {}", name, caveat.text) for caveat in entry.result.caveats]
        lines += [md("- {}: {}", name, _warning(advice)) for advice in entry.result.advice]
        lines += [
            md("- {}: {} left out ({})", name, counted(number, "case"), why)
            for why, number in sorted(entry.result.budget.left_out.items())
        ]
        lines += [md("- {}: no case came to: {}", name, state) for state in unreached(entry.result)]
        if entry.result.oracle is not None:
            accepted = entry.result.oracle.accepted
            lines += [md("- {}: its check accepts {}", name, what) for what in accepted]
        if entry.outcome == "skipped":
            lines.append(md("- {} was skipped: {}", name, entry.reason))
    return md("## Remarks\n\n{}", _first(lines, 200)) if lines else Markup()


def _warning(advice: Advice) -> Markup:
    where = f"; matters on {', '.join(advice.models)}" if advice.models else ""
    return md("{}{}{}", _advice(advice), where, _fix(advice))


def _advice(advice: Advice) -> Markup:
    if advice.site is None:
        return escape(advice.text)
    return md("{} ({})", advice.text, code(f"{advice.site.file}:{advice.site.line}"))


def _fix(advice: Advice) -> Markup:
    """A fix as a code block below a list item: on one line its second half would become a comment."""
    return below_item(block(advice.fix, LONGEST_EXPLANATION)) if advice.fix else Markup()


def _first(lines: Sequence[Markup], limit: int) -> Markup:
    # Bounded, since CI services cut pages off without notice.
    more = f"{len(lines) - limit:,}"
    cut = [md("- … and {} more; the JSON has all.", more)] if len(lines) > limit else []
    return joined("\n", [*lines[:limit], *cut])


def _runs(runs: Iterable[Run]) -> Markup:
    rows = []
    for position, run in enumerate(runs, 1):
        where = run.environment
        machine = f"{where.system} {where.kernel}, {where.machine}, {counted(where.processors, 'processor')}"
        if where.filesystem:
            machine += f", {where.filesystem}"
        python = f"{where.implementation} {where.python}"
        command = code(" ".join(run.command))
        rows.append(
            [
                str(position),
                run.created,
                f"{run.seconds:.1f}",
                python,
                machine,
                where.chaoskit,
                command,
            ]
        )
    head = ["run", "ended", "seconds", "Python", "machine", "chaoskit", "command"]
    return md("## Runs\n\n{}", table(head, rows))


def first_line(text: str) -> str:
    """The first line that has something on it."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def _number(count: int) -> str:
    return f"{count:,}" if count else "·"
