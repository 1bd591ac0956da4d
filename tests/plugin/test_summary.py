"""The summary says what the verdicts do not cover, and calls it by its name."""

from __future__ import annotations

import textwrap
from pathlib import Path

import inner

VARYING = """
    from chaoskit import faults, scenario
    runs = []

    def work(path, names):
        for name in names:
            (path / name).write_text("x")

    @scenario(faults.kill())
    def test_varies(chaos):
        runs.append(1)
        chaos.run(work, chaos.path, ("a", "b", "c")[: 2 + len(runs) % 2])
"""
MAPPING = """
    import mmap
    from chaoskit import faults, scenario

    def work(file):
        with open(file, "r+b") as opened, mmap.mmap(opened.fileno(), 0) as memory:
            memory[:3] = b"new"

    @scenario(faults.kill())
    def test_maps(chaos):
        file = chaos.path / "a"
        file.write_bytes(b"x" * 4096)
        chaos.run(work, file)
"""


def test_without_a_budget_none_is_blamed(tmp_path: Path) -> None:
    """Cases left out because two recordings differ are not the budget's; what differs is named."""
    inner.write(tmp_path, VARYING)
    summary = inner.run(tmp_path).output.partition("= chaoskit =")[2]
    assert "budget: " not in summary
    assert "cases, at calls that are not the same in two baselines: open(c)#1, write(c)#1" in summary


def test_a_caveat_of_a_scenario_that_passes_is_told(tmp_path: Path) -> None:
    """A green test that rests on what could not be followed says so where its verdict is read."""
    inner.write(tmp_path, MAPPING)
    seen = inner.run(tmp_path)
    assert seen.outcomes == {"test_maps": "passed"}
    summary = seen.output.partition("= chaoskit =")[2]
    assert summary.count("caveat shared-mapping: a is mapped shared and writable") == 1


SLOW = """
    import time
    until = time.thread_time() + 0.25
    while time.thread_time() < until:
        pass
"""
IMPORTING = """
    from chaoskit import faults, scenario
    import slow_at_the_top

    def work(path, module):
        __import__(module)
        (path / "a").touch()

    @scenario(faults.kill())
    def test_inside(chaos):
        chaos.run(work, chaos.path, "slow_inside")

    @scenario(faults.kill())
    def test_at_the_top(chaos):
        chaos.run(work, chaos.path, "slow_at_the_top")
"""


def test_b7_an_import_that_every_case_pays_for_is_told(tmp_path: Path) -> None:
    """With its line and what it takes; one at the top of the module costs the cases nothing."""
    for name in ("slow_inside", "slow_at_the_top"):
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(SLOW))
    inner.write(tmp_path, IMPORTING)
    seen = inner.run(tmp_path)
    (told,) = seen.scenario("test_inside")["caveats"]
    assert (told["kind"], told["target"]) == ("import", "test_inner.py:6 (import slow_inside)")
    assert told["text"].startswith("test_inner.py:6 (import slow_inside): 0.")
    assert "import it at the top" in told["text"]
    assert seen.scenario("test_at_the_top")["caveats"] == []


FAILS = """
    from chaoskit import faults, scenario

    def work(path):
        import breaks

    @scenario(faults.kill())
    def test_import(chaos):
        chaos.run(work, chaos.path)
"""


def test_b7_an_import_that_fails_is_told_as_without_us(tmp_path: Path) -> None:
    """What measures imports is in no traceback."""
    (tmp_path / "breaks.py").write_text("raise ValueError('made of cheese')\n")
    inner.write(tmp_path, FAILS)
    text = inner.run(tmp_path).texts["test_import"]
    assert "made of cheese" in text
    assert "breaks.py" in text
    assert "imports.py" not in text
