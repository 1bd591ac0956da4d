"""Programs that read files, each with one bug that one damage of its input brings out, and its twin.

Run by test_planted_damage.py in a pytest where the bugs fail: that is what is tested. A program is a function
of the directory, in which it finds its input; ``check`` is its invariant.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import pickle
import sqlite3
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chaoskit import Chaos, Outcome, faults, scenario
from chaoskit.faults.corrupt.examples import DOCUMENT, TABLE, examples
from chaoskit.faults.damages import Damage, cuts, flips, register

SAMPLES = examples()
ALL = faults.corruption()
TOLD = faults.corruption().detectable()
SECRET = b"secret"
MIB = 1 << 20


@dataclass(frozen=True)
class Planted:
    """A bug, its twin, their input, and the damage that must be among those by which the bug is found."""

    faults: faults.FaultSet
    bug: Callable[[Path], Any]
    twin: Callable[[Path], Any]
    name: str
    given: bytes
    finds: str
    check: Callable[[Chaos, Outcome], None]


def total_is_right(chaos: Chaos, outcome: Outcome) -> None:
    """The most common invariant: an error may come of damage, but never another result."""
    if outcome.ok:
        assert outcome.value == 60


def nothing_outside(chaos: Chaos, outcome: Outcome) -> None:
    """What is unpacked stays in the directory for it, and is there if the program says so."""
    if outcome.ok:
        assert (chaos.path / "out" / "a.csv").read_bytes() == TABLE
        assert (chaos.path / "out" / "d" / "b.json").read_bytes() == DOCUMENT
    assert not (chaos.path / "evil").exists()


def total(text: str) -> int:
    """The sum of a good table's last column."""
    return sum(int(row[2]) for row in list(csv.reader(io.StringIO(text)))[1:])


# --- archives --------------------


def unpacks_any_name(root: Path) -> None:
    with tarfile.open(root / "in.tar") as tar:
        for member in tar:
            file = tar.extractfile(member)
            if file is not None:
                target = root / "out" / member.name.lstrip("/")
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(file.read())


def unpacks_what_stays_inside(root: Path) -> None:
    with tarfile.open(root / "in.tar") as tar:
        tar.extractall(root / "out", filter="data")


def unpacks_links(root: Path) -> None:
    (root / "secret").write_bytes(SECRET)
    with tarfile.open(root / "in.tar") as tar:
        tar.extractall(root / "out", filter="fully_trusted")


def unpacks_no_links(root: Path) -> None:
    (root / "secret").write_bytes(SECRET)
    unpacks_what_stays_inside(root)


def no_secret(chaos: Chaos, outcome: Outcome) -> None:
    """Nothing that lies beside the directory is published by way of it."""
    found = [one for one in (chaos.path / "out").rglob("*") if one.is_file() and one.read_bytes() == SECRET]
    assert found == []
    if outcome.ok:
        assert (chaos.path / "out" / "a.csv").read_bytes() == TABLE
        assert (chaos.path / "out" / "d" / "b.json").read_bytes() == DOCUMENT


def unzips_any_name(root: Path) -> None:
    with zipfile.ZipFile(root / "in.zip") as archive:
        for name in archive.namelist():
            target = root / "out" / name.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(archive.read(name))


def unzips_what_stays_inside(root: Path) -> None:
    with zipfile.ZipFile(root / "in.zip") as archive:
        for name in archive.namelist():
            target = (root / "out" / name).resolve()
            if not target.is_relative_to((root / "out").resolve()):
                raise ValueError(f"{name!r} leads out of the archive")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(archive.read(name))


def unzips_any_size(root: Path) -> int:
    with zipfile.ZipFile(root / "in.zip") as archive:
        return sum(len(archive.read(info)) for info in archive.infolist())


def unzips_up_to_a_size(root: Path) -> int:
    size = 0
    with zipfile.ZipFile(root / "in.zip") as archive:
        for info in archive.infolist():
            # What the directory says may be a lie, so the reading is bounded too.
            with archive.open(info) as member:
                size += len(member.read(MIB - size + 1))
            if size > MIB:
                raise ValueError("it unpacks to more than 1 MiB")
    return size


def within_bounds(chaos: Chaos, outcome: Outcome) -> None:
    """A small file from outside never costs more than a mebibyte."""
    if outcome.ok:
        assert outcome.value <= MIB


# --- compression --------------------


def takes_half_a_stream(root: Path) -> int:
    data = zlib.decompressobj(wbits=31).decompress((root / "in.gz").read_bytes())
    return sum(int(line.rpartition(b",")[2]) for line in data.splitlines()[1:] if line.count(b",") == 2)


def takes_whole_streams(root: Path) -> int:
    with gzip.open(root / "in.gz", "rt", encoding="utf-8", newline="") as file:
        return strict_total(file.read())


def takes_half_a_block(root: Path) -> int:
    data = lzma.LZMADecompressor().decompress((root / "in.xz").read_bytes())
    return sum(int(line.rpartition(b",")[2]) for line in data.splitlines()[1:] if line.count(b",") == 2)


def takes_whole_blocks(root: Path) -> int:
    return strict_total(lzma.decompress((root / "in.xz").read_bytes()).decode())


def believes_bzip2_on_end(root: Path) -> int:
    data = bz2.BZ2Decompressor().decompress((root / "in.bz2").read_bytes())
    return sum(int(line.rpartition(b",")[2]) for line in data.splitlines()[1:] if line.count(b",") == 2)


def waits_for_the_end(root: Path) -> int:
    engine = bz2.BZ2Decompressor()
    data = engine.decompress((root / "in.bz2").read_bytes())
    if not engine.eof:
        raise EOFError("the stream is cut off")
    return strict_total(data.decode())


# --- tables and texts --------------------


def skips_ragged_rows(root: Path) -> int:
    with open(root / "in.csv", newline="") as file:
        return sum(int(row[2]) for row in list(csv.reader(file))[1:] if len(row) == 3)


def strict_total(text: str) -> int:
    """The sum of the last column of a table that is whole."""
    rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    if not rows or rows[0] != ["id", "name", "size"] or {len(row) for row in rows} != {3} or "\0" in text:
        raise ValueError("it is no table of jobs")
    return sum(int(row[2]) for row in rows[1:])


def refuses_ragged_rows(root: Path) -> int:
    with open(root / "in.csv", encoding="utf-8", newline="") as file:
        return strict_total(file.read())


def skips_torn_lines(root: Path) -> int:
    total = 0
    for line in (root / "in.jsonl").read_text(errors="replace").splitlines():
        try:
            total += json.loads(line)["size"]
        except ValueError:
            continue
    return total


def refuses_torn_lines(root: Path) -> int:
    lines = (root / "in.jsonl").read_text("utf-8").splitlines()
    return sum(json.loads(line)["size"] for line in lines if line.strip())


SETTINGS = json.dumps({"name": "prices", "total": 60, "tags": ["a", "b"]}).encode()


def resets_what_it_cannot_read(root: Path) -> int:
    try:
        settings = json.loads((root / "in.json").read_text())
    except ValueError:
        settings = {"total": 0}
        (root / "in.json").write_text(json.dumps(settings))
    return int(settings["total"])


def refuses_what_it_cannot_read(root: Path) -> int:
    def refused(constant: str) -> None:
        raise ValueError(constant)

    text = (root / "in.json").read_text("utf-8")
    return int(json.loads(text, parse_constant=refused)["total"])


CONFIGURATION = b"total: 60\nname: prices\n"


def _pairs(root: Path) -> Iterator[list[str]]:
    for line in (root / "in.yaml").read_text().splitlines():
        yield line.split(":", 1)


def falls_back_to_defaults(root: Path) -> int:
    return int({"total": "0", **{pair[0]: pair[1] for pair in _pairs(root) if len(pair) == 2}}["total"])


def refuses_lines_without_a_colon(root: Path) -> int:
    return int(dict(_pairs(root))["total"])


LINES = b"10\n20\n30\nend\n"


def takes_the_lines_that_there_are(root: Path) -> int:
    return sum(int(line) for line in (root / "in.txt").read_text().splitlines() if line.isdigit())


def waits_for_the_last_line(root: Path) -> int:
    *lines, last = (root / "in.txt").read_text().split("\n")[:-1]
    if last != "end":
        raise ValueError("it is cut off")
    return sum(map(int, lines))


# --- binary formats --------------------


def _ledger(*payloads: bytes) -> bytes:
    """Records of a length, a CRC-32 and a payload, behind a mark."""
    head = struct.Struct("<II")
    return b"LDGR" + b"".join(head.pack(len(one), zlib.crc32(one)) + one for one in payloads)


LEDGER = _ledger(b"10", b"20", b"30")


def _damages_of_a_ledger(data: bytes) -> Iterator[Damage]:
    for number in range(3):
        start = 4 + number * 10
        yield from flips(
            f"record{number + 1}", data, ("length", start), ("crc", start + 4), ("payload", start + 8)
        )
        yield from cuts(f"record{number + 1}", data, ("start", start), ("middle", start + 9))


register("ledger", lambda data: data.startswith(b"LDGR"), _damages_of_a_ledger)


def stops_at_a_long_record(root: Path) -> int:
    data, at, found = (root / "ledger").read_bytes(), 4, 0
    while at + 8 <= len(data):
        length, checksum = struct.unpack_from("<II", data, at)
        payload = data[at + 8 : at + 8 + length]
        if len(payload) < length:
            break
        if zlib.crc32(payload) != checksum:
            raise ValueError("a checksum is wrong")
        found += int(payload)
        at += 8 + length
    return found


def checks_no_checksum(root: Path) -> int:
    data, at, found = (root / "ledger").read_bytes(), 4, 0
    while at < len(data):
        length, _ = struct.unpack_from("<II", data, at)
        if at + 8 + length > len(data):
            raise ValueError("a record is cut off")
        found += int(data[at + 8 : at + 8 + length])
        at += 8 + length
    return found


def checks_lengths_and_checksums(root: Path) -> int:
    data, at, found = (root / "ledger").read_bytes(), 4, 0
    while at < len(data):
        length, checksum = struct.unpack_from("<II", data, at)
        payload = data[at + 8 : at + 8 + length]
        if len(payload) != length or zlib.crc32(payload) != checksum:
            raise ValueError("a record is damaged")
        found += int(payload)
        at += 8 + length
    return found


def _database() -> bytes:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("create table jobs (id integer primary key, size integer, text text)")
        rows = [(n, 1, "x" * 500) for n in range(60)]
        connection.executemany("insert into jobs values (?, ?, ?)", rows)
        connection.commit()
        return connection.serialize()


def _database_with_a_log() -> bytes:
    """In WAL mode: the two versions in the header say so."""
    data = _database()
    return data[:18] + b"\2\2" + data[20:]


def counts_what_it_can_read(root: Path) -> int:
    found = 0
    with closing(sqlite3.connect(root / "jobs.db")) as connection:
        try:
            for _, size, _ in connection.execute("select * from jobs"):
                found += size
        except sqlite3.DatabaseError:
            pass
    return found


def counts_all_or_nothing(root: Path) -> int:
    with closing(sqlite3.connect(root / "jobs.db")) as connection:
        return sum(size for _, size, _ in connection.execute("select * from jobs"))


STATE = pickle.dumps({"total": 60}, 4)


def loads_any_pickle(root: Path) -> int:
    with open(root / "state.pickle", "rb") as file:
        state = pickle.load(file) or {"total": 0}
    return int(state["total"])


class PlainData(pickle.Unpickler):
    """Makes no objects of any class, and so calls nothing."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed")


def loads_plain_data(root: Path) -> int:
    with open(root / "state.pickle", "rb") as file:
        return int(PlainData(file).load()["total"])


def finds_its_footer_anywhere(root: Path) -> int:
    data = (root / "in.parquet").read_bytes()
    length = int.from_bytes(data[-8:-4], "little")
    footer = data[-8 - length : -8] if data[-4:] == b"PAR1" else b""
    return 60 if footer == bytes(range(64)) else len(footer)


def checks_where_its_footer_is(root: Path) -> int:
    data = (root / "in.parquet").read_bytes()
    length = int.from_bytes(data[-8:-4], "little")
    if not data[:4] == data[-4:] == b"PAR1" or not 0 < length <= len(data) - 12:
        raise ValueError("it is no Parquet file")
    footer = data[-8 - length : -8]
    return 60 if footer == bytes(range(64)) else len(footer)


PLANTED = {
    "tar traversal": Planted(
        ALL.only("damage[tar.hostile.traversal]"),
        unpacks_any_name,
        unpacks_what_stays_inside,
        "in.tar",
        SAMPLES["tar"],
        "tar.hostile.traversal",
        nothing_outside,
    ),
    "tar link escape": Planted(
        ALL.only("damage[tar.hostile.hardlink-out]"),
        unpacks_links,
        unpacks_no_links,
        "in.tar",
        SAMPLES["tar"],
        "tar.hostile.hardlink-out",
        no_secret,
    ),
    "zip traversal": Planted(
        ALL.only("damage[zip.hostile.traversal]", "damage[zip.hostile.backslash]"),
        unzips_any_name,
        unzips_what_stays_inside,
        "in.zip",
        SAMPLES["zip"],
        "zip.hostile.traversal",
        nothing_outside,
    ),
    "zip bomb": Planted(
        ALL.only("damage[zip.*]"),
        unzips_any_size,
        unzips_up_to_a_size,
        "in.zip",
        SAMPLES["zip"],
        "zip.hostile.bomb",
        within_bounds,
    ),
    "truncated gzip": Planted(
        TOLD,
        takes_half_a_stream,
        takes_whole_streams,
        "in.gz",
        SAMPLES["gzip"],
        "gzip.member1.cut.middle",
        total_is_right,
    ),
    "truncated xz": Planted(
        TOLD,
        takes_half_a_block,
        takes_whole_blocks,
        "in.xz",
        SAMPLES["xz"],
        "file.cut.half",
        total_is_right,
    ),
    "truncated bzip2": Planted(
        TOLD,
        believes_bzip2_on_end,
        waits_for_the_end,
        "in.bz2",
        SAMPLES["bzip2"],
        "file.cut.half",
        total_is_right,
    ),
    "ragged csv": Planted(
        TOLD,
        skips_ragged_rows,
        refuses_ragged_rows,
        "in.csv",
        TABLE,
        "csv.row1.field.missing",
        total_is_right,
    ),
    "torn json line": Planted(
        TOLD,
        skips_torn_lines,
        refuses_torn_lines,
        "in.jsonl",
        SAMPLES["jsonl"],
        "jsonl.last-line.cut",
        total_is_right,
    ),
    "cut json": Planted(
        TOLD,
        resets_what_it_cannot_read,
        refuses_what_it_cannot_read,
        "in.json",
        SETTINGS,
        "json.object-end1.cut.before",
        total_is_right,
    ),
    "yaml line lost": Planted(
        ALL.only("damage[yaml.*.no-colon]", "damage[yaml.*.missing]"),
        falls_back_to_defaults,
        refuses_lines_without_a_colon,
        "in.yaml",
        CONFIGURATION,
        "yaml.key1.no-colon",
        total_is_right,
    ),
    "cut text": Planted(
        ALL.only("damage[text.last-line.*]", "damage[file.cut.*]", "damage[text.line-end.missing]"),
        takes_the_lines_that_there_are,
        waits_for_the_last_line,
        "in.txt",
        LINES,
        "file.cut.half",
        total_is_right,
    ),
    "flipped length": Planted(
        # A ledger that ends between two records looks whole.
        ALL.only("damage[ledger.*]").without("damage[ledger.*.cut.start]"),
        stops_at_a_long_record,
        checks_lengths_and_checksums,
        "ledger",
        LEDGER,
        "ledger.record3.flip.length",
        total_is_right,
    ),
    "checksum ignored": Planted(
        ALL.only("damage[ledger.*.flip.*]"),
        checks_no_checksum,
        checks_lengths_and_checksums,
        "ledger",
        LEDGER,
        "ledger.record1.flip.payload",
        total_is_right,
    ),
    "sqlite page": Planted(
        TOLD,
        counts_what_it_can_read,
        counts_all_or_nothing,
        "jobs.db",
        _database(),
        "sqlite.page3.zeros",
        total_is_right,
    ),
    "sqlite page in WAL mode": Planted(
        TOLD.only("damage[sqlite.page3.*]"),
        counts_what_it_can_read,
        counts_all_or_nothing,
        "jobs.db",
        _database_with_a_log(),
        "sqlite.page3.zeros",
        total_is_right,
    ),
    "pickle that runs code": Planted(
        ALL.only("damage[pickle.hostile.code]"),
        loads_any_pickle,
        loads_plain_data,
        "state.pickle",
        STATE,
        "pickle.hostile.code",
        total_is_right,
    ),
    "parquet footer": Planted(
        TOLD,
        finds_its_footer_anywhere,
        checks_where_its_footer_is,
        "in.parquet",
        SAMPLES["parquet"],
        "parquet.footer.length.huge",
        total_is_right,
    ),
}


def examine(chaos: Chaos, planted: Planted, program: Callable[[Path], Any]) -> None:
    """One case: the input as it was given, the program, and the invariant."""
    (chaos.path / planted.name).write_bytes(planted.given)
    (chaos.path / "out").mkdir()
    planted.check(chaos, chaos.run(program, chaos.path))


CASES = [pytest.param(one, id=name, marks=scenario(one.faults, timeout=20)) for name, one in PLANTED.items()]


@pytest.mark.parametrize("planted", CASES)
def test_bug(chaos: Chaos, planted: Planted) -> None:
    examine(chaos, planted, planted.bug)


@pytest.mark.parametrize("planted", CASES)
def test_twin(chaos: Chaos, planted: Planted) -> None:
    examine(chaos, planted, planted.twin)
