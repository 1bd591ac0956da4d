"""The archive of a project's files that hosts are sent."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from chaoskit.core.errors import UsageError
from chaoskit.hosts import code
from chaoskit.hosts.code import packed

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="hosts are for Linux")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Files, a link, a script, and things that are not code."""
    place = tmp_path / "project"
    (place / "src/shop").mkdir(parents=True)
    (place / "src/shop/__init__.py").write_text("")
    (place / "run").write_text("#!/bin/sh\n")
    (place / "run").chmod(0o755)
    (place / "latest").symlink_to("src")
    (place / "data.log").write_text("of a run")
    (place / ".cache").mkdir()
    (place / ".cache/x").write_text("")
    (place / "env/bin").mkdir(parents=True)
    (place / "env/pyvenv.cfg").write_text("")
    (place / "env/bin/python").write_text("")
    return place


def members(data: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {info.name: info for info in archive}


def test_without_git_what_is_visible_is_sent(project: Path) -> None:
    """Neither hidden directories nor environments, and links as links."""
    sent = members(packed(project).data)
    assert set(sent) == {"src/shop/__init__.py", "run", "data.log", "latest"}
    assert sent["latest"].issym()
    assert sent["run"].mode == 0o755


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_with_git_what_is_not_ignored_is_sent(project: Path) -> None:
    """Tracked files as they are now, new ones, and none that is ignored or was removed."""
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com"]
    (project / ".gitignore").write_text("*.log\nenv/\n.cache/\n")
    (project / "old.py").write_text("")
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "first"]):
        subprocess.run([*git, *words], cwd=project, check=True, capture_output=True)
    (project / "old.py").unlink()
    (project / "new.py").write_text("new = True\n")
    assert set(members(packed(project).data)) == {
        ".gitignore",
        "latest",
        "new.py",
        "run",
        "src/shop/__init__.py",
    }


def test_equal_files_are_equal_code(project: Path, tmp_path: Path) -> None:
    """Times, the umask and the place do not count; contents and the right to execute do."""
    first = packed(project).digest
    other = tmp_path / "elsewhere"
    shutil.copytree(project, other, symlinks=True)
    for path in other.rglob("*.py"):
        path.chmod(0o600)
        os.utime(path, (1, 1))
    assert packed(other).digest == first
    (other / "run").chmod(0o644)
    assert packed(other).digest != first


def test_what_is_too_large_is_no_code(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is named, and what to do."""
    monkeypatch.setattr(code, "LARGEST", 5)
    with pytest.raises(UsageError, match=r"List data in \.gitignore"):
        packed(project)


def test_a_place_that_is_not_there_has_no_code(tmp_path: Path) -> None:
    """An empty archive would run no test there, and say nothing of why."""
    with pytest.raises(UsageError, match="no file to send"):
        packed(tmp_path / "nowhere")
