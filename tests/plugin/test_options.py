"""Options and ini keys: listing, replaying, budgets, seeds, backends, reports."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path

import inner
import pytest

from chaoskit.core import machine

MODULE = """
    from chaoskit import faults, scenario
    from saving import save, overwrite, load

    @scenario(faults.disk().only('EIO', 'ENOSPC') | faults.kill())
    def test_wrong(chaos):
        overwrite(chaos.path, 1)
        chaos.run(overwrite, chaos.path, 2)
        assert load(chaos.path) in (1, 2)
"""
WITHOUT_KERNEL = """
    import chaoskit.inject.kernel
    chaoskit.inject.kernel.KernelBackend.unavailable = lambda self: "seccomp: no such thing. Use Linux."
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A directory with one scenario that has one finding."""
    inner.write(tmp_path, MODULE)
    return tmp_path


def test_list_prints_points_and_runs_no_case(project: Path) -> None:
    """--chaoskit-list shows each point with the number of its faults and where it is in the source."""
    seen = inner.run(project, "--chaoskit-list")
    assert seen.status == 0
    assert "fault points of test_inner.py::test_wrong" in seen.output
    assert "write(job.json)#1  " in seen.output
    assert "saving.py:" in seen.output
    assert "4 points" in seen.output
    assert seen.report == {}


def test_replay_runs_the_one_case_and_fails_like_it(project: Path) -> None:
    """The schedule that a failure prints shows the same failure again."""
    seen = inner.run(project, "--chaoskit-replay", "write(job.json)#1=kill")
    assert seen.verdicts("test_wrong") == {"write(job.json)#1=kill": "violated"}
    assert "1 of 1 case broke this scenario" in seen.texts["test_wrong"]


def test_a_replay_reports_what_the_sweep_did(project: Path) -> None:
    """The receipts and the timeline of the case, recovery included, though it runs once and not twice."""
    module = MODULE.replace("assert load(chaos.path) in", "assert chaos.recover(load, chaos.path) in")
    inner.write(project, module)
    told = []
    for more in ((), ("--chaoskit-replay", "write(job.json)#1=kill")):
        cases = inner.run(project, *more).scenario("test_wrong")["cases"]
        (case,) = [case for case in cases if case["schedule"] == "write(job.json)#1=kill"]
        receipts = [run["receipts"] for run in case["runs"]]
        told.append((receipts, case["timeline"], case["failure"]["message"], case["differences"]))
    assert told[0] == told[1]
    entries = told[1][1]["entries"]
    assert {entry["run"] for entry in entries} == {1, 2}
    assert [entry["operation"] for entry in entries if entry["struck"]] == ["write(job.json)#1"]


@pytest.mark.parametrize("plugins", [(), ("xdist.plugin",)], ids=["alone", "xdist"])
def test_the_replay_line_works_where_pytest_was_started(tmp_path: Path, plugins: tuple[str, ...]) -> None:
    """A node id is relative to the root directory, and pytest wants paths relative to where it starts."""
    below = tmp_path / "my tests" / "deeper"
    below.mkdir(parents=True)
    (tmp_path / "pytest.ini").touch()
    inner.write(below, MODULE)
    first = inner.run(below, *(["-n", "1"] if plugins else []), plugins=plugins)
    scenario = first.scenario("test_wrong")
    assert scenario["nodeid"] == "my tests/deeper/test_inner.py::test_wrong"
    assert scenario["findings"], first.output
    line = scenario["findings"][0]["replay"]
    assert line in first.output
    again = inner.run(below, *shlex.split(line)[1:])
    assert again.status == 1, again.output
    assert again.scenario("test_wrong")["findings"][0]["replay"] == line
    os.rename(below / "test_inner.py", below.parent / "test_inner.py")
    one = ("--chaoskit-replay", scenario["findings"][0]["schedule"])
    beside = inner.run(below, "../test_inner.py", *one).scenario("test_wrong")["findings"][0]["replay"]
    assert beside.startswith("pytest ../test_inner.py::test_wrong ")


def test_replay_runs_schedules_that_no_exploration_would(project: Path) -> None:
    """Any number of strikes, and faults that the scenario's set has not."""
    seen = inner.run(project, "--chaoskit-replay", "open(job.json)#1=delay[0.001]; write(job.json)#1=ENOSPC")
    assert list(seen.verdicts("test_wrong").values()) == ["failed safe"]


@pytest.mark.parametrize("place", ["taken", "taken/deeper"])
@pytest.mark.parametrize("given", ["option", "ini"])
def test_a_report_directory_that_cannot_be_is_refused_at_the_start(
    project: Path, place: str, given: str
) -> None:
    """Nobody waits an hour for tests to learn that what they showed cannot be written."""
    (project / "taken").write_text("a file, no directory")
    ini = ["--chaoskit-report=", "-o", f"chaoskit_report={place}"]
    seen = inner.run(project, *(["--chaoskit-report", place] if given == "option" else ini))
    assert seen.status == pytest.ExitCode.USAGE_ERROR
    assert "Traceback" not in seen.output
    assert f"{project / 'taken'} is a file: name another place, or remove it." in seen.output
    assert seen.outcomes == {}


def test_a_report_that_cannot_be_written_at_the_end_costs_nothing_else(tmp_path: Path) -> None:
    """What the tests showed is told in full; the missing report is said and makes the run fail."""
    inner.write(
        tmp_path,
        """
        from pathlib import Path
        from chaoskit import faults, scenario
        from saving import save

        @scenario(faults.kill())
        def test_takes_the_place(chaos):
            chaos.run(save, chaos.path, 1)
            Path("report").write_text("a file, no directory")
        """,
    )
    seen = inner.run(tmp_path)
    assert seen.status == pytest.ExitCode.TESTS_FAILED
    assert "Traceback" not in seen.output
    assert "1 scenario, " in seen.output
    assert f"report: not written into {tmp_path / 'report'}: " in seen.output
    assert "1 passed" in seen.output


BAD_REPLAYS = {
    "write(job.json=kill": ["'write(job.json=kill' does not parse", "rename(a.tmp -> a)#1=kill"],
    "write(job.jsn)#1=kill": ["strikes at 'write(job.jsn)#1'", "never reaches", "'write(job.json)#1'"],
    "write(job.json)#1=ENOSPCC": ["ENOSPCC"],
    "open(job.json)#1=delay[0.001]; write(job.json)#9=EIO": ["diverged", "#9=EIO: this call was never made"],
    "": ["is empty", "at least one fault"],
}


@pytest.mark.parametrize("schedule", BAD_REPLAYS)
def test_a_schedule_that_cannot_be_replayed_is_an_error(project: Path, schedule: str) -> None:
    """One that does not parse, names what is not there, or never fires, fails and says so."""
    seen = inner.run(project, f"--chaoskit-replay={schedule}")
    print(seen.texts["test_wrong"])
    assert seen.status == 1
    for part in BAD_REPLAYS[schedule]:
        assert part in seen.texts["test_wrong"]
    if "does not parse" not in seen.texts["test_wrong"]:
        # Only what never fires is known by running it; else the program is not blamed, or even called.
        state = "inconclusive" if "diverged" in BAD_REPLAYS[schedule] else "error"
        assert seen.scenario("test_wrong")["state"] == state


def test_a_budget_takes_the_seeds_choice_and_says_what_is_left(project: Path) -> None:
    """Equal seeds take equal cases; the summary says how many of how many."""
    runs = [inner.run(project, "--chaoskit-budget=6", "--chaoskit-seed=1") for _ in range(2)]
    one, again = (list(seen.verdicts("test_wrong")) for seen in runs)
    assert len(one) == 6
    assert one == again
    assert "seed 1, backend auto, budget 6" in runs[0].output
    assert "6 of " in runs[0].output
    assert runs[0].scenario("test_wrong")["budget"]["left_out"]["over the budget"] > 0


def test_ini_keys_fill_in_what_the_command_line_leaves(project: Path) -> None:
    """The ini file has the same options; the command line wins."""
    ini = "[pytest]\nchaoskit_budget = 3\nchaoskit_seed = 5\nchaoskit_report = out\nchaoskit_tmp = cases\n"
    (project / "pytest.ini").write_text(ini)
    seen = inner.run(project)
    assert len(seen.verdicts("test_wrong")) == 3
    assert "chaoskit: seed 5, backend auto, budget 3" in seen.output
    assert list((project / "cases").iterdir()) == []
    assert len(inner.run(project, "--chaoskit-budget=4").verdicts("test_wrong")) == 4


def test_b2_b3_cases_use_all_processors_and_memory_unless_told_otherwise(project: Path) -> None:
    """The head of the run says how many and where; a process of xdist and a given --basetemp count."""
    workers, place = machine.usable_processors(), machine.memory()
    seen = inner.run(project, "--chaoskit-list")
    assert f"workers {workers}, cases in {place or ''}" in seen.output
    base = inner.run(project, f"--basetemp={project / 'base'}", "--chaoskit-workers=3", "--chaoskit-list")
    assert f"workers 3, cases in {project / 'base'}" in base.output
    spread = inner.run(project, "-n1", "--chaoskit-budget=1", plugins=("xdist.plugin",))
    assert spread.scenario("test_wrong")["options"]["workers"] == 1


def test_a_place_for_cases_that_cannot_be_made_is_refused(project: Path) -> None:
    """The error names the ini key, its value and what stands in the way."""
    (project / "file").write_text("")
    text = inner.run(project, "-k", "test_wrong", "-o", "chaoskit_tmp=file/cases").texts["test_wrong"]
    assert text.startswith(
        "chaoskit_tmp is 'file/cases' (str); expected a directory that is there or can be made."
    )
    assert "Not a directory" in text


@pytest.mark.parametrize(
    ("option", "parts"),
    [
        ("--chaoskit-budget=none", ["--chaoskit-budget", "'none'", "whole number"]),
        ("--chaoskit-budget=0", ["budget", "0", "at least 1"]),
        ("--chaoskit-workers=-1", ["--chaoskit-workers", "-1", "at least 1"]),
        ("--chaoskit-depth=3", ["depth", "3", "1 or 2"]),
        ("--chaoskit-oracle=on", ["oracle", "'on'", "one of 'warn', 'strict', 'off'"]),
        ("--chaoskit-backend=fuse", ["--chaoskit-backend", "'fuse'", "one of auto, kernel"]),
        ("--chaoskit-seed=x", ["--chaoskit-seed", "'x'", "whole number"]),
    ],
)
def test_an_option_that_cannot_be_right_is_refused(project: Path, option: str, parts: list[str]) -> None:
    """The message names the option, the value and what was expected."""
    seen = inner.run(project, option)
    assert seen.status == 1
    for part in parts:
        assert part in seen.texts["test_wrong"]


def test_without_a_backend_the_test_is_skipped_with_the_reason(project: Path) -> None:
    """It never passes silently: the reason is in the skip and in the report."""
    with open(project / "conftest.py", "a") as file:
        file.write("\n" + "\n".join(line.strip() for line in WITHOUT_KERNEL.splitlines()))
    seen = inner.run(project)
    assert seen.outcomes["test_wrong"] == "skipped"
    assert "seccomp: no such thing. Use Linux." in seen.texts["test_wrong"]
    assert "no such thing" in seen.scenario("test_wrong")["error"]


@pytest.mark.parametrize("where", ["command line", "decorator"])
def test_without_the_backend_that_was_asked_for_it_fails(project: Path, where: str) -> None:
    """Who names a backend wants it, and a skip would hide that it is missing."""
    with open(project / "conftest.py", "a") as file:
        file.write("\n" + "\n".join(line.strip() for line in WITHOUT_KERNEL.splitlines()))
    if where == "decorator":
        inner_source = MODULE.replace("faults.kill())", "faults.kill(), backend='kernel')")
        spy = (project / "conftest.py").read_text()
        inner.write(project, inner_source)
        (project / "conftest.py").write_text(spy)
    seen = inner.run(project, *(["--chaoskit-backend=kernel"] if where == "command line" else []))
    assert seen.outcomes["test_wrong"] == "error"
    assert "'kernel' was asked for and does not work here: seccomp" in seen.texts["test_wrong"]


def test_the_report_directory_has_both_forms(project: Path) -> None:
    """One JSON file and a Markdown summary of it."""
    inner.run(project)
    report = json.loads((project / "report" / "report.json").read_text())
    assert report["scenarios"][0]["nodeid"] == "test_inner.py::test_wrong"
    assert "write(job.json)#1=kill" in (project / "report" / "summary.md").read_text()


def test_workers_see_the_same(project: Path) -> None:
    """Three workers give the cases and verdicts of one."""
    one, three = (inner.run(project, f"--chaoskit-workers={n}").verdicts("test_wrong") for n in (1, 3))
    assert one == three
    assert list(one) == list(three)
