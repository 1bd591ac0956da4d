"""Damages by format: stable labels, each a change that can be told, and lazy where they are large."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import re
import sqlite3
import struct
import subprocess
import sys
import tarfile
import tracemalloc
import zipfile
from contextlib import closing

import pytest

from chaoskit.core.errors import UsageError
from chaoskit.faults.corrupt import formats, text
from chaoskit.faults.corrupt.damage import made
from chaoskit.faults.corrupt.examples import TABLE, examples
from chaoskit.faults.corrupt.words import in_words

SAMPLES = examples()
HEAVY = ("bomb",)
ALL = list(SAMPLES.items())


@pytest.mark.parametrize(("name", "data"), ALL, ids=SAMPLES)
def test_the_format_of_a_file_is_found(name, data):
    """By its content alone."""
    assert formats.format_of(data) == name


@pytest.mark.parametrize(("name", "data"), ALL, ids=SAMPLES)
def test_labels_are_unique_and_the_same_in_two_runs(name, data):
    """No label stands twice, and each gives the same bytes when it is asked for again."""
    first, second = list(formats.damages(data)), list(formats.damages(data))
    labels = [label for label, _ in first]
    assert labels == [label for label, _ in second]
    assert len(labels) == len(set(labels))
    for (label, one), (_, other) in zip(first, second, strict=True):
        if not label.endswith(HEAVY):
            assert one.make() == other.make(), label


@pytest.mark.parametrize(("name", "data"), ALL, ids=SAMPLES)
def test_every_damage_changes_something(name, data):
    """None of them leaves the file as it was; the file itself has damages of its own format."""
    own = [label for label, _ in formats.damages(data) if label.startswith(f"{name}.")]
    assert len(own) >= 10
    same = [
        label
        for label, damage in formats.damages(data)
        if not label.endswith(HEAVY) and damage.make() == data
    ]
    assert same == []


def test_labels_do_not_depend_on_the_hash_seed():
    """Another process with another seed enumerates the same."""
    code = (
        "from chaoskit.faults.corrupt import formats\n"
        "from chaoskit.faults.corrupt.examples import examples\n"
        "print([label for data in examples().values() for label, _ in formats.damages(data)])"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(seen) == 1


def test_labels_say_what_was_hit():
    """A label is made of the format's structures, not of offsets: it survives another content."""
    assert {"zip.entry1.flip.crc", "zip.hostile.traversal", "file.cut.half"} <= _labels("zip")
    assert {"tar.member2.size.plus-1", "tar.hostile.symlink-out", "tar.end.missing"} <= _labels("tar")
    assert {"gzip.member1.flip.crc", "gzip.bomb", "gzip/csv.row1.field.missing"} <= _labels("gzip")
    assert {"sqlite.page2.zeros", "sqlite.header.flip.page-count"} <= _labels("sqlite")
    assert {"csv.row1.quote.open", "csv.header.missing", "csv.last-row.cut"} <= _labels("csv")
    assert {"json.key1.missing", "json.number1.nan", "json.deep"} <= _labels("json")


def _labels(name):
    return {label for label, _ in formats.damages(SAMPLES[name])}


def test_what_is_inside_is_wrapped_well_again():
    """Damage of the content comes in a container whose checksums are right."""
    table = gzip.decompress(formats.damaged(SAMPLES["gzip"], "gzip/csv.header.missing"))
    assert table.startswith(b"1,alpha")
    archive = lzma.compress(SAMPLES["tar"])
    with tarfile.open(
        fileobj=io.BytesIO(lzma.decompress(formats.damaged(archive, "xz/tar.hostile.traversal")))
    ) as tar:
        assert "../evil" in tar.getnames()


@pytest.mark.parametrize(
    ("name", "library"), [("gzip", gzip), ("bzip2", bz2), ("xz", lzma)], ids=lambda one: str(one)[:5]
)
def test_what_is_inside_is_all_that_is_inside(name, library):
    """Appending writes one member behind the other: none of them is lost by damage to another one."""
    data = b"".join(map(library.compress, TABLE.splitlines(keepends=True)))
    damaged = formats.damaged(data, f"{name}/csv.byte-order-mark")
    assert library.decompress(damaged) == b"\xef\xbb\xbf" + TABLE


@pytest.mark.parametrize("library", [gzip, bz2, lzma])
def test_a_bomb_of_the_project_is_not_unpacked(library):
    """A test of a guard against bombs has one: its container is damaged, and 64 MiB are never held."""
    bomb = library.compress(bytes((64 << 20) + 1))
    tracemalloc.start()
    told, labels = formats.chosen(bomb, detectable=True), formats.chosen(bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert told == ()
    assert not [label for label in labels if "/" in label]
    assert peak < 48 << 20


def test_a_database_in_wal_mode_has_detectable_damages(tmp_path):
    """SQLite in memory refuses such a file; the judgement of one must not."""
    path = tmp_path / "db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("pragma journal_mode = wal")
        connection.execute("create table t (x)")
        connection.executemany("insert into t values (?)", [("x" * 300,)] * 40)
        connection.commit()
    told = formats.chosen(path.read_bytes(), detectable=True)
    assert {"sqlite.page3.zeros", "sqlite.header.flip.magic"} <= set(told)


def test_a_zip64_directory_is_found():
    """Its end record has no offset: that stands in another one before it."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a", "text")
        start = archive.start_dir
    data = out.getvalue()
    end = data.rindex(b"PK\5\6")
    record = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, end - start, start)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, end, 1)
    last = b"PK\5\6" + bytes(4) + b"\xff" * 12 + bytes(2)
    labels = {label for label, _ in formats.damages(data[:end] + record + locator + last)}
    assert {"zip.entry1.flip.crc", "zip.member1.flip.data"} <= labels


def test_hostile_members_are_there():
    """An added member can be read by who does not look at its name."""
    with zipfile.ZipFile(io.BytesIO(formats.damaged(SAMPLES["zip"], "zip.hostile.traversal"))) as archive:
        assert archive.read("../evil") == b"evil"
        assert archive.testzip() is None


def test_a_bomb_is_made_only_when_it_strikes():
    """Enumerating allocates little, and a bomb is small as a file."""
    for name in ("gzip", "xz", "bzip2", "zip"):
        tracemalloc.start()
        labels = [label for label, _ in formats.damages(SAMPLES[name])]
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 16 << 20
        bomb = next(label for label in labels if label.endswith("bomb"))
        assert len(formats.damaged(SAMPLES[name], bomb)) < 1 << 20


@pytest.mark.parametrize(
    ("name", "label", "unpacked"),
    [
        ("gzip", "gzip.bomb", gzip.decompress),
        ("xz", "xz.bomb", lzma.decompress),
        ("bzip2", "bzip2.bomb", bz2.decompress),
        ("zip", "zip.hostile.bomb", lambda data: zipfile.ZipFile(io.BytesIO(data)).read("bomb")),
    ],
)
def test_a_bomb_unpacks_to_64_mib(name, label, unpacked):
    """Enough to be noticed, and not more than any machine has."""
    assert len(unpacked(formats.damaged(SAMPLES[name], label))) == 64 << 20


def test_aliases_stand_for_a_million_values():
    """Written out, too, they would stay within the bound of all bombs."""
    values = {}
    for line in formats.damaged(SAMPLES["yaml"], "yaml.hostile.alias-bomb").decode().splitlines():
        name, _, items = line.partition(": ")
        parts = items.partition("[")[2].rstrip("]").split(", ")
        values[name] = sum(values.get(part.removeprefix("*"), 1) for part in parts)
    assert max(values.values()) == 1_000_000


def test_a_choice_has_one_of_each_kind_first():
    """A limit leaves out repetitions before it leaves out kinds."""
    for data in SAMPLES.values():
        found = dict(formats.damages(data))
        kinds = {(label.removesuffix(damage.name), *damage.alike) for label, damage in found.items()}
        chosen = formats.chosen(data, 60)
        assert len(chosen) == min(60, len(found))
        seen = {(label.removesuffix(found[label].name), *found[label].alike) for label in chosen}
        assert len(seen) == min(len(kinds), len(chosen))
        assert formats.chosen(data, 3) == chosen[:3]


@pytest.mark.parametrize(("name", "data"), ALL, ids=SAMPLES)
def test_a_damaged_file_can_be_damaged_again(name, data):
    """Enumerating what is broken already raises nothing: the common damages are always there."""
    for label, damage in formats.damages(data):
        if not label.endswith((*HEAVY, "deep")):
            assert all(one for one, _ in formats.damages(damage.make()))
    assert [label for label, _ in formats.damages(b"")] == ["file.tail.garbage"]


def test_a_format_of_a_project_is_registered_by_one_function():
    """It is tried first, begins its labels, and can be taken back."""

    def damages(data):
        yield made("record1", "cut", data[:4])

    take_back = formats.register("journal", lambda data: data.startswith(b"JRNL"), damages)
    try:
        assert formats.format_of(b"JRNLxxxx") == "journal"
        assert formats.damaged(b"JRNLxxxx", "journal.record1.cut") == b"JRNL"
        with pytest.raises(UsageError, match="a name that is not taken"):
            formats.register("journal", lambda data: False, damages)
    finally:
        take_back()
    assert formats.format_of(b"JRNLxxxx") == "file"
    with pytest.raises(UsageError, match="lower-case"):
        formats.register("My Format", lambda data: False, damages)


def test_an_unknown_label_names_near_ones():
    """The error says which format the file has, and what damages it has."""
    with pytest.raises(
        UsageError, match=r"zip\.entry1\.flip\.crcc.*of this zip file.*zip\.entry1\.flip\.crc"
    ):
        formats.damaged(SAMPLES["zip"], "zip.entry1.flip.crcc")


@pytest.mark.parametrize(("name", "data"), ALL, ids=SAMPLES)
def test_every_label_has_words(name, data):
    """A report tells a damage in a clause about the file, without dots and dashes of labels."""
    for label, _ in formats.damages(data):
        told = in_words(label)
        assert re.search(r"(is|has|claims|lacks|begins|needs|calls|holds) ", told), (label, told)
        assert "the file" in told or f"{name} file" in told, (label, told)
        assert not re.search(r"[a-z][.-][a-z]", told), (label, told)


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("zip.entry1.flip.crc", "entry 1 of the zip file has a flipped bit in its crc"),
        ("file.cut.half", "the file is cut off after the first half"),
        ("tar.hostile.traversal", "the tar file has a member whose name leads out of the directory"),
        (
            "gzip/csv.row1.field.missing",
            "row 1 of the csv file in the gzip file has one field too few",
        ),
        ("journal.record7.turned-around", "record 7 of the journal file turned around"),
    ],
)
def test_labels_in_words(label, words):
    """The words of a damage; a label of a project's own format is spelt out."""
    assert in_words(label) == words


@pytest.mark.parametrize(("name", "data"), ALL, ids=SAMPLES)
def test_a_good_file_is_sound_and_what_is_detectable_is_not(name, data):
    """What counts as detectable is refused by the format's own rules, and never the file as it was."""
    told = formats.chosen(data, detectable=True)
    assert set(told) <= set(formats.chosen(data))
    assert not [label for label in told if "bomb" in label or "hostile" in label]
    if name in ("text", "file"):
        assert told == ()
    else:
        assert any(label.startswith(name) for label in told)


@pytest.mark.parametrize(
    ("name", "sound"),
    [
        ("gzip", ("gzip.second-member",)),
        ("zip", ("zip.hostile.duplicate",)),
        ("json", ("json.number1.negative", "json.key1.missing", "json.null", "json.duplicate-key")),
        ("csv", ("csv.row1.formula", "csv.row1.twice", "csv.header.missing")),
        ("sqlite", ("sqlite.header.flip.change-counter",)),
        ("tar", ("tar.member1.flip.data", "tar.hostile.duplicate")),
        ("xz", ("xz.padding", "xz.second-stream")),
    ],
)
def test_what_is_well_formed_is_not_detectable(name, sound):
    """Another value, a lost row or a second member obey the format's rules: only a checksum would tell."""
    assert set(sound) <= _labels(name)
    assert not set(sound) & set(formats.chosen(SAMPLES[name], detectable=True))


def test_a_registered_format_may_say_what_is_sound():
    """With a judgement of its own a format has detectable damages; without one it has none."""

    def damages(data):
        yield made("", "cut", data[:4])
        yield made("", "upper", data.upper())

    def starts(data):
        return data.startswith((b"JRNL", b"jrnl"))

    for sound, told in ((None, ()), (lambda data: data.endswith(b"."), ("journal.cut",))):
        take_back = formats.register("journal", starts, damages, sound)
        try:
            labels = formats.chosen(b"jrnl two.", detectable=True)
            assert tuple(label for label in labels if label.startswith("journal")) == told
        finally:
            take_back()


def test_a_reader_that_raises_has_noticed():
    """A judgement that fails in whatever way counts as refused, and never ends an exploration."""

    def sound(data):
        return data[8] == ord(".")

    take_back = formats.register("short", lambda data: data[:3] == b"abc", text.damages, sound)
    try:
        assert "file.cut.1" in formats.chosen(b"abcdefgh.\n", detectable=True)
    finally:
        take_back()


@pytest.mark.parametrize("name", ["csv", "json", "gzip"])
def test_a_large_file_is_looked_through_at_once(name):
    """What is asked for each case of a file is worked out once; of what is packed it is not packed again."""
    data = {
        "csv": TABLE * 500,
        "json": json.dumps([{"id": n} for n in range(2000)]).encode(),
        "gzip": gzip.compress(TABLE * 500, 1),
    }[name]
    first = formats.chosen(data, 60, detectable=True)
    assert len(first) > 20
    assert formats.chosen(data, 60, detectable=True) is first
