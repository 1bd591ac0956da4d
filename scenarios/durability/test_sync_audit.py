"""The sync audit tells the truth: each sync of ten correct programs is left out in turn.

Where leaving it out breaks some case, the audit of the whole program has said *needed*, and where the audit
said *superfluous*, no case breaks. ``BUDGET=all`` does it with all programs, otherwise with two.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from chaoskit.core.result import ScenarioResult
from chaoskit.report import read
from scenarios.durability.synced_programs import PROGRAMS

HERE = Path(__file__).parent
SOME = ("replace a file", "two slots")
LEAST = 0.95
"""The share of syncs that some case must miss: the programs make few that are for nothing."""

INNER = """
from pathlib import Path

import pytest

from chaoskit import faults
from scenarios.durability.synced_programs import PROGRAMS, leaving_out, syncs_of


def run(program, left_out, path, promise):
    with leaving_out(left_out):
        program.work(path, promise)


def pytest_generate_tests(metafunc):
    found = []
    for name in {names!r}:
        place = Path("count") / name
        place.mkdir(parents=True)
        for left_out in (None, *range(syncs_of(PROGRAMS[name], place))):
            found.append(pytest.param(PROGRAMS[name], left_out, id=f"{{name}}/{{left_out}}"))
    metafunc.parametrize(("program", "left_out"), found)


@pytest.mark.chaoskit(faults.power_loss(), model="strict", oracle="off")
def test_program(program, left_out, chaos):
    program.prepare(chaos.path)
    chaos.run(run, program, left_out, chaos.path, chaos.promise)
    program.check(chaos.path, chaos.promised)
"""


def explored(directory: Path, names: tuple[str, ...]) -> Mapping[str, Mapping[str, ScenarioResult]]:
    """By program and number of the sync that is left out (or ``None``) what came of it."""
    (directory / "test_inner.py").write_text(INNER.format(names=names))
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider", "--tb=no"]
    options = ["--chaoskit-sync-audit", "--chaoskit-report=out", "--chaoskit-failed-first=off"]
    environment = os.environ | {"PYTHONPATH": str(HERE.parents[1])}
    done = subprocess.run(
        [*words, *options],
        cwd=directory,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    # Programs that lack a sync fail: that is what is asked.
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout
    found: dict[str, dict[str, ScenarioResult]] = {}
    for entry in read(directory / "out").entries:
        name, _, left_out = entry.result.nodeid.partition("[")[2].removesuffix("]").rpartition("/")
        found.setdefault(name, {})[left_out] = entry.result
    return found


def test_the_audit_says_needed_of_what_is_missed(tmp_path: Path) -> None:
    """Of each sync whose absence breaks a case, and *superfluous* of none of them; most are missed."""
    names = tuple(PROGRAMS) if os.environ.get("BUDGET") == "all" else SOME
    results = explored(tmp_path, names)
    assert set(results) == set(names)
    missed = total = 0
    for name, by_sync in results.items():
        whole = by_sync.pop("None")
        assert whole.state == "passed", f"{name} is not correct: {whole.findings}"
        words = [one.word for one in whole.syncs or ()]
        # Every sync that the program makes is in the audit, in order.
        assert len(words) == len(by_sync)
        for number, word in enumerate(words):
            broke = by_sync[str(number)].state == "failed"
            assert (word == "needed") is broke, f"{name}: sync {number} is {word}, and without it: {broke}"
            missed, total = missed + broke, total + 1
    assert missed >= LEAST * total


def test_there_are_ten_programs() -> None:
    """All different, by their workloads."""
    assert len({program.work for program in PROGRAMS.values()}) == 10
