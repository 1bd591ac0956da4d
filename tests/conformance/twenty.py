"""Twenty-four small scenarios, run by test_verdicts.py once with each backend.

Some hold and some are broken on purpose: the backends must agree on both.
"""

from __future__ import annotations

import asyncio
import csv
import json
import os
import pickle
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Any

import pytest

from chaoskit import faults, scenario

OLD, NEW = b"o" * 3000, b"n" * 3000
BOTH = faults.disk() | faults.kill()


def put(path: Path, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)


def put_safely(path: Path, data: bytes) -> None:
    beside = path.with_suffix(".tmp")
    with open(beside, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)


@scenario(BOTH)
def test_overwrites_in_place(chaos: Any) -> None:
    put(chaos.path / "f", OLD)
    chaos.run(put, chaos.path / "f", NEW)
    assert (chaos.path / "f").read_bytes() in (OLD, NEW)


@scenario(BOTH)
def test_replaces_by_rename(chaos: Any) -> None:
    put(chaos.path / "f", OLD)
    outcome = chaos.run(put_safely, chaos.path / "f", NEW)
    assert (chaos.path / "f").read_bytes() in ((NEW,) if outcome.ok else (OLD, NEW))


def swallow(path: Path) -> None:
    try:
        put(path, NEW)
    except OSError:
        pass


@scenario(faults.disk())
def test_swallows_errors(chaos: Any) -> None:
    outcome = chaos.run(swallow, chaos.path / "f")
    assert not outcome.ok or (chaos.path / "f").read_bytes() == NEW


def append(path: Path) -> None:
    for number in range(3):
        with open(path, "a") as file:
            file.write(f"{number}\n")


@scenario(BOTH)
def test_appends_lines(chaos: Any) -> None:
    outcome = chaos.run(append, chaos.path / "log")
    lines = (chaos.path / "log").read_text() if (chaos.path / "log").exists() else ""
    assert "0\n1\n2\n".startswith(lines)
    assert not outcome.ok or lines == "0\n1\n2\n"


def index(path: Path) -> None:
    put(path / "index", b"a")
    put(path / "a", NEW)


@scenario(BOTH)
def test_indexes_what_is_not_there_yet(chaos: Any) -> None:
    chaos.run(index, chaos.path)
    if (chaos.path / "index").exists() and (chaos.path / "index").read_bytes():
        assert (chaos.path / "a").exists()


def count(path: Path) -> None:
    number = int(path.read_text())
    path.write_text(str(number + 1))


@scenario(BOTH)
def test_counts_in_place(chaos: Any) -> None:
    (chaos.path / "n").write_text("7")
    chaos.run(count, chaos.path / "n")
    assert (chaos.path / "n").read_text() in ("7", "8")


def promise_early(chaos: Any) -> None:
    chaos.promise("saved")
    put_safely(chaos.path / "f", NEW)


def promise_late(chaos: Any) -> None:
    put_safely(chaos.path / "f", NEW)
    chaos.promise("saved")


@pytest.mark.parametrize("work", [promise_early, promise_late])
@scenario(BOTH)
def test_keeps_its_promise(chaos: Any, work: Any) -> None:
    chaos.run(work, chaos)
    if chaos.promised:
        assert (chaos.path / "f").read_bytes() == NEW


def lock(path: Path) -> None:
    fd = os.open(path / "lock", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    put(path / "f", NEW)
    os.close(fd)
    os.unlink(path / "lock")


@scenario(BOTH)
def test_leaves_a_lock_behind(chaos: Any) -> None:
    chaos.run(lock, chaos.path)
    assert not (chaos.path / "lock").exists()


def flip(path: Path) -> None:
    put(path / "v2", NEW)
    os.symlink("v2", path / "current.tmp")
    os.rename(path / "current.tmp", path / "current")


@scenario(BOTH)
def test_flips_a_link(chaos: Any) -> None:
    put(chaos.path / "v1", OLD)
    os.symlink("v1", chaos.path / "current")
    chaos.run(flip, chaos.path)
    assert (chaos.path / "current").read_bytes() in (OLD, NEW)


def rotate(path: Path) -> None:
    os.rename(path / "log", path / "log.1")
    put(path / "log", b"")


@scenario(BOTH)
def test_rotates_a_log(chaos: Any) -> None:
    put(chaos.path / "log", OLD)
    chaos.run(rotate, chaos.path)
    assert any(
        (chaos.path / name).exists() and (chaos.path / name).stat().st_size for name in ("log", "log.1")
    )
    assert (chaos.path / "log").exists()


def cut(path: Path) -> None:
    with open(path, "r+b") as file:
        file.truncate(10)
        file.seek(0, os.SEEK_END)
        file.write(b"end")


@scenario(BOTH)
def test_cuts_a_file(chaos: Any) -> None:
    put(chaos.path / "f", OLD)
    chaos.run(cut, chaos.path / "f")
    assert (chaos.path / "f").stat().st_size in (3000, 13)


def remember(path: Path) -> None:
    with open(path, "rb") as file:
        state = pickle.load(file)
    state["n"] += 1
    put_safely(path, pickle.dumps(state))


@scenario(BOTH)
def test_pickles_its_state(chaos: Any) -> None:
    put(chaos.path / "s", pickle.dumps({"n": 1}))
    outcome = chaos.run(remember, chaos.path / "s")
    found = pickle.loads((chaos.path / "s").read_bytes())["n"]
    assert found in ((2,) if outcome.ok else (1, 2))


def export(path: Path) -> None:
    with open(path / "out.csv", "w", newline="") as file:
        csv.writer(file).writerows([[n, "x" * 50] for n in range(200)])


@scenario(BOTH)
def test_exports_a_table(chaos: Any) -> None:
    outcome = chaos.run(export, chaos.path)
    if outcome.ok:
        with open(chaos.path / "out.csv", newline="") as file:
            assert len(list(csv.reader(file))) == 200


def back_up(path: Path) -> None:
    shutil.copyfile(path / "f", path / "f.bak")


@scenario(faults.kill())
def test_copies_a_file(chaos: Any) -> None:
    put(chaos.path / "f", OLD)
    chaos.run(back_up, chaos.path)
    assert not (chaos.path / "f.bak").exists() or (chaos.path / "f.bak").read_bytes() == OLD


def hold(path: Path) -> None:
    os.link(path / "f", path / "kept")
    os.chmod(path / "kept", 0o600)
    os.utime(path / "kept", (1, 1))
    os.unlink(path / "f")


@scenario(BOTH)
def test_keeps_by_a_second_name(chaos: Any) -> None:
    put(chaos.path / "f", OLD)
    chaos.run(hold, chaos.path)
    assert any((chaos.path / name).exists() for name in ("f", "kept"))


def tidy(path: Path) -> None:
    os.mkdir(path / "d")
    put(path / "d" / "x", NEW)
    os.unlink(path / "d" / "x")
    os.rmdir(path / "d")


@scenario(BOTH)
def test_tidies_up(chaos: Any) -> None:
    outcome = chaos.run(tidy, chaos.path)
    assert not outcome.ok or not (chaos.path / "d").exists()


def temporary(path: Path) -> None:
    fd, name = tempfile.mkstemp(dir=path)
    with os.fdopen(fd, "wb") as file:
        file.write(NEW)
    os.replace(name, path / "f")


@scenario(BOTH)
def test_writes_by_way_of_a_temporary_file(chaos: Any) -> None:
    put(chaos.path / "f", OLD)
    chaos.run(temporary, chaos.path)
    assert (chaos.path / "f").read_bytes() in (OLD, NEW)


def last_words(path: Path) -> None:
    def leave(*_: object) -> None:
        put(path / "left", b"yes")
        raise SystemExit(0)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        put_safely(path / "f", NEW)
    finally:
        signal.signal(signal.SIGTERM, before)


@scenario(faults.signal("SIGTERM"))
def test_handles_a_signal(chaos: Any) -> None:
    chaos.run(last_words, chaos.path)
    assert not (chaos.path / "f").exists() or (chaos.path / "f").read_bytes() == NEW


@scenario(faults.power_loss())
def test_syncs_nothing(chaos: Any) -> None:
    put(chaos.path / "f", OLD)
    chaos.run(put, chaos.path / "f", NEW)
    assert (chaos.path / "f").read_bytes() in (OLD, NEW)


@scenario(faults.power_loss())
def test_syncs_before_it_renames(chaos: Any) -> None:
    put(chaos.path / "f", OLD)
    chaos.run(put_safely, chaos.path / "f", NEW)
    assert (chaos.path / "f").read_bytes() in (OLD, NEW)


async def in_turns(path: Path) -> None:
    for name in ("a", "b"):
        await asyncio.sleep(0)
        put(path / name, NEW)


@scenario(faults.kill())
def test_works_in_a_loop(chaos: Any) -> None:
    chaos.run(in_turns, chaos.path)
    assert (chaos.path / "a").exists() or not (chaos.path / "b").exists()


def retry(path: Path) -> None:
    for attempt in range(3):
        try:
            put_safely(path, NEW)
            break
        except OSError:
            if attempt == 2:
                raise


@scenario(faults.disk())
def test_tries_again(chaos: Any) -> None:
    outcome = chaos.run(retry, chaos.path / "f")
    assert not outcome.ok or (chaos.path / "f").read_bytes() == NEW


def read_all(path: Path) -> Any:
    return json.loads((path / "config").read_text()) if (path / "config").exists() else {}


@scenario(faults.disk())
def test_takes_an_unknown_file_for_an_absent_one(chaos: Any) -> None:
    (chaos.path / "config").write_text('{"safe": true}')
    outcome = chaos.run(read_all, chaos.path)
    assert not outcome.ok or outcome.value == {"safe": True}
