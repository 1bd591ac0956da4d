"""A file that is made outside the scenario's directory and renamed or linked into it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chaoskit import faults, scenario
from chaoskit.session.chaos import Chaos


def bring(path: Path, elsewhere: Path, how: str) -> None:
    made = elsewhere / "made"
    with open(made, "w") as file:
        file.write("new")
        file.flush()
        os.fsync(file.fileno())
        os.chmod(file.fileno(), 0o600)
    if how == "link":
        os.unlink(path / "job")
        os.link(made, path / "job")
    else:
        os.replace(made, path / "job")


@pytest.mark.parametrize("how", ["rename", "link"])
@scenario(faults.power_loss())
def test_what_comes_from_elsewhere_keeps_its_content(chaos: Chaos, tmp_path: Path, how: str) -> None:
    """No crash state shows an empty file where a whole one was brought in, or another mode."""
    (chaos.path / "job").write_text("old")
    chaos.run(bring, chaos.path, tmp_path, how)
    if how == "link" and not (chaos.path / "job").exists():
        return
    assert (chaos.path / "job").read_text() in ("old", "new")
    if (chaos.path / "job").read_text() == "new":
        assert (chaos.path / "job").stat().st_mode & 0o777 == 0o600
