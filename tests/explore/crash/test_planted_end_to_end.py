"""The planted programs again, through plain pytest: recorded by the backend, judged by the plugin."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from budgets import some
from programs import PROGRAMS, Program

from chaoskit.core.result import ScenarioResult
from chaoskit.inject.kernel import KernelBackend
from chaoskit.report import read

HERE = Path(__file__).parent
EACH = pytest.mark.parametrize("program", some(PROGRAMS), ids=lambda p: p.name.replace(" ", "-"))


# All tests of this file belong to one worker under xdist, so that the programs are explored once.
pytestmark = pytest.mark.xdist_group("planted power losses")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ScenarioResult]:
    """What exploring all programs has shown, by the name of the test."""
    reason = KernelBackend().unavailable()
    if reason is not None:
        pytest.skip(reason)
    report = tmp_path_factory.mktemp("report")
    memory = ["-o", "chaoskit_tmp=/dev/shm"] if os.access("/dev/shm", os.W_OK) else []
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", *memory]
    command += [str(HERE / "planted_scenarios.py"), "--chaoskit-report", str(report)]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=HERE, check=False)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    entries = read(report).entries
    return {entry.result.nodeid.rpartition("::")[2]: entry.result for entry in entries}


def of(results: dict[str, ScenarioResult], test: str, program: Program) -> ScenarioResult:
    return results[f"{test}[{program.name.replace(' ', '-')}]"]


@EACH
def test_a_planted_bug_is_found_under_exactly_the_models_that_have_it(
    results: dict[str, ScenarioResult], program: Program
) -> None:
    """By the assertion of its scenario, with a call to blame and a fix."""
    result = of(results, "test_wrong", program)
    assert {model for finding in result.findings for model in finding.models} == set(program.found)
    assert all(finding.advice and finding.advice.fix for finding in result.findings)


@EACH
def test_the_corrected_twin_is_clean(results: dict[str, ScenarioResult], program: Program) -> None:
    """Under every model, with every state checked."""
    result = of(results, "test_right", program)
    assert result.state == "passed"
    assert result.tried == result.budget.possible > 0
