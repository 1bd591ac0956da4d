"""The device keeps its log, gives every state in between back, and leaves nothing behind if killed."""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from bed import VARIANTS, Bed, Cut, unavailable
from mounts import hide

Beds = Callable[[str], Bed]
PROGRAM = (("put", "n", 4096, os.O_CREAT, "fsync"), ("unlink", "n"), ("syncfs",))


def test_every_moment_of_a_run_can_be_looked_at(beds: Beds) -> None:
    """A file that is made, synced, removed: it is absent, there, and absent again, from cut to cut."""
    bed = beds("ext4")
    execution = bed.run(PROGRAM, random.Random(1), 0.0)
    seen = []
    for after in range(execution.end + 1):
        found = bed.left(execution, Cut(after))
        assert found is not None
        there = "n" in found.entries[0]
        if seen[-1:] != [there]:
            seen.append(there)
    assert seen == [False, True, False]
    assert list(execution.positions) == sorted(execution.positions)
    assert execution.flushes


def test_what_is_written_to_a_crashed_disk_is_thrown_away(beds: Beds) -> None:
    """Mounting replays the journal; the next look at the same moment finds it as it was."""
    bed = beds("xfs")
    execution = bed.run(PROGRAM, random.Random(1), 0.0)
    looks = [bed.left(execution, Cut(execution.end // 2)) for _ in range(2)]
    assert looks[0] == looks[1]


def test_a_slow_device_finishes_what_it_was_given(beds: Beds) -> None:
    """Latency delays writes and loses none: after a sync the last state has everything."""
    bed = beds("ext4")
    execution = bed.run((("put", "n", 4096, os.O_CREAT, ""), ("syncfs",)), random.Random(1), 0.002)
    found = bed.left(execution, Cut(execution.end))
    assert found is not None
    assert found.nodes[found.entries[0]["n"]].content.read() == b"A" * 4096


def test_a_bed_that_is_killed_leaves_no_loop_device(tmp_path: Path) -> None:
    """The watchdog cleans up: a loop device without its file would break every later mkfs.btrfs."""
    variant = VARIANTS["ext4"]
    if (reason := unavailable(variant)) is not None:
        pytest.skip(reason)
    parent = "/dev/shm" if os.access("/dev/shm", os.W_OK) else os.fspath(tmp_path)
    place = Path(tempfile.mkdtemp(prefix="chaoskit-bed-", dir=parent)) / "bed"
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            hide()
            Bed(variant, place).run(PROGRAM, random.Random(1), 0.0)
            os.write(writing, b"x")
            signal.pause()
        finally:
            print(sys.exc_info(), file=sys.stderr)
            os._exit(1)
    os.close(writing)
    assert os.read(reading, 1) == b"x"
    os.close(reading)
    assert devices_below(place)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    # The watchdog is a process apart: wait for it, with a limit only for the case that it never comes.
    limit = time.monotonic() + 60
    while devices_below(place) or place.exists():
        assert time.monotonic() < limit
        time.sleep(0.05)
    place.parent.rmdir()


def devices_below(place: Path) -> list[str]:
    """The loop devices that are attached to files there."""
    found = []
    for file in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            if f"{place}/" in file.read_text():
                found.append(file.parts[3])
        except OSError:
            pass  # Detached at this moment.
    return found
