"""Ten programs that keep what they promise over a power loss, each sync of which can be left out.

Each has what the test does before, the workload, and what must hold afterwards. A promise is a number, and
from then on what has that number must be there.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaoskit.runtime import AppendLog, write_file
from chaoskit.runtime.durable.files.log_reading import read_log

Promise = Callable[[int], None]
Work = Callable[[Path, Promise], None]
Check = Callable[[Path, Sequence[int]], None]


@dataclass(frozen=True)
class SyncedProgram:
    """One program; ``prepare`` is what is there before, durable."""

    name: str
    work: Work
    check: Check
    prepare: Callable[[Path], None] = lambda path: None


@contextmanager
def leaving_out(number: int | None) -> Iterator[list[int]]:
    """Within the block sync number ``number`` is not made; gives a list that grows by one with each sync."""
    made: list[int] = []
    calls = {name: getattr(os, name) for name in ("fsync", "fdatasync")}

    def counting(real: Callable[[Any], None]) -> Callable[[Any], None]:
        def sync(fd: Any) -> None:
            made.append(len(made))
            if made[-1] != number:
                real(fd)

        return sync

    for name, real in calls.items():
        setattr(os, name, counting(real))
    try:
        yield made
    finally:
        for name, real in calls.items():
            setattr(os, name, real)


def content(number: int) -> bytes:
    """More than a page, so that it can be torn, and checked by its end."""
    body = f"{number}:".encode() * 2000
    return body + b"%08x" % zlib.crc32(body)


def number_of(data: bytes) -> int:
    """The number of a content. Raises AssertionError if it is not whole."""
    assert data, "empty"
    assert b"%08x" % zlib.crc32(data[:-8]) == data[-8:], "torn"
    return int(data.partition(b":")[0])


def write(path: Path, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


def at_least(found: int, promised: Sequence[int]) -> None:
    assert found >= max(promised, default=0), f"{max(promised)} was promised, and {found} is there"


# --- the programs ----------------------------------------------------------------------------------------


def replace_file(path: Path, promise: Promise) -> None:
    for number in (1, 2):
        write(path / "state.new", content(number))
        os.replace(path / "state.new", path / "state")
        sync_directory(path)
        promise(number)


def check_state(path: Path, promised: Sequence[int]) -> None:
    at_least(number_of((path / "state").read_bytes()), promised)


def put_zero(path: Path) -> None:
    (path / "state").write_bytes(content(0))


def publish(path: Path, promise: Promise) -> None:
    for number in (1, 2):
        write(path / f"{number}.part", content(number))
        os.rename(path / f"{number}.part", path / f"{number}.done")
        sync_directory(path)
        promise(number)


def check_published(path: Path, promised: Sequence[int]) -> None:
    found = [number_of(file.read_bytes()) for file in path.glob("*.done")]
    assert set(promised) <= set(found)


def link_in(path: Path, promise: Promise) -> None:
    for number in (1, 2):
        write(path / f"{number}.part", content(number))
        os.link(path / f"{number}.part", path / f"{number}.done")
        sync_directory(path)
        promise(number)
        os.unlink(path / f"{number}.part")


def append(path: Path, promise: Promise) -> None:
    with open(path / "log", "ab") as file:
        for number in (1, 2, 3):
            line = b"%d:" % number * 100
            file.write(line + b"%08x\n" % zlib.crc32(line))
            file.flush()
            os.fsync(file.fileno())
            promise(number)


def put_log(path: Path) -> None:
    (path / "log").write_bytes(b"")


def check_log(path: Path, promised: Sequence[int]) -> None:
    found = 0
    for line in (path / "log").read_bytes().split(b"\n"):
        if b"%08x" % zlib.crc32(line[:-8]) != line[-8:]:
            break  # A torn end is not there.
        found = int(line.partition(b":")[0])
    at_least(found, promised)


def rotate(path: Path, promise: Promise) -> None:
    for number in (1, 2):
        write(path / f"segment.{number}", content(number))
        sync_directory(path)
        promise(number)


def check_segments(path: Path, promised: Sequence[int]) -> None:
    for number in promised:
        assert number_of((path / f"segment.{number}").read_bytes()) == number


def two_slots(path: Path, promise: Promise) -> None:
    """Writes over the older one of two slots, in place: the other is whole meanwhile."""
    for number in (1, 2, 3):
        with open(path / f"slot.{number % 2}", "r+b") as file:
            file.write(content(number))
            file.flush()
            os.fsync(file.fileno())
        promise(number)


def put_slots(path: Path) -> None:
    for slot in (0, 1):
        (path / f"slot.{slot}").write_bytes(content(0))


def check_slots(path: Path, promised: Sequence[int]) -> None:
    found = []
    for slot in (0, 1):
        try:
            found.append(number_of((path / f"slot.{slot}").read_bytes()))
        except AssertionError:
            continue
    assert found, "neither slot is whole"
    at_least(max(found), promised)


def journal(path: Path, promise: Promise) -> None:
    """Notes what it is going to do, does it in place, and forgets the note."""
    for number in (1, 2):
        write(path / "journal", content(number))
        sync_directory(path)
        promise(number)
        with open(path / "state", "r+b") as file:
            file.write(content(number))
            file.flush()
            os.fsync(file.fileno())
        # Not synced: a note that comes back says what is there already.
        os.unlink(path / "journal")


def check_journal(path: Path, promised: Sequence[int]) -> None:
    try:
        noted = number_of((path / "journal").read_bytes())
    except (FileNotFoundError, AssertionError):
        check_state(path, promised)
    else:
        at_least(noted, promised)


def manifest(path: Path, promise: Promise) -> None:
    """A data file with a new name for each version, and a manifest that names the one that counts."""
    for number in (1, 2):
        write(path / f"data.{number}", content(number))
        sync_directory(path)
        write(path / "state.new", content(number))
        os.replace(path / "state.new", path / "state")
        sync_directory(path)
        promise(number)


def put_manifest(path: Path) -> None:
    (path / "data.0").write_bytes(content(0))
    put_zero(path)


def check_manifest(path: Path, promised: Sequence[int]) -> None:
    named = number_of((path / "state").read_bytes())
    assert number_of((path / f"data.{named}").read_bytes()) == named
    at_least(named, promised)


def runtime_file(path: Path, promise: Promise) -> None:
    for number in (1, 2):
        write_file(path / "state", content(number))
        promise(number)


def runtime_log(path: Path, promise: Promise) -> None:
    with AppendLog(path / "log") as log:
        for number in (1, 2):
            log.append(b"%d" % number)
            promise(number)


def put_runtime_log(path: Path) -> None:
    AppendLog(path / "log").close()


def check_runtime_log(path: Path, promised: Sequence[int]) -> None:
    found = list(map(int, read_log(path / "log"))) if (path / "log").exists() else []
    assert found == sorted(found)
    at_least(max(found, default=0), promised)


PROGRAMS = {
    program.name: program
    for program in (
        SyncedProgram("replace a file", replace_file, check_state, put_zero),
        SyncedProgram("publish files", publish, check_published),
        SyncedProgram("link files in", link_in, check_published),
        SyncedProgram("append to a log", append, check_log, put_log),
        SyncedProgram("rotate segments", rotate, check_segments),
        SyncedProgram("two slots", two_slots, check_slots, put_slots),
        SyncedProgram("journal", journal, check_journal, put_zero),
        SyncedProgram("manifest", manifest, check_manifest, put_manifest),
        SyncedProgram("write_file", runtime_file, check_state, put_zero),
        SyncedProgram("AppendLog", runtime_log, check_runtime_log, put_runtime_log),
    )
}


def syncs_of(program: SyncedProgram, place: Path) -> int:
    """How many syncs the workload makes; ``place`` is an empty directory."""
    program.prepare(place)
    with leaving_out(None) as made:
        program.work(place, lambda number: None)
    return len(made)
