"""``chaoskit explore`` and damaged input: by name, by default, replayed, with the workspace left as it is."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from template import chaoskit

from chaoskit.cli.group import NO
from chaoskit.inject.kernel import KernelBackend

pytestmark = pytest.mark.skipif(
    KernelBackend().unavailable() is not None, reason="the kernel backend does not work here"
)

GIVEN = '{"total": 60}\n'
CHECK = 'test "$CHAOSKIT_STATUS" != 0 || grep -qx 60 out'
RESETS = """
import json
try:
    settings = json.load(open("in.json"))
except ValueError:
    settings = {}
open("out", "w").write(str(settings.get("total", 0)))
"""
REFUSES = """
import json
with open("in.json", encoding="utf-8") as file:
    settings = json.load(file, parse_constant=int)
with open("out", "w") as file:
    file.write(str(settings["total"]))
"""
ONLY_WRITES = "open('out', 'w').write('60')"


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A directory with one good input."""
    made = tmp_path / "workspace"
    made.mkdir()
    (made / "in.json").write_text(GIVEN)
    return made


def explored(capsys: pytest.CaptureFixture[str], workspace: Path, program: str, *options: str) -> Any:
    """The exit code and the report on a Python program."""
    code = chaoskit(["explore", "--json", *options, *asked(workspace, program)])
    return code, json.loads(capsys.readouterr().out)["scenarios"][0]


def asked(workspace: Path, program: str) -> tuple[str, ...]:
    return ("--workspace", str(workspace), "--check", CHECK, "--", sys.executable, "-c", program)


def test_a_program_that_resets_what_it_cannot_read_is_caught(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The finding says in words what was done to which file, and the line that it prints shows it again."""
    before = (workspace / "in.json").stat()
    code, scenario = explored(capsys, workspace, RESETS, "--faults", "corruption", "--only", "damage[*cut*]")
    assert code == NO
    (finding,) = scenario["findings"]
    assert finding["cause"] == "damaged"
    shown = next(case for case in scenario["cases"] if case["schedule"] == finding["schedule"])
    (receipt,) = shown["runs"][0]["receipts"]
    assert "is cut off" in receipt["effect"]
    # Each case had a copy.
    after = (workspace / "in.json").stat()
    assert (workspace / "in.json").read_text() == GIVEN
    assert (before.st_mtime_ns, before.st_ctime_ns) == (after.st_mtime_ns, after.st_ctime_ns)
    assert chaoskit(["replay", finding["schedule"], *asked(workspace, RESETS)]) == NO
    assert receipt["effect"] in capsys.readouterr().out


def test_a_program_that_refuses_what_it_cannot_read_is_clean(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the format tells, it refuses: every case has struck, and none is broken."""
    code = chaoskit(["explore", "--json", "--only", "damage", *asked(workspace, REFUSES)])
    assert code == 0
    totals = json.loads(capsys.readouterr().out)["totals"]
    assert totals["verdicts"]["tolerated"] + totals["verdicts"]["failed safe"] == totals["cases"] > 20


def test_default_adds_cases_only_where_an_input_is_read(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A program that reads no file of a known format has as many cases as without the family."""
    without, writes = (
        explored(capsys, workspace, ONLY_WRITES, "--only", faults)[1] for faults in ("kill", "kill,damage")
    )
    assert writes["budget"] == without["budget"]
    (workspace / "in.json").write_bytes(os.urandom(100))
    reads = f"open('in.json', 'rb').read(); {ONLY_WRITES}"
    _, unknown = explored(capsys, workspace, reads, "--only", "kill,damage")
    assert unknown["budget"] == without["budget"]
