"""Keep the schedules that broke a scenario beside the project, to run them first the next time.

They are local, below ``.chaoskit/``, which keeps itself out of version control and may be deleted at any
time. A finding that will stay for a while belongs in the test, as a known one or as a separate case.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from chaoskit.core.errors import ScheduleError
from chaoskit.core.result import ScenarioResult
from chaoskit.core.schedule import Schedule

FOLDER = ".chaoskit"
_EACH = 3
_ALL = 60
"""How many schedules are kept for one finding, and for one scenario. All but the first are spares."""


class Remembered:
    """The schedules kept for a project; ``root`` is the project's directory."""

    def __init__(self, root: Path) -> None:
        self._root = root / FOLDER

    def of(self, nodeid: str) -> tuple[Schedule, ...]:
        """The schedules that broke a scenario the last time; empty if unknown."""
        try:
            kept = json.loads(self._file(nodeid).read_text("utf-8"))
        except (OSError, ValueError, RecursionError):
            return ()
        same = isinstance(kept, dict) and kept.get("scenario") == nodeid
        schedules = kept.get("schedules") if same else ()
        # The file may come from another version or from an editor: its content must do no harm.
        return tuple(_readable(schedules)) if isinstance(schedules, list) else ()

    def keep(self, result: ScenarioResult) -> None:
        """Replace the schedules kept for a scenario by those that broke it now.

        If they cannot be written they are not kept: a project on a read-only disk can still be tested.
        """
        broke = [
            schedule
            for finding in result.findings
            for schedule in dict.fromkeys((finding.schedule, finding.shrunk_from, *finding.schedules[:_EACH]))
            if schedule
        ][:_ALL]
        with contextlib.suppress(OSError):
            if broke:
                self._write(result.nodeid, broke)
            elif _had_its_chance(result, self.of(result.nodeid)):
                self._file(result.nodeid).unlink(missing_ok=True)

    def _file(self, nodeid: str) -> Path:
        # A hash, since parameters may hold anything.
        digest = hashlib.sha256(nodeid.encode("utf-8", "backslashreplace")).hexdigest()[:20]
        return self._root / "broke" / f"{digest}.json"

    def _write(self, nodeid: str, schedules: list[str]) -> None:
        file = self._file(nodeid)
        file.parent.mkdir(parents=True, exist_ok=True)
        ignore = self._root / ".gitignore"
        if not ignore.exists():
            ignore.write_text("# Made by chaoskit; may be deleted.\n*\n", "utf-8")
        text = json.dumps({"scenario": nodeid, "schedules": schedules}, indent=1) + "\n"
        # In one step: another process may be reading it.
        number, draft = tempfile.mkstemp(dir=file.parent, suffix=".tmp")
        try:
            with open(number, "w", encoding="utf-8") as opened:
                opened.write(text)
            os.replace(draft, file)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(draft)
            raise


def _readable(schedules: list[object]) -> Iterator[Schedule]:
    for one in schedules:
        with contextlib.suppress(ScheduleError):
            yield Schedule.parse(one)  # type: ignore[arg-type]  # anything but text is such an error


def _had_its_chance(result: ScenarioResult, schedules: tuple[Schedule, ...]) -> bool:
    """Return True if ``schedules``, or all cases, were run: one that can no longer strike has no case."""
    everything = result.state == "passed" and (result.budget is None or not result.budget.left_out)
    return everything or {case.schedule for case in result.cases}.issuperset(map(str, schedules))
