"""File names that are not UTF-8 are escaped in all that leaves, the way schedules escape them."""

from __future__ import annotations

import json
from pathlib import Path

import inner
import pytest

MODULE = r"""
    import logging, os
    import pytest
    from chaoskit import faults, scenario

    NAME = os.fsdecode(b"caf\xe9")

    def create(path):
        (path / "other").touch()
        with open(path / NAME, "w") as file:
            file.write("x")

    @scenario(faults.kill())
    def test_holds(chaos):
        chaos.run(create, chaos.path)

    @scenario(faults.kill().on(path="caf*"))
    def test_breaks(chaos):
        chaos.run(create, chaos.path)
        logging.warning("looking for %s", NAME)
        assert (chaos.path / NAME).exists() and (chaos.path / NAME).read_text() == "x", NAME

    @scenario(faults.kill())
    def test_fails_in_baseline(chaos):
        logging.warning("looking for %s", NAME)
        chaos.run(create, chaos.path)
        raise ValueError(NAME)

    @scenario(faults.kill())
    def test_skips(chaos):
        pytest.skip(NAME)
"""


@pytest.mark.parametrize("plugins", [(), ("xdist.plugin",)], ids=["alone", "xdist"])
def test_a_latin_1_name_leaves_escaped(tmp_path: Path, plugins: tuple[str, ...]) -> None:
    """It ends no run under xdist, prints no raw byte, and is spelled in texts as in schedules."""
    inner.write(tmp_path, MODULE)
    # The output is decoded strictly: a raw byte in it fails here.
    seen = inner.run(tmp_path, *(["-n", "1"] if plugins else []), plugins=plugins)
    assert seen.outcomes == {
        "test_holds": "passed", "test_breaks": "failed", "test_fails_in_baseline": "failed",
        "test_skips": "skipped",
    }, seen.output  # fmt: skip
    text = seen.texts["test_breaks"]
    assert "struck: open(caf%E9)#1" in text
    assert "missing  caf%E9" in text
    assert "AssertionError: caf%E9" in text
    assert "caf%E9" in seen.texts["test_fails_in_baseline"]
    assert "caf%E9" in (tmp_path / "report" / "summary.md").read_text("utf-8")
    # Raises for a surrogate anywhere.
    assert b"caf%E9" in json.dumps(seen.report, ensure_ascii=False).encode()
