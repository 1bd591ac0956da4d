"""zipfile: a member is added to an archive."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path

from chaoskit import Chaos, faults, scenario

OLD = {"a.txt": b"a" * 3000, "b.txt": b"b" * 3000}
NEW = os.urandom(20_000)


def create(archive: Path) -> None:
    with zipfile.ZipFile(archive, "w") as file:
        for name, data in OLD.items():
            file.writestr(name, data)


def append(archive: Path) -> None:
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("new.bin", NEW)


def append_to_a_copy(archive: Path) -> None:
    copy = archive.with_suffix(".part")
    shutil.copy(archive, copy)
    append(copy)
    os.replace(copy, archive)


def check(archive: Path, *, complete: bool) -> None:
    with zipfile.ZipFile(archive) as file:
        assert file.testzip() is None
        found = {name: file.read(name) for name in file.namelist()}
    assert found in ([OLD | {"new.bin": NEW}] if complete else [OLD, OLD | {"new.bin": NEW}])


@scenario(
    faults.kill(),
    known={
        "b798e7": "mode 'a' writes the new member over the central directory, so until the archive "
        "is closed there is none",
    },
)
def test_an_archive_is_readable_when_appending_is_killed(chaos: Chaos) -> None:
    """The old members, at least, can still be read."""
    create(chaos.path / "all.zip")
    outcome = chaos.run(append, chaos.path / "all.zip")
    check(chaos.path / "all.zip", complete=outcome.ok)


@scenario(
    faults.disk().on(call=("write", "truncate", "close")),
    known={
        "18c581": "on a disk that is full no central directory can be written either",
        "c70421": "on a disk that is full no central directory can be written either",
    },
)
def test_an_archive_is_readable_when_appending_fails(chaos: Chaos) -> None:
    """The old members can still be read, and success means that the new one can be, too."""
    create(chaos.path / "all.zip")
    outcome = chaos.run(append, chaos.path / "all.zip")
    check(chaos.path / "all.zip", complete=outcome.ok)


@scenario(
    faults.disk().on(call=("open", "read")),
    known={
        "f3dae0": "an archive that cannot be opened or read is taken for none, and an empty one is "
        "begun in its place",
    },
)
def test_an_archive_that_cannot_be_read_is_not_replaced_by_an_empty_one(chaos: Chaos) -> None:
    """An error in opening or reading the archive that is to be appended to is reported."""
    create(chaos.path / "all.zip")
    outcome = chaos.run(append, chaos.path / "all.zip")
    check(chaos.path / "all.zip", complete=outcome.ok)


@scenario(
    faults.kill()
    | faults.disk().on(call=("write", "sendfile", "copy_file_range", "close", "rename", "chmod"))
)
def test_an_archive_that_is_replaced_by_its_longer_copy(chaos: Chaos) -> None:
    """Appending to a copy and swapping it in leaves the old archive or the new one."""
    create(chaos.path / "all.zip")
    outcome = chaos.run(append_to_a_copy, chaos.path / "all.zip")
    check(chaos.path / "all.zip", complete=outcome.ok)
