"""``chaoskit explore`` with memory and interrupts: any program, a planted bug and its twin for each."""

from __future__ import annotations

import json
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

GOES_ON = """
text = open("in").read()
try:
    size = len(bytearray(32 << 20))
except MemoryError:
    size = 0
open("out", "w").write(str(size))
"""
FAILS = """
text = open("in").read()
open("out", "w").write(str(len(bytearray(32 << 20))))
"""
SIZE = 'test "$CHAOSKIT_STATUS" != 0 || grep -qx 33554432 out'
OVERWRITES = """
with open("in", "w") as file:
    file.write("new")
"""
REPLACES = """
import os
with open("in.tmp", "w") as file:
    file.write("new")
os.replace("in.tmp", "in")
"""
WHOLE = "grep -qx old in || grep -qx new in"


@pytest.mark.parametrize(
    ("family", "fault", "bug", "twin", "check"),
    [
        ("memory", "memory_limit[8]", GOES_ON, FAILS, SIZE),
        ("interrupt", "SIGINT", OVERWRITES, REPLACES, WHOLE),
    ],
    ids=["memory", "interrupt"],
)
def test_a_bug_is_found_and_its_twin_is_clean(
    *, family: str, fault: str, bug: str, twin: str, check: str, tmp_path: Path, capsys: Any
) -> None:
    """A program that goes on with nothing when memory is short, and one that Ctrl-C stops in the middle."""
    (tmp_path / "in").write_text("old\n")

    def explored(program: str) -> tuple[int, dict[str, Any]]:
        options = ("--faults", family, "--workspace", str(tmp_path), "--check", check)
        code = chaoskit(["explore", "--json", *options, "--", sys.executable, "-S", "-c", program])
        return code, json.loads(capsys.readouterr().out)

    code, found = explored(bug)
    assert code == NO
    findings = found["scenarios"][0]["findings"]
    assert all(finding["schedule"].endswith(f"={fault}") for finding in findings)
    assert findings
    code, found = explored(twin)
    assert (code, found["scenarios"][0]["findings"]) == (0, [])
    assert found["totals"]["cases"] > 0
