"""Libraries that read files which were damaged since they were written: they refuse them, or tell no lies."""

from __future__ import annotations

import gzip
import io
import json
import sqlite3
import tarfile
import zipfile
from contextlib import closing
from pathlib import Path

import pytest

from chaoskit import Chaos, faults, scenario

tinydb = pytest.importorskip("tinydb", reason="needs the dependency group scenarios")

FILES = {"a.txt": b"a" * 3000, "b.txt": b"b" * 3000, "c.txt": b"c" * 3000}
ROWS = [{"id": number, "text": "x" * 20} for number in range(3)]
DAMAGE = faults.corruption().detectable()


def packed(archive: Path) -> None:
    with tarfile.open(archive, "w") as tar:
        for name, data in FILES.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


filtered = pytest.mark.skipif(
    not hasattr(tarfile, "data_filter"), reason="the filter of tarfile is new in CPython 3.11.4"
)


def unpack(archive: Path, into: Path) -> None:
    with tarfile.open(archive) as tar:
        tar.extractall(into, filter="data")


def unpack_whole(archive: Path, into: Path) -> None:
    with tarfile.open(archive, errorlevel=2) as tar:
        members = tar.getmembers()
        with open(archive, "rb") as file:
            file.seek(tar.offset)
            # A header that is broken is taken for the end; behind the real one there are only zeroes.
            if file.read().strip(b"\0"):
                raise tarfile.ReadError("there is more behind the last member")
        tar.extractall(into, members, filter="data")


def has_all_or_failed(chaos: Chaos, ok: bool) -> None:
    if ok:
        assert {one.name: one.read_bytes() for one in (chaos.path / "out").iterdir()} == FILES


@filtered
@scenario(
    DAMAGE,
    known={
        "35cf01": "a broken header that is not the first is taken for the end of the archive; what "
        "stands behind it is left out without an error (CPython 3.11 to 3.14, tarfile.TarFile.next)",
        "33f58b": "the same where the archive ends within a header",
    },
)
def test_a_damaged_tar_is_not_unpacked_in_part_as_if_it_were_whole(chaos: Chaos) -> None:
    """When ``extractall`` returns, every file is there as it was packed."""
    packed(chaos.path / "all.tar")
    has_all_or_failed(chaos, chaos.run(unpack, chaos.path / "all.tar", chaos.path / "out").ok)


@filtered
@scenario(DAMAGE)
def test_a_tar_that_is_looked_through_to_its_end(chaos: Chaos) -> None:
    """What tarfile does not tell, three lines more do."""
    packed(chaos.path / "all.tar")
    has_all_or_failed(chaos, chaos.run(unpack_whole, chaos.path / "all.tar", chaos.path / "out").ok)


def append(archive: Path) -> None:
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("new.txt", b"new")


@scenario(
    DAMAGE,
    known={
        "d2b14a": "mode 'a' takes an archive that it cannot read, here a cut one, for none and appends a new "
        "one: the old members are in no directory any more",
        "89c8b5": "the same where it is damaged in another way",
    },
)
def test_a_damaged_zip_is_not_appended_to_as_if_it_were_none(chaos: Chaos) -> None:
    """When a member was added without an error, the old ones can be read."""
    with zipfile.ZipFile(chaos.path / "all.zip", "w") as file:
        for name, data in FILES.items():
            file.writestr(name, data)
    outcome = chaos.run(append, chaos.path / "all.zip")
    if outcome.ok:
        with zipfile.ZipFile(chaos.path / "all.zip") as file:
            assert sorted(file.namelist()) == sorted([*FILES, "new.txt"])


def insert(path: Path) -> None:
    with tinydb.TinyDB(path) as db:
        db.insert({"id": 3})


@scenario(DAMAGE, known={"42263a": "an empty file is taken for an empty database"})
def test_a_damaged_tinydb_is_not_begun_again(chaos: Chaos) -> None:
    """When a document was inserted without an error, the old ones are there."""
    with tinydb.TinyDB(chaos.path / "db.json") as db:
        db.insert_multiple(ROWS)
    outcome = chaos.run(insert, chaos.path / "db.json")
    if outcome.ok:
        assert len(json.loads((chaos.path / "db.json").read_text())["_default"]) == len(ROWS) + 1


def read_lines(path: Path) -> list[dict[str, object]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


@scenario(
    DAMAGE.only("damage[gzip.*]", "damage[file.*]"),
    known={"e269f2": "an empty file is taken for an empty stream, which has a header and a trailer"},
)
def test_a_damaged_gzip_is_refused(chaos: Chaos) -> None:
    """Its length and its checksum tell what has happened to it."""
    text = "".join(json.dumps(row) + "\n" for row in ROWS)
    (chaos.path / "rows.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    outcome = chaos.run(read_lines, chaos.path / "rows.gz")
    assert not outcome.ok or outcome.value == ROWS


def count(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return len(connection.execute("select id, name from jobs").fetchall())


@scenario(DAMAGE)
def test_a_damaged_sqlite_database_is_not_read_in_part(chaos: Chaos) -> None:
    """A query that reads every row returns all of them, or an error."""
    with closing(sqlite3.connect(chaos.path / "jobs.db")) as connection:
        connection.execute("create table jobs (id integer primary key, name text)")
        connection.executemany("insert into jobs values (?, ?)", [(n, "x" * 300) for n in range(40)])
        connection.commit()
    outcome = chaos.run(count, chaos.path / "jobs.db")
    assert not outcome.ok or outcome.value == 40
