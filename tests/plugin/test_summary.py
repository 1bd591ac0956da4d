"""The summary says what the verdicts do not cover, and calls it by its name."""

from __future__ import annotations

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
