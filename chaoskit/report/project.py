"""What was under test: the version and the commit of the project that the scenarios belong to."""

from __future__ import annotations

import contextlib
import subprocess
import tomllib
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

_PATIENCE = 5.0
"""Seconds that git is given: a report must not wait for a repository on a dead network."""


@dataclass(frozen=True, slots=True)
class Project:
    """What a report is about; each field is empty if it is not known.

    ``name`` and ``version`` are those of the distribution, ``commit`` is the full hash, and ``dirty`` is True
    if tracked files had been changed since.
    """

    name: str = ""
    version: str = ""
    commit: str = ""
    dirty: bool = False


def detect(root: Path) -> Project:
    """The project whose directory is ``root``."""
    name, version = _named(root / "pyproject.toml")
    if name and not version:
        # A version that is worked out when the package is built stands with what was installed.
        with contextlib.suppress(metadata.PackageNotFoundError):
            version = metadata.version(name)
    commit = _git(root, "rev-parse", "HEAD")
    changed = _git(root, "status", "--porcelain", "--untracked-files=no") if commit else ""
    return Project(name, version, commit, bool(changed))


def _named(file: Path) -> tuple[str, str]:
    try:
        table = tomllib.loads(file.read_text("utf-8")).get("project", {})
        return str(table.get("name", "")), str(table.get("version", ""))
    except (OSError, ValueError, AttributeError):
        return "", ""


def _git(root: Path, *words: str) -> str:
    """What git prints; empty without git or outside of a repository."""
    # No optional locks: `git status` would otherwise write to the index of a project that is being worked in.
    command = ["git", "--no-optional-locks", "-C", str(root), *words]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except (OSError, subprocess.SubprocessError, ValueError):
        return ""
    return ended.stdout.strip() if ended.returncode == 0 else ""
