"""A printed fix is right: taken literally, the program that it mends holds against every fault."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import inner
import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel backend is for Linux")

HEAD = """
import os
from chaoskit import faults, scenario

def check(chaos, name, allowed):
    if (chaos.path / name).exists():
        assert (chaos.path / name).read_text() in allowed
    for promised in chaos.promised:
        assert (chaos.path / promised).read_text() == "new"
"""

PROGRAMS = {
    "rename": """
def work(path, promise):
    os.chdir(path)
    with open("state.tmp", "w") as file:
        file.write("new")
        {file}
    os.replace("state.tmp", "state")
""",
    "link": """
def work(path, promise):
    os.chdir(path)
    with open("draft", "w") as file:
        file.write("new")
        {file}
    os.link("draft", "state")
""",
    "acknowledged_data": """
def work(path, promise):
    os.chdir(path)
    with open("state", "r+") as file:
        file.write("new")
        {file}
    promise("state")
""",
    "acknowledged_name": """
def work(path, promise):
    os.chdir(path)
    with open("order", "w") as file:
        file.write("new")
        file.flush(); os.fsync(file.fileno())
    {directory}
    promise("order")
""",
}
"""By the mistake; ``{file}`` and ``{directory}`` are the places to which a fix belongs."""

TEST = """
@scenario({faults}, model={model!r})
def test_{name}(chaos):
    if {name!r} in ("rename", "acknowledged_data"):
        (chaos.path / "state").write_text("old")
    chaos.run(work_{name}, chaos.path, chaos.promise)
    check(chaos, "state", {allowed})
"""

WORLD = "faults.default() | faults.share() | faults.interference()"

MODELS = {"rename": "xfs", "link": "xfs", "acknowledged_data": "ext4", "acknowledged_name": "strict"}


def module(fixes: dict[str, str], faults: str) -> str:
    """Every program with its fix put in literally; ``pass`` where there is none yet."""
    parts = [HEAD]
    for name, program in PROGRAMS.items():
        fix = fixes.get(name, "pass")
        kind = "directory" if "{directory}" in program else "file"
        # A fix for a file has the call in its first line, and in the second what is to come after it.
        text = fix if kind == "directory" else fix.splitlines()[0]
        indent = " " * (4 if kind == "directory" else 8)
        placed = textwrap.indent(text, indent).strip()
        parts.append(program.replace(f"{{{kind}}}", placed).replace("def work(", f"def work_{name}("))
        allowed = '("old", "new", "")' if name == "acknowledged_data" else '("old", "new")'
        parts.append(TEST.format(name=name, faults=faults, model=MODELS[name], allowed=allowed))
    return "\n".join(parts)


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The fix that is printed for each of the mistakes."""
    directory = tmp_path_factory.mktemp("broken")
    inner.write(directory, module({}, "faults.power_loss()"))
    found = inner.run(directory)
    fixes = {}
    for name in PROGRAMS:
        assert found.outcomes[f"test_{name}"] == "failed", found.output
        [finding, *_] = found.scenario(f"test_{name}")["findings"]
        fixes[name] = finding["advice"]["fix"]
        assert all(line in found.output for line in fixes[name].splitlines())
    return fixes


def test_c3_every_printed_fix_holds_against_all_faults(printed: dict[str, str], tmp_path: Path) -> None:
    """Each line as it was printed, in its place: no violation and no leak, whatever the world does.

    Interrupts and exhausted memory inside the interpreter are left out: between ``os.open`` and the ``try``
    behind it there is a moment in which no program in Python can keep hold of a descriptor.
    """
    assert {fix.splitlines()[0].partition("(")[0] for fix in printed.values()} == {
        "file.flush",
        "fd = os.open",
    }
    inner.write(tmp_path, module(printed, WORLD))
    found = inner.run(tmp_path)
    assert found.outcomes == {f"test_{name}": "passed" for name in PROGRAMS}, found.output


def test_c3_a_fix_that_leaks_is_caught(printed: dict[str, str], tmp_path: Path) -> None:
    """The twin: the same lines without the guard leave a descriptor open when the fsync fails."""
    leaky = printed["acknowledged_name"].replace("try: ", "").replace("finally: ", "")
    assert leaky != printed["acknowledged_name"]
    inner.write(tmp_path, module({**printed, "acknowledged_name": leaky}, "faults.all()"))
    found = inner.run(tmp_path, "-k", "acknowledged_name")
    assert found.outcomes == {"test_acknowledged_name": "failed"}
    assert "descriptor" in found.texts["test_acknowledged_name"]
