"""git add and git commit, with git fsck as the judge."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from budgets import bounded

from chaoskit import Chaos, faults, scenario

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")

ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_COUNT": "3",
    "GIT_CONFIG_KEY_0": "gc.auto",
    "GIT_CONFIG_VALUE_0": "0",
    "GIT_CONFIG_KEY_1": "maintenance.auto",
    "GIT_CONFIG_VALUE_1": "false",
    "GIT_CONFIG_KEY_2": "init.defaultBranch",
    "GIT_CONFIG_VALUE_2": "main",
    **{f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    **{f"GIT_{who}_DATE": "2020-01-01T00:00:00Z" for who in ("AUTHOR", "COMMITTER")},
}
COMMIT = ["sh", "-c", "git add . && git commit -q -m second && git rev-parse --verify HEAD"]


def git(repository: Path, *arguments: str) -> str:
    command = ["git", "-C", str(repository), *arguments]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(arguments)}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with one commit, and a change to commit."""
    repository = tmp_path_factory.mktemp("git") / "repository"
    subprocess.run(["git", "init", "-q", "--template=", str(repository)], env=ENVIRONMENT, check=True)
    (repository / "file").write_text("first\n")
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "first")
    (repository / "file").write_text("second\n")
    (repository / "more").write_text("more\n" * 1000)
    return repository


def commit_survives(chaos: Chaos, template: Path) -> None:
    first = git(template, "rev-parse", "HEAD")
    repository = chaos.path / "repository"
    shutil.copytree(template, repository)

    outcome = chaos.run_command(COMMIT, cwd=repository, env=ENVIRONMENT)

    git(repository, "fsck", "--strict", "--no-dangling")
    head = git(repository, "rev-parse", "HEAD")
    assert git(repository, "show", f"{first}:file") == "first"
    acknowledged = [line.strip() for line in chaos.promised]
    assert acknowledged in ([], [head])
    if outcome.ok or head != first:
        assert git(repository, "show", "HEAD:file") == "second"
        assert git(repository, "rev-parse", "HEAD~") == first
    recover(repository, first)


def recover(repository: Path, first: str) -> None:
    """What git tells its user to do: remove stale locks, then do it again."""
    for lock in (repository / ".git").rglob("*.lock"):
        lock.unlink()
    git(repository, "add", ".")
    if git(repository, "status", "--porcelain"):
        git(repository, "commit", "-q", "-m", "again")
    assert git(repository, "show", "HEAD:file") == "second"


@scenario(faults.kill(), budget=bounded(40))
def test_a_commit_that_is_killed(chaos: Chaos, template: Path) -> None:
    """Killed anywhere, as a whole or one process of it: no commit is lost, and work can go on."""
    commit_survives(chaos, template)


@scenario(
    faults.disk()
    .on(call=("open", "write", "fsync", "rename", "link", "unlink", "close"))
    .only("ENOSPC[persistent]", "EIO[]", "short", "full"),
    budget=bounded(80),
)
def test_a_commit_on_a_failing_disk(chaos: Chaos, template: Path) -> None:
    """The same where the disk is full or fails."""
    commit_survives(chaos, template)
