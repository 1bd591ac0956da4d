"""The page as a whole: ten sections, each from a template without logic and a view with all the logic."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from chaoskit.core.version import __version__
from chaoskit.report.document import Report, Run
from chaoskit.report.gate import OFF, Judged, judge
from chaoskit.report.html import sections
from chaoskit.report.html.cards import Card, anchor, card, joined
from chaoskit.report.html.wording import SYMBOLS, WORDS
from chaoskit.report.kinds import KINDS
from chaoskit.report.marks import Mark
from chaoskit.report.terminal import counted, verdict_text
from chaoskit.report.visible import visible


@dataclass(frozen=True, slots=True)
class PageSection:
    """One section: its heading, its anchor, and its template."""

    title: str
    anchor: str
    template: str


SECTIONS = (
    PageSection("Verdict", "verdict", "verdict.html"),
    PageSection("What was not tried", "untried", "untried.html"),
    PageSection("Since the last release", "since", "since.html"),
    PageSection("Scenarios by kind of fault", "matrix", "matrix.html"),
    PageSection("Findings", "findings", "findings.html"),
    PageSection("Code that can fail", "code", "code.html"),
    PageSection("Crash strip", "strips", "strips.html"),
    PageSection("Recovery", "recovery", "recovery.html"),
    PageSection("Time and reproducibility", "time", "time.html"),
    PageSection("Provenance", "provenance", "provenance.html"),
)


@cache
def templates() -> Environment:
    """The templates of the page, which a process compiles once, however many pages it renders."""
    loader = PackageLoader("chaoskit.report.html", "templates")
    return Environment(autoescape=True, undefined=StrictUndefined, loader=loader, trim_blocks=True)


def rendered(
    report: Report, judged: Sequence[Judged] | None, before: Mark | None, history: Sequence[Mark]
) -> str:
    """The page; equal arguments give equal pages."""
    made = templates()
    assert made.loader is not None
    style, _, _ = made.loader.get_source(made, "page.css")
    views = _views(report, judged or judge(report, now=_end(report)), before, history)
    return visible(made.get_template("page.html").render(style=Markup(style), **views)) + "\n"


def _end(report: Report) -> datetime | None:
    return datetime.fromisoformat(report.created) if report.created else None


def _views(
    report: Report, judged: Sequence[Judged], before: Mark | None, history: Sequence[Mark]
) -> dict[str, Any]:
    rows, more, words = sections.code(report)
    broke, held, shorter = sections.strips(report)
    compared = _since(report, before, history)
    return {
        "title": f"{sections.subject(report)}, {report.created[:10]}",
        "version": __version__,
        "sections": SECTIONS,
        "words": WORDS,
        "verdict": _verdict(report, judged),
        "untried": sections.untried(report),
        "since": compared,
        "matrix": {
            "kinds": KINDS,
            "legend": [(name, sign, name if " " not in name else "") for name, sign in SYMBOLS.items()],
            "groups": sections.matrix(report),
        },
        "findings": {
            **_findings(report),
            "new": {row["anchor"] for row in compared["rows"] if row["word"] == "new"},
        },
        "code": {"rows": rows, "more": more, "words": tuple(words.items())},
        "handlers": asdict(sections.handlers(report)),
        "audits": [asdict(one) for one in sections.audits(report)],
        "strips": {"broke": broke, "held": held, "more": shorter},
        "recovery": {**asdict(sections.recovered(report)), "unrepeatable": _unrepeatable(report)},
        "time": tuple(_time(report)),
        "runs": tuple(map(_run, report.runs)),
    }


def _verdict(report: Report, judged: Sequence[Judged]) -> dict[str, Any]:
    found = sections.verdict(report, judged)
    rules = [
        {
            "name": one.rule,
            "word": "off" if one.limit == OFF else "pass" if one.passes else "FAIL",
            "sign": "·" if one.limit == OFF else "✓" if one.passes else "✗",
            "value": f"{one.value:,}" + ("" if one.of is None else f" of {one.of:,}"),
            "limit": one.limit if one.limit == OFF else f"{one.limit:,}",
            "what": one.what,
            "to": TOLD.get(one.rule, "") if one.value else "",
            "examples": "" if one.passes else _few(one.examples),
        }
        for one in judged
    ]
    return {"word": found.word, "sign": _SIGNS[found.word], "sentence": found.sentence, "rules": rules}


TOLD = {
    "nothing-examined": "matrix",
    "interrupted": "untried",
    "unexplored": "errors",
    "new-findings": "findings",
    "old-findings": "findings",
    "stale-findings": "stale",
    "inconclusive": "matrix",
    "weak-oracles": "weak",
    "never-reached": "states",
    "skipped": "untried",
    "lost-scenarios": "since",
    "unstruck-points": "code",
    "age-days": "provenance",
}
"""Where the page shows what a rule counts."""

_SIGNS = {"yes": "✓ Yes.", "no": "✗ No."}


def _few(names: Sequence[str], limit: int = 3) -> str:
    more = f" and {len(names) - limit:,} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def _since(report: Report, before: Mark | None, history: Sequence[Mark]) -> dict[str, Any]:
    found = sections.changes(report, before, history)
    here = {
        (entry.result.nodeid, finding.id): anchor(entry.result, finding)
        for entry in report.entries
        for finding in entry.result.findings
    }
    change = found.found
    rows: list[dict[str, str]] = []
    for sign, word, some in (
        ("+", "new", change.new if change else ()),
        ("✓", "fixed", change.fixed if change else ()),
    ):
        for nodeid, identity in sorted(some):
            to = here.get((nodeid, identity), "")
            rows.append({"sign": sign, "word": word, "id": identity, "nodeid": nodeid, "anchor": to})
    for sign, word, names in (
        ("+", "scenario added", change.added if change else ()),
        ("−", "scenario gone", change.lost if change else ()),
    ):
        rows += [{"sign": sign, "word": word, "id": "", "nodeid": name, "anchor": ""} for name in names]
    still = sorted(change.still) if change else []
    return {
        "found": change is not None,
        "before": found.before,
        "new": change.new if change else (),
        "fixed": change.fixed if change else (),
        "still": still,
        "still_names": [f"{identity} in {nodeid}" for nodeid, identity in still],
        "rows": rows,
        "trends": found.trends,
    }


def _unrepeatable(report: Report) -> int:
    findings = [finding for entry in report.entries for finding in entry.result.findings]
    return sum(finding.failure.name == REPEATED for finding in findings)


REPEATED = "recovery_is_idempotent"
"""The invariant of a named recovery: a second one changes nothing."""


def _findings(report: Report) -> dict[str, Any]:
    cards: dict[bool, list[Card]] = {False: [], True: []}
    for entry in report.entries:
        for finding in entry.result.findings:
            cards[bool(finding.known)].append(card(entry, finding))
    groups = [
        {
            "title": title,
            "said": said,
            "number": len(cards[known]),
            "cards": joined(
                sorted(cards[known], key=lambda one: (_CLASSES.index(one.finding.fault_class), one.nodeid))
            ),
            "open": not known,
        }
        for known, title, said in (
            (False, "Open", ""),
            (True, "Known", "Stated in their scenarios, each with the reason why it is accepted."),
        )
        if cards[known]
    ]
    results = [entry.result for entry in report.entries]
    weak = [(one.nodeid, one.oracle.accepted) for one in results if one.oracle and one.oracle.accepted]
    errors = [(one.nodeid, one.error) for one in results if one.state == "error"]
    states = [(one.nodeid, state, number) for one in results for state, number in one.sometimes.items()]
    stale = [(one.nodeid, identity) for one in results for identity in one.stale]
    return {"groups": groups, "weak": weak, "states": states, "errors": errors, "stale": stale}


_CLASSES = ("local", "share", "interference")


def _time(report: Report) -> Iterator[tuple[str, str]]:
    totals = report.totals
    yield "cases", f"{totals.cases:,} of {totals.cases_possible:,} possible: {verdict_text(totals)}"
    yield (
        "time",
        f"{totals.seconds:,.1f} s in scenarios, {sum(run.seconds for run in report.runs):,.1f} s in all",
    )
    yield "machines", counted(len(report.runs), "run")
    plans = sorted(f"{entry.result.nodeid} {entry.result.plan}" for entry in report.entries)
    yield "plan", f"{hashlib.sha256(chr(10).join(plans).encode()).hexdigest()[:16]} (digest of all plans)"
    tried = [f.reproduced for e in report.entries for f in e.result.findings if f.reproduced is not None]
    yield "repeats", f"{sum(tried):,} of {counted(len(tried), 'finding')} showed again when run once more"
    varied = sum(bool(entry.result.variations) for entry in report.entries)
    yield "baselines", f"{counted(varied, 'scenario')} did not make the same calls twice"
    seeds = Counter(entry.result.seed for entry in report.entries)
    yield "seeds", ", ".join(map(str, sorted(seeds))) or "none"


def _run(run: Run) -> dict[str, Any]:
    where, project = run.environment, run.project
    dirty = ", with changes that are not committed" if project.dirty else ""
    facts = [
        ("ended", run.created),
        ("project", f"{project.name} {project.version}".strip() or "not known"),
        ("commit", f"{project.commit}{dirty}" if project.commit else "not known"),
        ("Python", f"{where.implementation} {where.python}"),
        ("machine", f"{where.system} {where.kernel}, {where.machine}"),
        ("processors", f"{where.processors}, {where.memory / 2**30:.1f} GiB of memory"),
        ("file system", where.filesystem or "not known"),
        ("chaoskit", where.chaoskit),
    ]
    packages = [f"{name} {version}" for name, version in where.packages.items()]
    return {"facts": facts, "command": " ".join(run.command), "packages": packages}
