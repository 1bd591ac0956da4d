"""The gate: each rule fails on a report that was planted for it, prints its line, and passes on its twin."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from chaoskit.cli.group import run as chaoskit
from chaoskit.core.errors import UsageError
from chaoskit.core.result import OracleTrial, ScenarioResult
from chaoskit.report import Entry, Report, write
from chaoskit.report.gate import OFF, RULES, checked, judge, limits_in
from chaoskit.report.marks import HistoryError, latest_before, mark, read_history, remember, since

from .samples import clean, report, run, violated

NOW = datetime(2026, 1, 3, tzinfo=UTC)


def whole(result: ScenarioResult) -> Report:
    return Report((run(),), (Entry(result, "passed"),))


def broken() -> ScenarioResult:
    bad = violated()
    finding = replace(bad.findings[0], id="3fa9c1")
    return replace(bad, findings=(finding,), cases=bad.cases[:1])


def planted() -> dict[str, Report]:
    """For each rule a report with one thing against it."""
    oracle = OracleTrial(3, ("an empty job.json",))
    skipped = ScenarioResult("t.py::skipped", "skipped")
    unstruck = replace(clean(), cases=clean().cases[:1])
    error = ScenarioResult("t.py::error", "error", error="it fails without faults")
    return {
        "nothing-examined": Report((run(),), ()),
        "interrupted": replace(whole(clean()), runs=(run(interrupted=True),)),
        "unexplored": Report((run(),), (Entry(clean(), "passed"), Entry(error, "failed"))),
        "new-findings": report(broken()),
        "old-findings": report(broken()),
        "stale-findings": whole(replace(clean(), known={"dead00": "why"}, stale=("dead00",))),
        "inconclusive": whole(replace(clean(), cases=(*clean().cases, violated().cases[1]))),
        "weak-oracles": whole(replace(clean(), oracle=oracle)),
        "never-reached": whole(replace(clean(), sometimes={"took over a stale lease": 0})),
        "skipped": Report((run(),), (Entry(clean(), "passed"), Entry(skipped, "skipped", "no kernel"))),
        "lost-scenarios": whole(clean("t.py::another")),
        "unstruck-points": whole(unstruck),
        "age-days": replace(whole(clean()), runs=(run("2025-12-01T00:00:00Z"),)),
    }


BASELINES = {"old-findings": report(broken()), "lost-scenarios": whole(clean())}


def test_every_rule_is_planted() -> None:
    """A rule that is added has to be seen failing here."""
    assert [rule.name for rule in RULES] == list(planted())


@pytest.mark.parametrize("rule", [rule.name for rule in RULES])
def test_each_rule_fails_on_what_was_planted_for_it(rule: str) -> None:
    """That rule alone says no, on a line of one sentence that begins with FAIL and its name."""
    judged = judge(planted()[rule], baseline=BASELINES.get(rule), now=NOW)
    assert [one.rule for one in judged if not one.passes] == [rule]
    line = str(next(one for one in judged if one.rule == rule))
    assert line.startswith(f"FAIL  {rule} ")
    assert "\n" not in line


def test_the_clean_twin_passes() -> None:
    """With nothing against it every rule passes."""
    assert all(one.passes for one in judge(whole(clean()), baseline=whole(clean()), now=NOW))


def test_a_known_finding_does_not_fail() -> None:
    """What the scenario states as known was accepted there."""
    bad = broken()
    known = replace(bad, findings=(replace(bad.findings[0], known="until 2.0"),))
    assert all(one.passes for one in judge(whole(known), now=NOW))


@pytest.mark.parametrize("rule", [rule.name for rule in RULES[1:]])
def test_each_rule_can_be_loosened(rule: str) -> None:
    """A higher limit or "off" lets the planted report pass; the line says so."""
    for limit in (1000, OFF):
        judged = judge(planted()[rule], {rule: limit}, baseline=BASELINES.get(rule), now=NOW)
        assert all(one.passes for one in judged), (rule, limit)
    assert str(next(one for one in judged if one.rule == rule)).startswith("off ")


def test_what_was_not_examined_cannot_be_let_pass() -> None:
    """The first rule has no limit that could be given."""
    with pytest.raises(UsageError, match="nothing-examined"):
        checked({"nothing-examined": 1}, "[tool.chaoskit.gate]")


@pytest.mark.parametrize(
    ("table", "named"),
    [({"new-finding": 0}, "new-findings"), ({"skipped": -1}, "from 0 on"), ({"skipped": True}, "'off'")],
)
def test_wrong_rules_are_named(table: dict[str, object], named: str) -> None:
    """An unknown rule, and a limit that is not a number, are errors that say what was expected."""
    with pytest.raises(UsageError, match=named):
        checked(table, "[tool.chaoskit.gate]")


def test_rules_are_read_from_the_project(tmp_path: Path) -> None:
    """The table in pyproject.toml sets limits; no file and no table leave the defaults."""
    file = tmp_path / "pyproject.toml"
    assert limits_in(file) == {}
    file.write_text("[project]\nname = 'x'\n")
    assert limits_in(file) == {}
    file.write_text("[tool.chaoskit.gate]\nage-days = 2\nskipped = 'off'\n")
    assert limits_in(file) == {"age-days": 2, "skipped": "off"}
    file.write_text("[tool")
    with pytest.raises(UsageError, match="is not TOML"):
        limits_in(file)


def test_the_command_prints_a_line_for_each_rule(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0 where all pass and 1 where one fails; wrong use is 2."""
    config = tmp_path / "pyproject.toml"
    config.write_text("[tool.chaoskit.gate]\nage-days = 'off'\n")
    good, bad = tmp_path / "good", tmp_path / "bad"
    write(whole(clean()), good)
    write(report(broken()), bad)
    assert chaoskit(["gate", str(good), "--config", str(config)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(RULES)
    assert chaoskit(["gate", str(bad), "--config", str(config)]) == 1
    assert "FAIL  new-findings       1 findings not stated as known" in capsys.readouterr().out
    config.write_text("[tool.chaoskit.gate]\nspeed = 1\n")
    assert chaoskit(["gate", str(bad), "--config", str(config)]) == 2
    assert "speed" in capsys.readouterr().err
    nothing = tmp_path / "nothing"
    write(Report((run(),), ()), nothing)
    config.write_text("[tool.chaoskit.gate]\nage-days = 'off'\n")
    assert chaoskit(["gate", str(nothing), "--config", str(config)]) == 1


def test_a_history_remembers_each_report_once(tmp_path: Path) -> None:
    """Marks come back as they were, in the order of time, and one that is there is not added again."""
    file = tmp_path / "reports" / "history.jsonl"
    assert read_history(file) == ()
    newer, older = mark(report(broken())), mark(replace(whole(clean()), runs=(run("2025-01-01T00:00:00Z"),)))
    assert remember(file, newer)
    assert remember(file, older)
    assert not remember(file, newer)
    assert read_history(file) == (older, newer)
    assert latest_before(read_history(file), newer) == older
    assert latest_before(read_history(file), older) is None
    file.write_text(file.read_text() + "{}\n")
    with pytest.raises(HistoryError, match=r"history\.jsonl:3"):
        read_history(file)


def test_a_finding_of_a_scenario_that_was_not_run_is_not_fixed() -> None:
    """It is fixed only where its scenario had a case; a scenario that is gone is told instead."""
    before = mark(report(broken()))
    mended = mark(whole(replace(clean(), nodeid=broken().nodeid)))
    assert since(before, mended).fixed == {(broken().nodeid, "3fa9c1")}
    gone = since(before, mark(whole(clean())))
    assert gone.fixed == frozenset()
    assert gone.lost == (broken().nodeid,)


def test_reports_are_made_and_joined_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each form goes to standard output or into a file, and merging writes them all."""
    pytest.importorskip("jinja2", reason="the extra report is not installed")
    one, two, both = tmp_path / "one", tmp_path / "two", tmp_path / "both"
    write(whole(clean()), one)
    write(report(broken()), two)
    for form, begin in (
        ("html", "<!DOCTYPE"),
        ("markdown", "# chaos"),
        ("junit", "<?xml"),
        ("sarif", "{"),
    ):
        assert chaoskit(["report", form, str(two)]) == 0
        printed = capsys.readouterr().out
        assert printed.startswith(begin)
        assert chaoskit(["report", form, str(two), "-o", str(tmp_path / "out" / form)]) == 0
        assert (tmp_path / "out" / form).read_text("utf-8") == printed
        capsys.readouterr()
    assert chaoskit(["report", "merge", str(one), str(two), "--into", str(both)]) == 0
    names = {path.name for path in both.iterdir()}
    assert names == {"report.json", "summary.md", "index.html", "junit.xml", "report.sarif"}
    assert len(json.loads((both / "report.json").read_text())["scenarios"]) == 2
    history = tmp_path / "history.jsonl"
    assert chaoskit(["report", "history", str(both), "--into", str(history)]) == 0
    assert len(history.read_text().splitlines()) == 1
