"""What one case of a scenario changes does not reach the next, as far as pytest would have kept it apart."""

from __future__ import annotations

import os
from pathlib import Path

from chaoskit import faults, scenario
from chaoskit.session.chaos import Chaos


def save(path: Path) -> None:
    (path / "job.tmp").write_text("new")
    os.replace(path / "job.tmp", path / "job")


@scenario(faults.kill())
def test_a_test_that_enters_its_directory_does_not_end_there(chaos: Chaos) -> None:
    """A case that changes into its directory does not leave the next one in a directory that is gone."""
    assert Path.cwd() != chaos.path.parent
    os.chdir(chaos.path)
    chaos.run(save, Path("."))
    assert Path.cwd() == chaos.path


class TestInstance:
    """The instance of a test in a class."""

    @scenario(faults.kill())
    def test_every_case_has_an_instance_of_its_own(self, chaos: Chaos) -> None:
        """What a case keeps on self is not there in the next case."""
        assert not hasattr(self, "seen")
        self.seen = True
        chaos.run(save, chaos.path)
