from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from chaoskit.core.case import CaseFailure
from chaoskit.core.operation import Caveat
from chaoskit.core.result import ALIKE, HANGS_THERE, OVER_BUDGET, UNSTABLE, Budget, ScenarioResult, Variation
from chaoskit.report import Entry, Report, markdown, summary_lines
from chaoskit.report.markup import block, code, escape, table

from .samples import clean, report, run, violated

GOLDEN = Path(__file__).parent / "golden"


def text(of: Report, *, verbose: bool = False) -> str:
    return "".join(f"{line}\n" for line in summary_lines(of, verbose=verbose))


def mixed() -> Report:
    skipped = ScenarioResult("t.py::test_skipped", "skipped")
    why = "loses a write when killed; reported upstream"
    accepted = replace(violated().findings[0], id="3fa9c1", known=why)
    known = replace(
        violated("t.py::test_known"),
        state="passed",
        cases=violated().cases[:1],
        findings=(accepted,),
        budget=Budget(None, 1, 1),
        known={"3fa9c1": accepted.known},
    )
    entries = (
        Entry(clean(), "passed"),
        Entry(violated(), "failed"),
        Entry(known, "passed"),
        Entry(skipped, "skipped", "seccomp is not available: <why>"),
    )
    return Report((run(),), tuple(sorted(entries, key=lambda entry: entry.result.nodeid)))


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("summary.md", lambda: markdown(mixed())),
        ("terminal.txt", lambda: text(mixed())),
        ("terminal-verbose.txt", lambda: text(mixed(), verbose=True)),
    ],
)
def test_view_is_as_agreed(name, made):
    """The views look as in ``golden/``; after an intended change write the new text there and read it."""
    golden = GOLDEN / name
    assert made() == golden.read_text("utf-8")


def test_quiet_about_what_is_well():
    """Where all is well the terminal gets two lines, whatever the number of scenarios."""
    lines = summary_lines(report(*(clean(f"t.py::test_{number}") for number in range(100))))
    assert [str(line) for line in lines] == [
        "100 scenarios, 200 points (200 struck), 300 cases: no findings in 50.0 s",
        "verdicts: 100 tolerated, 200 failed safe",
    ]
    assert lines[0].markup == {"green": True, "bold": True}


def test_budget_is_said_in_numbers():
    """A budget that ran out is said in the terminal and in the Markdown, with both numbers."""
    cut = replace(clean(), budget=Budget(3, 2112, 3, {"budget": 2109}))
    assert "budget: 3 of 2,112 cases were run" in text(report(cut))
    assert "The budget allowed 3 of 2,112 possible cases." in markdown(report(cut))
    assert "2,109 cases left out (budget)" in markdown(report(cut))


def test_crash_states_are_said_in_four_numbers():
    """In the terminal and in the Markdown, there also for each scenario; nothing where no power was lost."""
    made = report(violated(), clean())
    four = "1,200 possible, 400 distinct, 150 checked, 250 left out"
    assert f"crash states: {four}\n" in text(made)
    assert f"Crash states: {four}." in markdown(made)
    assert "| scenario | possible | distinct | checked | left out |" in markdown(made)
    assert "| `scenarios/test_save.py::test_bad` | 1,200 | 400 | 150 | 250 |" in markdown(made)
    assert "rash states" not in text(report(clean())) + markdown(report(clean()))


def test_cases_left_out_for_other_reasons_are_not_the_budgets():
    """Where two recordings differ that is said, with what differs; a budget is named only where one cut."""
    variations = (
        Variation("name", "tmp*"),
        *(Variation("only in second", f"write(c)#{number}") for number in range(1, 6)),
    )
    budget = Budget(None, 24, 3, {UNSTABLE: 14, ALIKE: 5, HANGS_THERE: 2})
    varies = replace(clean(), budget=budget, variations=variations)
    lines = text(report(varies, clean("t.py::test_other"))).splitlines()[2:]
    assert lines == [
        f"left out: 14 cases, at calls that are {UNSTABLE}: write(c)#1, write(c)#2, write(c)#3 (and 2 more)",
        f"left out: 5 cases ({ALIKE})",
        f"left out: 2 cases ({HANGS_THERE})",
    ]
    assert f"Left out: 2 cases, since {HANGS_THERE}." in markdown(report(varies))
    assert "budget" not in markdown(report(varies)).partition("## Scenarios")[0]
    both = replace(varies, budget=Budget(3, 30, 3, {UNSTABLE: 14, OVER_BUDGET: 13}))
    assert "budget: 3 of 16 cases were run" in text(report(both))


def test_caveats_of_scenarios_that_pass_are_told_once():
    """What could not be followed takes a line for each kind, however many scenarios and files have it."""
    caveats = tuple(Caveat("shared-mapping", name, f"{name} is mapped shared and writable") for name in "ab")
    results = [replace(clean(f"t.py::test_{n}"), caveats=caveats) for n in range(9)]
    lines = text(report(*results)).splitlines()[2:]
    assert lines == ["caveat shared-mapping: a is mapped shared and writable (and 1 more)"]


def test_interruption_is_said():
    """Nobody takes the report of a run that was stopped for a whole one."""
    cut = Report((run(interrupted=True),), (Entry(clean(), "passed"),))
    assert "interrupted" in text(cut)
    assert "interrupted" in markdown(cut)


def test_error_of_a_scenario_is_shown():
    """A scenario that could not be explored has its reason in both views, and colours the summary red."""
    failed = ScenarioResult("t.py::t", "error", error="the baseline fails: boom\nmore")
    made = Report((run(),), (Entry(failed, "failed"),))
    assert "    the baseline fails: boom\n" in text(made)
    assert "could not be explored" in markdown(made)
    assert summary_lines(made)[-2].markup["red"]


def test_no_scenario_is_no_error():
    """An empty report has both views."""
    assert "0 scenarios, 0 points" in text(Report((run(),)))
    assert "none, as no case was run" in text(Report(()))
    assert "No scenario was run." in markdown(Report((run(),)))


def test_known_findings_are_brief():
    """What is known and stated takes two lines on the terminal, and no long text in the summary."""
    long = CaseFailure("error", "E", "m", "x" * 5_000)
    finding = replace(violated().findings[0], failure=long, id="3fa9c1", known="reported upstream")
    made = Report((run(),), (Entry(replace(violated(), findings=(finding,) * 9), "passed"),))
    assert text(made).count("    3fa9c1 known: ") == 2
    assert "    … and 7 more known ones, in the report\n" in text(made)
    assert "xxxxx" not in markdown(made)
    assert markdown(made).count("- replay: ") == 9


def test_several_runs_are_told_apart():
    """In a merged report every scenario says of which run it is."""
    runs = (run(), run("2026-02-02T00:00:00Z", "3.13.0"))
    made = markdown(Report(runs, (Entry(clean(), "passed", run=0), Entry(clean(), "passed", run=1))))
    assert "| scenario | run | outcome |" in made
    assert "cpython 3.13.0" in made


def test_long_lists_and_texts_are_cut():
    """A scenario with thousands of inconclusive cases or a huge explanation does not flood a CI page."""
    case = violated().cases[1]
    finding = replace(violated().findings[0], failure=CaseFailure("error", "E", "m", "x" * 100_000))
    flood = replace(violated(), cases=(case,) * 5_000, findings=(finding,) * 2)
    made = markdown(report(flood))
    assert len(made) < 30_000
    assert "and 4,950 more" in made
    assert re.search(r"92,\d{3} more characters", made)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("a", "`a`"),
        ("a`b", "``a`b``"),
        ("`a", "`` `a ``"),
        ("a``b`c", "```a``b`c```"),
        ("a\nb", "`a b`"),
        ("", ""),
    ],
)
def test_code_keeps_backticks(given, expected):
    """Text in code style ends where it ends, whatever backticks are in it."""
    assert code(given) == expected


def test_block_is_fenced_longer_than_its_content():
    """A block that holds fences is not ended by them."""
    assert block("a\n````\nb", 100) == "`````text\na\n````\nb\n`````"


def test_markup_in_names_is_plain():
    """A test's parameter or reason cannot add markup, rows or columns to the summary."""
    assert escape("<b>*x*</b>\n# y [z](w)") == r"\<b\>\*x\*\</b\> \# y \[z\](w)"
    assert table(["a"], [["x | y\nz"]]).splitlines()[-1] == r"| x \| y z |"
