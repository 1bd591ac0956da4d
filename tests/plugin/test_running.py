"""Scenarios under the ways in which people run pytest."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import inner
import psutil
import pytest

MODULE = """
    import os, pathlib, threading
    import pytest
    from chaoskit import faults, scenario
    from saving import save, overwrite, load

    @scenario(faults.disk().only('EIO') | faults.kill())
    def test_correct(chaos):
        save(chaos.path, 1)
        chaos.run(save, chaos.path, 2)
        assert load(chaos.path) in (1, 2)

    @scenario(faults.kill())
    def test_wrong(chaos):
        overwrite(chaos.path, 1)
        chaos.run(overwrite, chaos.path, 2)
        assert load(chaos.path) in (1, 2)

    def test_other():
        assert True
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A directory with a correct scenario, a wrong one and an ordinary test."""
    inner.write(tmp_path, MODULE)
    return tmp_path


def test_xdist_gives_the_same_results_to_the_controller(project: Path) -> None:
    """Under -n 2 outcomes, cases and verdicts are those of a single process, and one report has all."""
    alone, spread = inner.run(project), inner.run(project, "-n2", plugins=("xdist.plugin",))
    assert spread.outcomes == alone.outcomes
    for name in ("test_correct", "test_wrong"):
        assert spread.verdicts(name) == alone.verdicts(name)
    assert "2 scenarios" in spread.output
    assert "write(job.json)#1=kill" in spread.texts["test_wrong"]


def test_exitfirst_and_last_failed(project: Path) -> None:
    """-x stops behind a broken scenario; --lf runs it again and nothing else."""
    assert set(inner.run(project, "-x").outcomes) == {"test_correct", "test_wrong"}
    assert set(inner.run(project, "--lf").outcomes) == {"test_wrong"}


def test_keywords_choose_scenarios(project: Path) -> None:
    """-k leaves out a scenario like any other test."""
    chosen = inner.run(project, "-k", "wrong or other")
    assert chosen.outcomes == {"test_wrong": "failed", "test_other": "passed"}


def test_the_marker_selects(project: Path) -> None:
    """-m chaoskit runs the scenarios and nothing else."""
    assert set(inner.run(project, "-m", "chaoskit").outcomes) == {"test_correct", "test_wrong"}


MARKED = """
    import unittest
    import pytest
    from chaoskit import faults
    from saving import save

    pytestmark = pytest.mark.chaoskit(faults.kill().on(call="rename"))

    def test_scenario(chaos):
        chaos.run(save, chaos.path, 1)

    def test_ordinary():
        assert True

    class TestOld(unittest.TestCase):
        def test_old(self):
            assert True

    @pytest.mark.chaoskit(faults.kill())
    def test_meant_to_be_one():
        assert True
"""


def test_a_marked_module_may_have_ordinary_tests(tmp_path: Path) -> None:
    """The marker of a module is for those that ask for chaos; the marker of a test is for that test."""
    inner.write(tmp_path, MARKED)
    seen = inner.run(tmp_path)
    assert seen.outcomes == {
        "test_scenario": "passed",
        "test_ordinary": "passed",
        "TestOld::test_old": "passed",
        "test_meant_to_be_one": "error",
    }
    assert len(seen.report["scenarios"]) == 2


BREAKING = """
    from chaoskit import faults, scenario
    from saving import overwrite

    @scenario(faults.kill())
    def test_breaks(chaos):
        overwrite(chaos.path, 1)
        chaos.run(overwrite, chaos.path, 2)
        found = (chaos.path / "job.json").read_text()
        assert found
"""


def test_pdb_stops_in_the_case_that_broke(tmp_path: Path) -> None:
    """The debugger opens in the test, with its variables, in this very process, the case's disk there."""
    inner.write(tmp_path, BREAKING)
    commands = "p 'found is', found\np 'files', [f.name for f in chaos.path.iterdir()]\nc\n"
    seen = inner.run(tmp_path, "--pdb", given=commands)
    print(seen.output)
    assert "entering PDB" in seen.output
    assert "('found is', '')" in seen.output
    assert "('files', ['job.json'])" in seen.output
    assert "chaoskit: in the case 'write(job.json)#1=kill'" in seen.output
    assert seen.outcomes["test_breaks"] == "failed"
    assert "1 case: 1 finding" in seen.output
    assert "verdicts: 1 violated" in seen.output
    assert "the cases before this one, which passed, are not counted" in seen.output
    assert seen.verdicts("test_breaks") == {"write(job.json)#1=kill": "violated"}


def test_a_replay_under_pdb_counts_its_case(tmp_path: Path) -> None:
    """The one case that was run and shown is in the summary and in the report."""
    inner.write(tmp_path, BREAKING)
    schedule = "write(job.json)#1=kill"
    seen = inner.run(tmp_path, "--pdb", "--chaoskit-replay", schedule, given="c\n")
    assert "1 case: 1 finding" in seen.output
    finding = seen.scenario("test_breaks")["findings"][0]
    assert finding["replay"] == f"pytest test_inner.py::test_breaks --chaoskit-replay '{schedule}'"
    assert finding["failure"]["kind"] == "assertion"


def test_coverage_counts_the_workload_of_the_baseline(tmp_path: Path) -> None:
    """Under coverage run, lines that only the workload executes count, though it is another process."""
    inner.write(tmp_path, MODULE.replace("overwrite(chaos.path, 1)", "save(chaos.path, 1)"))
    words = inner.command("-k", "wrong")
    run = [sys.executable, "-m", "coverage", "run", *words[1:]]
    subprocess.run(run, cwd=tmp_path, env=inner.environment(), capture_output=True, check=False)
    report = [sys.executable, "-m", "coverage", "report", "--include=saving.py", "-m"]
    text = subprocess.run(report, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert re.search(r"saving\.py\s+14\s+0\s", text), text
    assert (
        inner.result(tmp_path, 1, "").scenario("test_wrong")["points"][0]["stack"][-1]["function"]
        == "overwrite"
    )


def test_output_is_not_captured_with_s(project: Path) -> None:
    """-s shows what cases print at once."""
    text = (
        (project / "test_inner.py")
        .read_text()
        .replace("load(chaos.path) in", "print('seen') or load(chaos.path) in")
    )
    (project / "test_inner.py").write_text(text)
    assert inner.run(project, "-s", "-k", "correct").output.count("seen") > 8
    assert inner.run(project, "-k", "correct").output.count("seen") == 0


# Real time, because virtual time ends an endless wait immediately, before the test can interrupt it.
STANDING = """
    import os, pathlib, subprocess, sys, threading
    from chaoskit import faults, scenario
    from saving import save

    def standing(path, home):
        save(path, 1)
        if (home / "go").exists():
            os.system("sleep 1000 & setsid sleep 1000 &")
            (home / "reached").touch()
            threading.Event().wait()

    @scenario(faults.kill(), timeout=100, time="real")
    def test_standing(chaos):
        home = pathlib.Path(__file__).parent
        chaos.run(standing, chaos.path, home)
        (home / "go").touch()

    @scenario(faults.kill(), timeout=100, time="real")
    def test_standing_in_recovery(chaos):
        home = pathlib.Path(__file__).parent
        chaos.run(save, chaos.path, 1)
        if (home / "go").exists():
            os.system("sleep 1000 &")
            (home / "reached").touch()
            threading.Event().wait()
        (home / "go").touch()
"""


def _shared_memory(family: Iterable[psutil.Process]) -> set[str]:
    """The named blocks and semaphores that these processes have mapped: other programs have theirs."""
    maps = "".join(Path(f"/proc/{one.pid}/maps").read_text() for one in family)
    return set(re.findall(r"/dev/shm/(?:psm_|sem\.)\S*", maps))


def _wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    while not path.exists() and process.poll() is None:
        try:
            process.wait(0.02)
        except subprocess.TimeoutExpired:
            continue


@pytest.fixture
def started(tmp_path: Path) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that the test starts; whatever happens, they are gone in the end."""
    several: list[subprocess.Popen[str]] = []
    yield several
    for process in several:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("where", ["test_standing", "test_standing_in_recovery"])
@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=["ctrl-c", "terminate", "kill"]
)
def test_an_interrupt_leaves_nothing_behind(
    tmp_path: Path, where: str, number: int, started: list[subprocess.Popen[str]]
) -> None:
    """No process (those in sessions of their own included), no directory of a case, no shared memory.

    After a signal that pytest dies of, its guard cleans up.
    """
    inner.write(tmp_path, STANDING)
    words = inner.command("--basetemp=base", "-k", f"{where} and not {where}_")
    process = subprocess.Popen(
        words,
        cwd=tmp_path,
        env=inner.environment(),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    started.append(process)
    _wait_for(tmp_path / "reached", process)
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) >= 2
    shared = _shared_memory([psutil.Process(process.pid), *family])
    process.send_signal(number)
    output, _ = process.communicate(timeout=30)
    _, alive = psutil.wait_procs(family, timeout=10)
    assert [p.cmdline() for p in alive if p.status() != psutil.STATUS_ZOMBIE] == []
    assert [name for name in shared if os.path.exists(name)] == []
    if number == signal.SIGINT:
        assert "KeyboardInterrupt" in output
    assert list((tmp_path / "base").glob("chaoskit-*")) == []


def test_progress_is_told_to_a_terminal_and_to_nobody_else(tmp_path: Path) -> None:
    """A long exploration says how far it is where a person looks, and leaves the line clean."""
    inner.write(tmp_path, MODULE)
    with open(tmp_path / "conftest.py", "a") as file:
        file.write("\nimport chaoskit.plugin.progress as progress\nprogress._QUIET = progress._PAUSE = 0.0\n")
    quiet = inner.run(tmp_path, "-k", "correct")
    assert "cases\r" not in quiet.output
    assert "chaoskit: 1 of" not in quiet.output
    reading, writing = pty.openpty()
    environment = {k: v for k, v in inner.environment().items() if k != "CI"} | {"TERM": "xterm"}
    process = subprocess.Popen(
        inner.command("-k", "correct"), cwd=tmp_path, env=environment, stdout=writing, stderr=writing
    )
    os.close(writing)
    chunks = []
    while True:
        try:
            chunk = os.read(reading, 65536)
        except OSError:
            break
        if not chunk:
            break
        chunks.append(chunk)
    os.close(reading)
    assert process.wait(30) == 0
    assert re.search(rb"chaoskit: \d+ of \d+ cases", b"".join(chunks))


COUNTS_TEXTS = """

import pathlib, pytest

plain = pytest.Function.repr_failure

def counted(self, *args, **kwargs):
    with open(pathlib.Path(__file__).with_name("texts"), "a") as file:
        file.write("x")
    return plain(self, *args, **kwargs)

pytest.Function.repr_failure = counted
"""
BREAKS_OFTEN = """
    import os
    from chaoskit import faults, scenario

    def work(path):
        for name in "abcdefgh":
            try:
                (path / name).write_bytes(b"new")
            except OSError:
                pass

    @scenario(faults.disk().only('EIO', 'ENOSPC') | faults.kill())
    def test_many(chaos):
        chaos.run(work, chaos.path)
        found = sorted(os.listdir(chaos.path))
        assert [(chaos.path / name).read_bytes() for name in found] == [b"new"] * 8, found
"""


def test_a_failure_is_put_into_words_for_a_finding_and_not_for_each_case(tmp_path: Path) -> None:
    """To format one takes longer than most cases; what is shown is the text of the finding's own case."""
    inner.write(tmp_path, BREAKS_OFTEN)
    with (tmp_path / "conftest.py").open("a") as spy:
        spy.write(COUNTS_TEXTS)
    seen = inner.run(tmp_path, "--chaoskit-workers=1")
    scenario = seen.scenario("test_many")
    broken = [case for case in scenario["cases"] if case["verdict"] == "violated"]
    findings = scenario["findings"]
    assert len(broken) > 30
    # One by each worker, one for each finding, and pytest's own for the scenario.
    assert (tmp_path / "texts").stat().st_size <= len(findings) + 3
    for finding in findings:
        assert "assert [" in finding["failure"]["text"]
        assert finding["failure"]["message"].splitlines()[0] in finding["failure"]["text"].replace(
            "\nE    ", ""
        )
