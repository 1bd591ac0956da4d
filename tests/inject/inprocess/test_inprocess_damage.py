"""Damaged files in the test's own process: what is changed, what is kept, and when it counts as met."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from chaoskit import NotInjected, injecting
from chaoskit.core.schedule import Schedule
from chaoskit.inject import damageable
from chaoskit.inject.base import Plan, Ran
from chaoskit.inject.inprocess.backend import InProcessBackend

HALF = "open(given)#1=damage[file.cut.half]"
GIVEN = bytes(range(256)) * 20


@pytest.fixture
def given(tmp_path: Path) -> Path:
    path = tmp_path / "given"
    path.write_bytes(GIVEN)
    return path


def test_a_file_is_damaged_under_the_hands_of_its_reader(given: Path) -> None:
    """It reads half of it; inode, times and mode are as they were."""
    os.chmod(given, 0o440)
    os.utime(given, (1000, 2000))
    before = given.stat()
    with injecting(HALF, path=given.parent) as seen:
        assert given.read_bytes() == GIVEN[: len(GIVEN) // 2]
    after = given.stat()
    kept = ("st_ino", "st_mtime_ns", "st_mode", "st_nlink")
    assert [getattr(after, name) for name in kept] == [getattr(before, name) for name in kept]
    assert "5120 bytes before, 2560 now" in seen.faults[0].effect


def test_a_file_in_memory_is_damaged_too(fs: Any) -> None:
    """With pyfakefs as on a disk."""
    fs.create_file("/data/given", contents=GIVEN)
    with injecting(HALF, path="/data") as seen, open("/data/given", "rb") as file:
        assert file.read() == GIVEN[: len(GIVEN) // 2]
    assert len(seen.faults) == 1


def test_damage_that_is_never_read_is_no_damage(given: Path) -> None:
    """An open alone proves nothing: the block says that its fault did not strike."""
    with pytest.raises(NotInjected, match="did not strike"), injecting(HALF, path=given.parent):
        given.open("rb").close()


def test_a_reader_that_only_looks_at_the_end_has_met_it(tmp_path: Path) -> None:
    """As zipfile does with a file that is too short."""
    path = tmp_path / "given"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", "text")
    struck = injecting("open(given)#1=damage[file.empty]", path=tmp_path)
    with struck as seen, pytest.raises(zipfile.BadZipFile):
        zipfile.ZipFile(path)
    assert len(seen.faults) == 1


@pytest.mark.parametrize(
    ("make", "open_", "why"),
    [
        (lambda path: path.hardlink_to(path.parent / "other"), "rb", "2 names"),
        (lambda path: path.write_bytes(b""), "rb", "not a regular file with content"),
        (lambda path: os.truncate(path, damageable.MOST + 1), "rb", "the most that are looked at"),
        (lambda path: None, "wb", "does not read"),
        (lambda path: path.write_bytes(b"x"), "ab", "does not read"),
    ],
)
def test_what_cannot_be_damaged_is_left_alone_with_the_reason(
    given: Path, make: Any, open_: str, why: str
) -> None:
    """The reason is in the error at the end of the block."""
    if why == "2 names":
        given.unlink()
        (given.parent / "other").write_bytes(GIVEN)
    make(given)
    with pytest.raises(NotInjected, match=why), injecting(HALF, path=given.parent):
        given.open(open_).close()


def run(root: Path, work: Any, schedule: str = "") -> Ran:
    plan = Plan(os.path.realpath(root), strikes=Schedule.parse(schedule).strikes, record=not schedule)
    return InProcessBackend().run(work, plan)


def test_a_recording_keeps_what_files_held_once_for_each_content(given: Path) -> None:
    """Damages are enumerated from that: at the first open, and at the first one after a change."""

    def work() -> None:
        given.read_bytes()
        given.read_bytes()
        given.write_bytes(b"new")
        given.read_bytes()

    ran = run(given.parent, work)
    opens = [one for one in ran.trace if one.call == "open"]
    held = [one.file.held and one.file.held.read() for one in opens]
    assert held == [GIVEN, None, None, b"new"]


_OTHER = """
import fcntl, sys
with open(sys.argv[1], "r+b") as file:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        print("locked")
"""


def test_a_lock_of_the_workload_outlives_the_look_at_its_file(given: Path) -> None:
    """A look by another descriptor would give it up when that is closed (fcntl(2))."""

    def work() -> str:
        fd = os.open(given, os.O_RDWR)
        fcntl.lockf(fd, fcntl.LOCK_EX)
        os.open(given, os.O_RDONLY)
        other = subprocess.run(
            [sys.executable, "-S", "-c", _OTHER, str(given)], capture_output=True, text=True, check=True
        )
        return other.stdout.strip()

    assert run(given.parent, work).value == "locked"
    with open(given, "r+b") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        if not Path("/proc/locks").exists():
            pytest.skip("this system has no list of locks")
        ran = run(given.parent, lambda: os.read(os.open(given, os.O_RDONLY), 1), HALF)
    assert ran.receipts == ()
    assert "holds a lock" in next(iter(ran.caveats)).text


def test_a_poisoned_cache_is_found_and_its_twin_is_not(tmp_path: Path) -> None:
    """Planted: a reader that takes what it cannot parse for nothing, and one that says so."""
    (tmp_path / "state").write_text(json.dumps({"n": 1}))

    def forgives() -> int:
        try:
            return int(json.loads((tmp_path / "state").read_text())["n"])
        except ValueError:
            return 0

    def strict() -> int:
        return int(json.loads((tmp_path / "state").read_text())["n"])

    schedule = "open(state)#1=damage[file.cut.half]"
    (tmp_path / "state").write_text(json.dumps({"n": 1}))
    assert run(tmp_path, forgives, schedule).value == 0
    (tmp_path / "state").write_text(json.dumps({"n": 1}))
    assert isinstance(run(tmp_path, strict, schedule).error, ValueError)
