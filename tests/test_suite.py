"""How the suite treats what failed: once more, alone, and never more than a few."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SUITE = Path(__file__).resolve().parent.parent / ".ci" / "suite.py"

UNSTEADY = """
from pathlib import Path

def test_unsteady_{n}():
    before = Path("ran-{n}")
    known = before.exists()
    before.touch()
    assert known

"""
BROKEN = "def test_broken(): assert False\n"
SOUND = "def test_sound(): pass\n"


@pytest.fixture
def suite(tmp_path, monkeypatch):
    """Runs the script on a file with these tests; the options of pytest are those given."""
    monkeypatch.delenv("UNSTEADY", raising=False)

    def run(source: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "test_it.py").write_text(source)
        command = [sys.executable, str(SUITE), *options]
        return subprocess.run(
            command,
            cwd=tmp_path,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def unsteady(count: int) -> str:
    return "".join(UNSTEADY.format(n=n) for n in range(count))


def test_what_fails_once_is_named_and_does_not_fail_the_suite(suite):
    """A test that passes alone is told of at the end; those that passed are not run a second time."""
    done = suite(unsteady(1) + SOUND, "-q")
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-1] == "UNSTEADY (failed once, passed alone): test_it.py::test_unsteady_0"
    assert "1 failed, 1 passed" in done.stdout
    assert done.stdout.splitlines()[-2].startswith("1 passed")


def test_what_fails_twice_fails_the_suite(suite):
    """One test that fails each time is enough, whatever else recovers."""
    done = suite(unsteady(1) + BROKEN, "-q")
    assert done.returncode == 1
    assert "UNSTEADY" not in done.stdout


def test_many_failures_are_no_accident(suite):
    """More than were asked for are not tried again; what an earlier run left in the cache is not counted."""
    assert suite(unsteady(3), "-q", UNSTEADY="2").returncode == 1
    assert suite(unsteady(3), "-q", UNSTEADY="2").returncode == 0


def test_errors_of_pytest_itself_are_passed_on(suite):
    """A file that cannot be imported, an option that is not known and an empty run are not tried again."""
    assert suite("raise OSError\n", "-q").returncode == 2
    assert suite(SOUND, "--no-such-option").returncode == 4
    assert suite("", "-q").returncode == 5


def test_arguments_of_the_first_run_are_not_those_of_the_second(suite, tmp_path):
    """Where the report of the whole goes, the run of the few writes nothing."""
    report = tmp_path / "report.xml"
    done = suite(unsteady(1), "--first", f"--junitxml={report}", "-q")
    assert done.returncode == 0
    assert 'failures="1"' in report.read_text("utf-8")
