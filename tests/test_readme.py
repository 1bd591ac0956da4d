"""The first thing that a user tries: the scenario of the README, as it stands there."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel backend is for Linux")

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    """The fenced blocks of the README whose opening line begins with ``language``."""
    return re.findall(rf"^```{language}[^\n]*\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def first_scenario() -> str:
    return next(block for block in blocks("python") if "@scenario" in block)


def corrected() -> str:
    """The same file with ``save`` as the README mends it."""
    (mended,) = (block for block in blocks("python") if "os.replace" in block)
    body = re.compile(r"^def save\(.*?(?=^\S)", re.DOTALL | re.MULTILINE)
    return "import os\n" + body.sub(
        lambda _: mended.partition("\n\n\n")[2] + "\n\n", first_scenario(), count=1
    )


def run(pytester: pytest.Pytester, source: str, *options: str) -> pytest.RunResult:
    pytester.path.joinpath("test_settings.py").write_text(source)
    return pytester.runpytest_subprocess("-p", "no:randomly", *options)


def test_the_failure_is_as_printed(pytester, monkeypatch):
    """The scenario of the README fails with the text shown there; only what it elides may differ."""
    # As with a user: pytest finds the plugin by itself, and all others that are installed.
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    monkeypatch.delenv("PYTEST_PLUGINS")
    result = run(pytester, first_scenario())
    result.assert_outcomes(failed=1)
    (shown,) = (block for block in blocks("text") if "broke this scenario" in block)
    printed = [line.replace(f"{pytester.path}/", "") for line in result.outlines]
    place = printed.index(shown.splitlines()[0])
    skip = False
    for line in shown.splitlines():
        if line.strip() == "…":
            skip = True
            continue
        found = printed.index(line, place) if skip else place
        assert printed[found] == line
        place, skip = found + 1, False


def test_the_line_replays(pytester):
    """The command that the failure prints runs this one case, and it fails again."""
    result = run(pytester, first_scenario())
    command = next(line for line in result.outlines if line.strip().startswith("pytest test_settings.py::"))
    schedule = re.search(r"--chaoskit-replay '([^']*)'", command)
    assert schedule is not None
    again = run(pytester, first_scenario(), "--chaoskit-replay", schedule[1])
    again.assert_outcomes(failed=1)
    again.stdout.fnmatch_lines(["1 of 1 case broke this scenario: 1 finding.", "1 scenario, *, 1 case: *"])


def test_the_corrected_program_passes(pytester):
    """With ``save`` mended as the README says, every case passes, and none is inconclusive."""
    result = run(pytester, corrected())
    result.assert_outcomes(passed=1)
    verdicts = next(line for line in result.outlines if line.startswith("verdicts: "))
    assert re.fullmatch(r"verdicts: \d+ tolerated, \d+ failed safe", verdicts)
