"""What a workload writes outside the scenario's directory and then moves or links in."""

from __future__ import annotations

import mmap
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chaoskit.inject.base import Ran

Run = Callable[..., Ran]


def write(name: str, *, flags: int = 0, sync: bool = False) -> None:
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | flags)
    os.write(fd, b"new")
    if sync:
        os.fsync(fd)
    os.close(fd)


def map_and_store(name: str) -> None:
    with open(name, "r+b") as file, mmap.mmap(file.fileno(), 0) as mapping:
        mapping[:3] = b"new"


def read_by_mapping(name: str) -> None:
    with open(name, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ):
        pass


def write_under_another_name(name: str) -> None:
    write(f"{name}.part")
    os.rename(f"{name}.part", name)


def write_and_sync_all(name: str) -> None:
    write(name)
    os.sync()


def write_again(name: str) -> None:
    write(name, sync=True)
    write(name)


def write_by_a_child(name: str) -> None:
    subprocess.run(["sh", "-c", f"echo new > {name}"], check=True)


@pytest.mark.parametrize(
    ("make", "unsynced"),
    [
        (write, True),
        (write_under_another_name, True),
        (write_again, True),
        (write_by_a_child, True),
        (map_and_store, True),
        (lambda name: os.truncate(name, 0), False),  # by its name, and no data of it can be lost
        (lambda name: write(name, sync=True), False),
        (lambda name: write(name, flags=os.O_DSYNC), False),
        (write_and_sync_all, False),
        (read_by_mapping, False),
        (lambda name: None, False),
    ],
)
@pytest.mark.parametrize("bring", [os.rename, os.link])
def test_a14_what_is_brought_in_was_synced_or_not(
    root: str, tmp_path: Path, run: Run, make: Callable[[str], None], bring: Any, unsynced: bool
) -> None:
    """Writes by any process of the workload count; what was there before is already on the disk."""
    made = str(tmp_path / "made")
    Path(made).write_bytes(b"old")

    def work() -> None:
        make(made)
        bring(made, f"{root}/f")

    (found,) = [one for one in run(work, record=True).trace if one.call in ("rename", "link")]
    assert (found.second, found.file.unsynced) == ("f", unsynced)


def test_a14_what_is_written_outside_is_no_operation(root: str, tmp_path: Path, run: Run) -> None:
    """It is followed, and neither recorded nor struck."""
    trace = run(lambda: write(str(tmp_path / "made"), sync=True), record=True).trace
    assert [one.call for one in trace if one.call != "end"] == []
