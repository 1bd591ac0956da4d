"""Runs pytest in a directory of its own and tells what each test there came to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import template

SAVING = '''
import json, os

def save(path, state):
    """Correct: all or nothing."""
    temporary = path / "job.json.tmp"
    with open(temporary, "w") as file:
        json.dump(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path / "job.json")

def overwrite(path, state):
    """Wrong: between opening and writing, nothing is there."""
    with open(path / "job.json", "w") as file:
        json.dump(state, file)

def load(path):
    with open(path / "job.json") as file:
        return json.load(file)
'''

UNTRIED = ("-o", "chaoskit_oracle=off")
TRIED = ("-o", "chaoskit_oracle=warn")
"""A scenario's own check is tried on ten spoiled states, more than most scenarios here have cases."""

_SPY = """
import json

_told = {}
_results = {}

def pytest_runtest_logreport(report):
    name = report.nodeid.partition("::")[2]
    if name not in _told or report.outcome != "passed":
        outcome = "error" if report.failed and report.when != "call" else report.outcome
        if hasattr(report, "wasxfail"):
            outcome = "xfailed" if report.skipped else "xpassed"
        text = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
        _told[name] = [outcome, text]
    if "chaoskit_result" in report.__dict__:
        _results[name] = report.chaoskit_result

def pytest_unconfigure(config):
    if not hasattr(config, "workerinput"):
        with open("told.json", "w") as file:
            json.dump([_told, _results], file)
"""


@dataclass(frozen=True)
class Inner:
    """What one run of pytest came to. ``outcomes`` and ``texts`` are by the test's name."""

    status: int
    output: str
    outcomes: dict[str, str]
    texts: dict[str, str]
    report: dict[str, Any]
    results: dict[str, dict[str, Any]]

    def scenario(self, name: str) -> dict[str, Any]:
        """The result of one scenario: what the report has of it, with all its cases and whole call sites."""
        reported = next(s for s in self.report["scenarios"] if s["nodeid"].endswith(f"::{name}"))
        whole = next((one for test, one in self.results.items() if f"::{test}".endswith(f"::{name}")), {})
        replays = [finding["replay"] for finding in reported["findings"]]
        pairs = zip(whole.get("findings", ()), replays, strict=False)
        return {**reported, **whole, "findings": [{**finding, "replay": line} for finding, line in pairs]}

    def verdicts(self, name: str) -> dict[str, str]:
        """Verdicts by schedule."""
        return {case["schedule"]: case["verdict"] for case in self.scenario(name)["cases"]}


def write(directory: Path, source: str) -> None:
    """Put a test module, the program under test and the spy into ``directory``."""
    (directory / "saving.py").write_text(SAVING)
    (directory / "conftest.py").write_text(_SPY)
    (directory / "test_inner.py").write_text(textwrap.dedent(source))


def command(*arguments: str, plugins: tuple[str, ...] = ()) -> list[str]:
    """The command line: only the plugins named are loaded, which makes the start twice as fast.

    A scenario that does not say otherwise has its check not tried; tests of that put ``TRIED`` at the end.
    """
    words = [sys.executable, "-m", "pytest", *_loaded(plugins), "-q", "--tb=short", "-Werror", *UNTRIED]
    return [*words, "--chaoskit-report=report", "--chaoskit-failed-first=off", *arguments]


def _loaded(plugins: tuple[str, ...]) -> list[str]:
    return [part for name in ("chaoskit.plugin", *plugins) for part in ("-p", name)]


def environment() -> dict[str, str]:
    """The environment of an inner run: nothing of the outer one's pytest in it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV"))}
    return {**kept, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "COLUMNS": "120"}


def run(
    directory: Path, *arguments: str, plugins: tuple[str, ...] = (), given: str = "", **kwargs: Any
) -> Inner:
    """Run the module that :func:`write` has put there, with ``given`` as its standard input.

    With options of ``subprocess.run`` it is a process that has just been started.
    """
    words = command(*arguments, plugins=plugins)
    if not kwargs:
        return result(directory, *template.run(words[3:], directory, environment(), 300, given))
    done = subprocess.run(
        words,
        cwd=directory,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
        **kwargs,
    )
    return result(directory, done.returncode, done.stdout)


def plain(directory: Path, *arguments: str, plugins: tuple[str, ...] = ()) -> tuple[int, str]:
    """``pytest`` with the plugin and these arguments alone: its exit status, and what it printed."""
    return template.run([*_loaded(plugins), *arguments], directory, environment(), timeout=300)


def result(directory: Path, status: int, output: str) -> Inner:
    """Collect what a run has left in its directory."""
    told, results = _read(directory / "told.json") or ({}, {})
    return Inner(
        status=status,
        output=output,
        outcomes={name: outcome for name, (outcome, _) in told.items()},
        texts={name: text for name, (_, text) in told.items()},
        results=results,
        report=_read(directory / "report" / "report.json"),
    )


def _read(path: Path) -> Any:
    return json.loads(path.read_text()) if path.exists() else {}
