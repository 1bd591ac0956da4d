"""Damages by format: stable labels, each a change that can be told, and lazy where they are large."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import subprocess
import sys
import tarfile
import tracemalloc
import zipfile

import pytest

from chaoskit.core.errors import UsageError
from chaoskit.faults.corrupt import formats
from chaoskit.faults.corrupt.examples import examples

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


def test_a_choice_has_one_of_each_kind_first():
    """A limit leaves out repetitions before it leaves out kinds."""
    for data in SAMPLES.values():
        found = dict(formats.damages(data))
        kinds = {(label.removesuffix(damage.name), *damage.alike) for label, damage in found.items()}
        chosen = formats.chosen(data)
        assert len(chosen) == min(formats.LIMIT, len(found))
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
    from chaoskit.faults.corrupt.damage import made

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
