"""What each section of the page shows: rows and sentences, computed here rather than in templates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from chaoskit.core.result import AFTER_FIRST, ALIKE, HANGS_THERE, UNSTABLE, ScenarioResult
from chaoskit.report import failing, handling
from chaoskit.report.auditing import AuditRow, audit_rows
from chaoskit.report.document import Report, cut_by_budget, left_out
from chaoskit.report.gate import Judged
from chaoskit.report.html.cards import anchor
from chaoskit.report.html.drawing import SYNCS, bars, sparkline, strip
from chaoskit.report.html.wording import SYMBOLS
from chaoskit.report.kinds import KINDS, NOT_TRIED, cells
from chaoskit.report.marks import Mark, Since, mark, since, trend
from chaoskit.report.terminal import counted

LONGEST = 150
"""The most rows in a table of lines. The best lines are left out, and the page says so."""


NAMES, STRIPS = 20, 60
"""Names below one line, and strips of sound scenarios: a page of a thousand scenarios stays small."""


@dataclass(frozen=True, slots=True)
class ReleaseWord:
    """The first section: ``word`` is a class of the style sheet, ``sentence`` the text."""

    word: str
    sentence: str
    rules: tuple[Judged, ...]


def verdict(report: Report, judged: Sequence[Judged]) -> ReleaseWord:
    """Say whether the project may be released, and if not, why."""
    totals = report.totals
    failed = [one.rule for one in judged if not one.passes]
    if not totals.cases:
        return ReleaseWord(
            "no", f"nothing was examined: {counted(totals.scenarios, 'scenario')}, no case.", tuple(judged)
        )
    held = totals.verdicts["tolerated"] + totals.verdicts["failed safe"]
    promises = sum(entry.result.promises for entry in report.entries)
    parts = [f"{held:,} of {counted(totals.cases, 'case')} held"]
    if totals.cases_possible > totals.cases:
        parts.append(f"{totals.cases_possible:,} are possible")
    if states := totals.crash_states:
        parts.append(f"{states.checked:,} of {counted(states.distinct, 'distinct crash state')} checked")
    parts.append(counted(promises, "promise"))
    found = f"{counted(totals.findings, 'open finding')}, {totals.known_findings:,} known"
    may = "may not ship" if failed else "may ship"
    why = f" The gate says no to: {', '.join(failed)}." if failed else ""
    sentence = f"{subject(report)} {may}: {', '.join(parts)}; {found}.{why}"
    return ReleaseWord("no" if failed else "yes", sentence, tuple(judged))


def subject(report: Report) -> str:
    """The subject of the report, as the beginning of a sentence."""
    project = report.runs[-1].project if report.runs else None
    if project is None or not project.name:
        return "This version"
    return f"{project.name} {project.version}".strip()


@dataclass(frozen=True, slots=True)
class Untried:
    """One thing that was not tried, how often, and where or what it is; ``rest`` says where ``more`` are."""

    what: str
    number: str
    where: tuple[str, ...]
    rest: str = ""
    more: int = 0


def untried(report: Report) -> tuple[Untried, ...]:
    """What the verdict does not cover, beginning with what can be changed."""
    return tuple(
        replace(one, where=one.where[:NAMES], more=max(0, len(one.where) - NAMES)) for one in _untried(report)
    )


def _untried(report: Report) -> Iterator[Untried]:
    entries = report.entries
    if report.interrupted:
        yield Untried("the run was interrupted: what had not ended is missing", "", ())
    skipped = [entry for entry in entries if entry.outcome == "skipped"]
    for reason, names in _grouped((entry.reason, entry.result.nodeid) for entry in skipped):
        rest = "report.json, where outcome is skipped"
        yield Untried(f"skipped: {reason}", counted(len(names), "scenario"), names, rest)
    if cut := cut_by_budget(entries):
        names = tuple(e.result.nodeid for e in entries if cut_by_budget([e]))
        yield Untried("left out by the budget", counted(cut, "case"), names, BUDGET)
    for why in (UNSTABLE, ALIKE, HANGS_THERE, AFTER_FIRST):
        if names := tuple(e.result.nodeid for e in entries if why in e.result.budget.left_out):
            yield Untried(f"left out: {why}", counted(left_out(entries)[why], "case"), names, BUDGET)
    states = report.totals.crash_states
    if states is not None and states.left_out:
        yield Untried("crash states listed and not checked", counted(states.left_out, "state"), ())
    explored = [entry.result for entry in entries if entry.result.tried]
    for kind in KINDS:
        names = tuple(one.nodeid for one in explored if cells(one)[kind][0] == NOT_TRIED)
        if names:
            everywhere = len(names) == len(explored)
            where = "in any scenario" if everywhere else "in"
            number = "" if everywhere else counted(len(names), "scenario")
            rest = f"section 4, where {kind} has the sign {SYMBOLS[NOT_TRIED]}"
            yield Untried(f"{kind}: not asked for {where}", number, () if everywhere else names, rest)
    if idle := handling.never_ran(entries):
        places = tuple(f"{one.site.file}:{one.site.line} {one.kind}" for one in idle)
        yield Untried(
            "handlers that never ran under faults", counted(len(idle), "handler"), places, "section 6"
        )
    for kind, texts in _grouped((c.kind, c.text) for e in entries for c in e.result.caveats):
        among = sum(any(c.kind == kind for c in e.result.caveats) for e in entries)
        yield Untried(
            f"could not be followed: {kind}", counted(among, "scenario"), texts, "report.json, under caveats"
        )


BUDGET = "report.json, under budget of each scenario"


def _grouped(pairs: Iterator[tuple[str, str]]) -> Iterator[tuple[str, tuple[str, ...]]]:
    groups: dict[str, dict[str, None]] = {}
    for key, name in pairs:
        groups.setdefault(key, {})[name] = None
    yield from ((key, tuple(names)) for key, names in groups.items())


@dataclass(frozen=True, slots=True)
class Changes:
    """The third section. ``before`` is the report to compare with; None if there is none."""

    before: str | None
    found: Since | None
    trends: tuple[tuple[str, Markup], ...]


def changes(report: Report, before: Mark | None, history: Sequence[Mark]) -> Changes:
    """What is new, fixed and still there, and the trend of each scenario that ever had a finding."""
    now = mark(report)
    marks = (*(one for one in history if one.created < now.created), now)
    drawn = []
    for name in sorted(now.scenarios):
        course = trend(marks, name)
        if any(course) and len(marks) > 1:
            drawn.append((name, sparkline(course)))
    return Changes(
        f"{before.name} of {before.created}" if before else None,
        since(before, now) if before else None,
        tuple(drawn),
    )


@dataclass(frozen=True, slots=True)
class MatrixRow:
    """One scenario: each cell has a state, sign and number; ``bare`` says that it breaks without a fault."""

    name: str
    anchor: str
    cells: tuple[tuple[str, str, str], ...]
    bare: bool


def matrix(report: Report) -> tuple[tuple[str, tuple[MatrixRow, ...]], ...]:
    """The scenarios by what they promise, each with the outcome of every kind of fault.

    Tests without a promise are listed by their file.
    """
    groups: dict[str, list[MatrixRow]] = {}
    for entry in report.entries:
        result = entry.result
        file, _, name = result.nodeid.partition("::")
        shown = cells(result) if result.tried else dict.fromkeys(KINDS, (NOT_TRIED, 0))
        row = tuple(
            # Most cells have one of the last two states, and look alike: they need no class.
            ("" if not number else state, SYMBOLS[state], f"{number:,}" if number else "")
            for state, number in shown.values()
        )
        to = anchor(result, result.findings[0]) if result.findings else ""
        group = result.promise or file
        shown_name = f"{file}::{name}" if result.promise and name else name or file
        groups.setdefault(group, []).append(
            MatrixRow(shown_name, to, row, not all(one.schedule for one in result.findings))
        )
    return tuple((group, tuple(rows)) for group, rows in groups.items())


@dataclass(frozen=True, slots=True)
class CodeRow:
    """One line of code that can fail."""

    word: str
    place: str
    function: str
    calls: str
    ways: int
    tried: int
    cases: str


def code(report: Report) -> tuple[tuple[CodeRow, ...], int, Counter[str]]:
    """The lines that can fail, the worst first; how many more there are; and the count of each word."""
    found = failing.lines(report.entries)
    rows = [
        CodeRow(
            line.word,
            f"{line.site.file}:{line.site.line}",
            line.site.function,
            ", ".join(sorted(line.calls)),
            len(line.ways),
            len(line.tried),
            ", ".join(f"{number:,} {name}" for name, number in line.cases.items()),
        )
        for line in found
    ]
    return tuple(rows[:LONGEST]), max(0, len(rows) - LONGEST), Counter(row.word for row in rows)


@dataclass(frozen=True, slots=True)
class HandlerRow:
    """One handler of exceptions."""

    word: str
    place: str
    function: str
    kind: str
    cases: str


@dataclass(frozen=True, slots=True)
class HandlersShown:
    """The handlers, the worst first; ``noted`` is False if no scenario watched them."""

    noted: bool
    rows: tuple[HandlerRow, ...]
    more: int
    words: tuple[tuple[str, int], ...]


def handlers(report: Report) -> HandlersShown:
    """The ``except``, ``finally`` and ``with`` that faults have reached."""
    found = handling.handlers(report.entries)
    rows = tuple(
        HandlerRow(
            one.word,
            f"{one.site.file}:{one.site.line}",
            one.site.function,
            one.kind,
            ", ".join(f"{number:,} {name}" for name, number in one.cases.items()),
        )
        for one in found or ()
    )
    words = Counter(row.word for row in rows)
    return HandlersShown(found is not None, rows[:LONGEST], max(0, len(rows) - LONGEST), tuple(words.items()))


@dataclass(frozen=True, slots=True)
class Strip:
    """The recording of one scenario as a drawing."""

    nodeid: str
    said: str
    svg: Markup


def strips(report: Report) -> tuple[list[Strip], list[Strip], int]:
    """The strips of scenarios that broke; the longest of the others; and how many more there are."""
    recorded = [entry.result for entry in report.entries if entry.result.points]
    broke = [_strip(result) for result in recorded if result.findings]
    held = sorted(
        (result for result in recorded if not result.findings), key=lambda one: (-len(one.points), one.nodeid)
    )
    return broke, [_strip(result) for result in held[:STRIPS]], max(0, len(held) - STRIPS)


def _strip(result: ScenarioResult) -> Strip:
    syncs = sum(point.call in SYNCS for point in result.points)
    said = f"{counted(len(result.points), 'operation')}, {counted(syncs, 'sync')}"
    return Strip(result.nodeid, said, strip(result))


@dataclass(frozen=True, slots=True)
class AuditShown:
    """The sync audit of one scenario; ``said`` counts the words."""

    nodeid: str
    said: str
    rows: tuple[AuditRow, ...]


def audits(report: Report) -> tuple[AuditShown, ...]:
    """What each sync protects, for the scenarios that were audited and have syncs."""
    found = []
    for entry in report.entries:
        rows = audit_rows(entry.result)
        words: Counter[str] = Counter()
        for row in rows:
            words[row.word] += row.syncs
        if rows:
            said = ", ".join(f"{number:,} {word}" for word, number in words.items())
            found.append(AuditShown(entry.result.nodeid, said, rows))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Recovered:
    """The eighth section: how many scenarios name a recovery, and how long recoveries took."""

    scenarios: int
    recoveries: int
    slowest: str
    svg: Markup
    slow: tuple[tuple[str, str], ...]
    resumed: tuple[tuple[str, int], ...]


def recovered(report: Report) -> Recovered:
    """The times of all named recoveries, added up, and the slowest ones."""
    named = [(e.result, e.result.recovery) for e in report.entries if e.result.recovery is not None]
    sums: Counter[str] = Counter()
    for _, times in named:
        sums.update(times.within)
    order = sorted(sums, key=lambda name: float(name) if name != "more" else float("inf"))
    places: Counter[str] = Counter()
    for entry in report.entries:
        places.update(entry.result.resumed)
    slow = sorted(named, key=lambda pair: -pair[1].slowest)[:5]
    return Recovered(
        len(named),
        sum(times.count for _, times in named),
        f"{slow[0][1].slowest * 1000:,.1f} ms" if slow else "",
        bars({f"≤ {name}" if name != "more" else "more": sums[name] for name in order}) if sums else Markup(),
        tuple((result.nodeid, f"{times.slowest * 1000:,.1f} ms") for result, times in slow),
        tuple(places.items()),
    )
