"""What the plugin keeps for one test item while it is explored."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from chaoskit.core.case import CaseFailure
from chaoskit.explore.execute import Patience, Watch
from chaoskit.explore.job import Job
from chaoskit.inject.leftovers import RunDirectory
from chaoskit.inject.processes import stand_guard
from chaoskit.session.chaos import Chaos
from chaoskit.session.exploring import Exploration


class Places:
    """Hands out fresh directories, which are removed with this process, however it ends."""

    def __init__(self, parent: Path) -> None:
        self._directory = RunDirectory(str(parent))
        self.base = Path(self._directory.path)
        self._guard = stand_guard(str(self.base))
        self._worker = 0
        self._count = 0

    def become(self, worker: int) -> None:
        """Use names of this worker from now on (0 is the test process)."""
        self._worker, self._count = worker, 0

    def fresh(self) -> Path:
        """A new empty directory."""
        self._count += 1
        # Of equal length, so that a program that writes its path writes as many bytes in every case.
        path = self.base / f"w{self._worker:02}-{self._count:06}"
        os.mkdir(path, 0o700)
        return path

    def close(self) -> None:
        """Remove all of them."""
        self._guard.dismiss()
        self._directory.close()


@dataclass(slots=True)
class Underway:
    """One scenario under exploration. ``chaos`` is the object of the current case, ``job`` its job.

    ``stopped`` is the failure of that case if a debugger ends the exploration there.
    """

    exploration: Exploration
    places: Places
    job: Job
    watch: Watch = field(default_factory=Patience)
    chaos: Chaos | None = None
    seconds: float = 0.0
    failed_subtests: list[str] = field(default_factory=list)
    stopped: CaseFailure | None = None


STATE = pytest.StashKey[Underway]()
PLAIN_ERROR = pytest.StashKey[BaseException]()
"""An error whose message says everything: it is shown without a traceback."""
