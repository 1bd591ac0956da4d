"""Exploring a file of scenarios that all have to be violated, and what violated them.

Where a sweep takes seconds, the case that shows the mistake is recorded, as :class:`Shown`, and replayed
alone: it breaks the invariant, by the fault that the guarantee is there for. That a sweep comes upon such a
case, too, is left to ``BUDGET=all``.

    python tests/support/planting.py scenarios/*/planted_*.py      # prints what to record
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import planted_lines
from budgets import ALL

from chaoskit.core.finding import Finding
from chaoskit.core.schedule import Schedule
from chaoskit.report import read

MEMORY = ["-o", "chaoskit_tmp=/dev/shm"] if os.access("/dev/shm", os.W_OK) else []


class Shown(NamedTuple):
    """The case that shows a mistake: its schedule, as reports print it, and words of what the check says."""

    schedule: str
    says: str


Planted = Mapping[str, str | Shown]
"""By the name of a test: the case that shows its mistake, or a part of the schedule for a sweep to find."""


def explored(
    file: Path, report: Path, *options: str, lines: Mapping[str, str] | None = None
) -> dict[str, list[Finding]]:
    """The findings of each scenario of ``file``, by the name of its test; ``lines`` are replayed instead."""
    # Beside others of xdist; and a second worker would run cases that --chaoskit-exitfirst spares.
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", *MEMORY]
    # What the check lets pass is not asked here: it has to refuse one thing.
    command += ["-o", "chaoskit_oracle=off"]
    command += [str(file), "--chaoskit-workers", "1", "--chaoskit-report", str(report), *options]
    # Byte code is kept: pytest rewrites the assertions of chaoskit, for longer than some of these files take.
    kept = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    if lines:
        command += ["-p", planted_lines.__name__]
        paths = [str(Path(__file__).parent), *filter(None, [kept.get("PYTHONPATH")])]
        kept |= {planted_lines.VARIABLE: json.dumps(lines), "PYTHONPATH": os.pathsep.join(paths)}
    ended = subprocess.run(command, capture_output=True, text=True, cwd=file.parent, check=False, env=kept)
    # Without a finding, too: that is then said by name.
    assert ended.returncode in (0, 1), ended.stdout + ended.stderr
    results = [entry.result for entry in read(report).entries]
    return {result.nodeid.rpartition("::")[2]: list(result.findings) for result in results}


def schedules(findings: Iterable[Finding]) -> list[str]:
    """All that led to one of them."""
    return [schedule for finding in findings for schedule in finding.schedules]


def missed(file: Path, planted: Planted, report: Path) -> dict[str, list[str]]:
    """The twins of ``file`` that are not listed in ``planted``, or not violated by what is listed there.

    With each name come schedules that do violate it. Where a line was recorded, one of them may take its
    place, if it stands for the same.
    """
    lines = {name: shown.schedule for name, shown in planted.items() if isinstance(shown, Shown)}
    # One finding is enough, unless it is another than the one that is listed.
    found = explored(file, report / "first", "--chaoskit-exitfirst", lines=lines)
    other = {name for name in {*planted, *found} if not _shows(planted.get(name), found.get(name, []))}
    if ALL and lines:
        other |= _not_found(file, lines, report)
    if not other:
        return {}
    everything = explored(file, report / "all", *_only(other & found.keys()))
    return {
        name: schedules(everything.get(name, []))[:5]
        for name in sorted(other)
        # By another fault first, and then by the one that is listed.
        if name in lines or not _shows(planted.get(name), everything.get(name, []))
    }


def _shows(shown: str | Shown | None, findings: Iterable[Finding]) -> bool:
    """True if ``findings`` are what was planted; false if nothing was."""
    if isinstance(shown, Shown):
        return any(shown.says in finding.failure.message for finding in findings)
    return shown is not None and any(shown in schedule for schedule in schedules(findings))


def _not_found(file: Path, lines: Mapping[str, str], report: Path) -> set[str]:
    """The twins with a line that a sweep does not violate by the same faults as the line has."""
    found = explored(file, report / "swept", "--chaoskit-exitfirst", *_only(lines))
    kinds = {name: set(map(_faults, schedules(findings))) for name, findings in found.items()}
    return {name for name, line in lines.items() if _faults(line) not in kinds.get(name, set())}


def _faults(line: str) -> tuple[str, ...]:
    return tuple(strike.fault.name for strike in Schedule.parse(line))


def _only(names: Iterable[str]) -> list[str]:
    return ["-k", " or ".join(sorted(names))]


def main(files: Iterable[str]) -> None:
    """Print the case that a sweep comes upon first, for each mistake in these files."""
    for file in files:
        with tempfile.TemporaryDirectory() as report:
            found = explored(Path(file).resolve(), Path(report), "--chaoskit-exitfirst")
        print(f"# {file}")
        for name, findings in found.items():
            for finding in findings[:1]:
                said = finding.failure.message.partition("\n")[0]
                print(f'    "{name}": Shown({finding.schedule!r}, {said!r}),', flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
