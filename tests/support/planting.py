"""Exploring a file of scenarios that all have to be violated, and what violated them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from chaoskit.report import read

MEMORY = ["-o", "chaoskit_tmp=/dev/shm"] if os.access("/dev/shm", os.W_OK) else []


def explored(file: Path, report: Path, *options: str) -> dict[str, list[str]]:
    """The schedules that broke each scenario of ``file``, by the name of its test."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", *MEMORY]
    command += [str(file), "--chaoskit-report", str(report), *options]
    # Byte code is kept: pytest rewrites the assertions of chaoskit, for longer than some of these files take.
    kept = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    ended = subprocess.run(command, capture_output=True, text=True, cwd=file.parent, check=False, env=kept)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    results = [entry.result for entry in read(report).entries]
    return {
        result.nodeid.rpartition("::")[2]: [
            schedule for finding in result.findings for schedule in finding.schedules
        ]
        for result in results
    }


def missed(file: Path, planted: Mapping[str, str], report: Path) -> dict[str, list[str]]:
    """The twins of ``file`` that are not listed in ``planted``, or not violated by what is listed there.

    ``planted`` has a part of the schedule that shows each of them. With each name come the schedules that
    broke it.
    """
    # One finding is enough, unless it is another than the one that is listed.
    found = explored(file, report / "first", "--chaoskit-exitfirst")
    if other := _missing(planted, found):
        listed = [name for name in other if name in planted]
        found |= explored(file, report / "all", "-k", " or ".join(listed)) if listed else {}
    return {name: found.get(name, [])[:5] for name in _missing(planted, found)}


def _missing(planted: Mapping[str, str], found: Mapping[str, list[str]]) -> list[str]:
    return [
        name
        for name in sorted({*planted, *found})
        if name not in planted or not any(planted[name] in schedule for schedule in found.get(name, []))
    ]
