"""The subject of the report: version and commit of the project to which the scenarios belong."""

from __future__ import annotations

import contextlib
import subprocess
import tomllib
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

_PATIENCE = 5.0
"""Seconds that git may take: a report must not wait for a repository on a dead network."""


@dataclass(frozen=True, slots=True)
class Project:
    """The subject of a report; each field is empty if unknown.

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
        # A version that is computed when the package is built is in the installed metadata.
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
    """What git prints; empty without git or outside a repository."""
    # No optional locks: otherwise `git status` would write to the index of a project in use.
    command = ["git", "--no-optional-locks", "-C", str(root), *words]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except (OSError, subprocess.SubprocessError, ValueError):
        return ""
    return ended.stdout.strip() if ended.returncode == 0 else ""
