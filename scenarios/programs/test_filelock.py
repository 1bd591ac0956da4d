"""filelock: a lock that its holder may take to the grave, and one that it may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaoskit import Chaos, faults, scenario

filelock = pytest.importorskip("filelock", reason="needs the dependency group scenarios")


def count(path: Path, kind: str) -> None:
    """Read, add one, write: the work that a lock protects."""
    with getattr(filelock, kind)(path / "lock", timeout=0.2):
        number = int((path / "number").read_text())
        (path / "next").write_text(str(number + 1))
        (path / "next").replace(path / "number")


def goes_on(chaos: Chaos, kind: str) -> None:
    (chaos.path / "number").write_text("1")
    chaos.run(count, chaos.path, kind)
    before = int((chaos.path / "number").read_text())
    count(chaos.path, kind)
    assert int((chaos.path / "number").read_text()) == before + 1


@scenario(faults.disk() | faults.kill())
def test_a_lock_of_the_kernel_is_free_again(chaos: Chaos) -> None:
    """Whatever happens to the holder of a FileLock, the next one gets it."""
    goes_on(chaos, "FileLock")


@scenario(faults.kill(), known={"2398f2": "a lock that is a file stays when its holder is killed"})
def test_a_lock_that_is_a_file_is_free_again(chaos: Chaos) -> None:
    """Whatever happens to the holder of a SoftFileLock, the next one gets it."""
    goes_on(chaos, "SoftFileLock")
