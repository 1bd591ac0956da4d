"""Archives are unpacked whole or not at all, and never beside their place."""

from __future__ import annotations

import errno
import functools
import io
import lzma
import os
import random
import subprocess
import sys
import tarfile
import tracemalloc
import zipfile
from types import SimpleNamespace

import pytest
from archive_corpus import CONTENT, PACKED, ZSTD, Sample, greedy_zstd, hostile_zips, one_member, samples

from chaoskit.core.errors import UsageError
from chaoskit.runtime import (
    ArchiveLimits,
    ArchiveTooBig,
    ConfigurationError,
    CorruptArchive,
    DiskFull,
    Manifest,
    QuotaExceeded,
    UnsafeArchive,
    extract,
    inspect_archive,
)
from chaoskit.runtime.failures.taxonomy import FilesystemError
from chaoskit.runtime.guarding.archives import writing

LIMITS = ArchiveLimits(members=1000, total=8 << 20)


@functools.cache
def everything() -> list[Sample]:
    """The whole corpus. It takes two seconds to make, which a process with none of the tests is spared."""
    return list(samples())


def tree(place):
    """Every file below ``place`` with its content."""
    return {
        path.relative_to(place).as_posix(): path.read_bytes() for path in place.rglob("*") if path.is_file()
    }


def tried(tmp_path, sample: Sample) -> str:
    """Unpack a sample, and check that nothing was touched beside the target, and nothing left behind."""
    (tmp_path / "outside").write_text("untouched")
    (tmp_path / "box").mkdir()
    (tmp_path / "box" / "archive").write_bytes(sample.data)
    try:
        manifest = extract(tmp_path / "box" / "archive", tmp_path / "box" / "out", limits=LIMITS)
    except (UnsafeArchive, CorruptArchive):
        end = "refused"
        assert sorted(os.listdir(tmp_path / "box")) == ["archive"]
    else:
        end = "whole"
        assert sorted(os.listdir(tmp_path / "box")) == ["archive", "out"]
        assert {entry.path for entry in manifest.entries} == set(tree(tmp_path / "box" / "out"))
        manifest.verify(tmp_path / "box" / "out")
    assert sorted(os.listdir(tmp_path)) == ["box", "outside"]
    assert (tmp_path / "outside").read_text() == "untouched"
    return end


def test_there_are_enough_samples():
    """The corpus has the size that is promised, and every label is its own."""
    labels = [sample.label for sample in everything()]
    assert len(labels) >= 600
    assert len({*labels}) == len(labels)


@pytest.mark.parametrize("part", range(20))
def test_every_sample_ends_as_it_must(tmp_path, part):
    """Whole ones come out whole, hostile and cut ones are refused by a typed error, and no trace is left."""
    for number, sample in enumerate(everything()[part::20]):
        place = tmp_path / str(number)
        place.mkdir()
        end = tried(place, sample)
        assert sample.end in (end, "either"), sample.label
        if sample.end == "whole":
            assert tree(place / "box" / "out") == CONTENT, sample.label


def test_a_bomb_takes_no_memory(tmp_path):
    """No archive of the corpus needs more than 64 MB above what the process has."""
    bombs = [data for label, data in hostile_zips() if "bomb" in label or "GiB" in label]
    assert len(bombs) >= 5
    tracemalloc.start()
    try:
        for number, data in enumerate(bombs):
            place = tmp_path / str(number)
            place.mkdir()
            (place / "archive").write_bytes(data)
            del data
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            with pytest.raises((ArchiveTooBig, CorruptArchive)):
                extract(place / "archive", place / "out", limits=LIMITS)
            assert tracemalloc.get_traced_memory()[1] - before < 64 << 20
    finally:
        tracemalloc.stop()


def test_the_dictionary_of_xz_is_not_allocated(tmp_path):
    """32 bytes cannot make the process ask for a gigabyte: it runs under a limit of address space."""
    (tmp_path / "a").write_bytes(next(data for label, data in hostile_zips() if "GiB" in label))
    code = (
        "import resource, sys\n"
        "from chaoskit.runtime import ArchiveTooBig, extract\n"
        "resource.setrlimit(resource.RLIMIT_AS, (400 << 20, 400 << 20))\n"
        "try: extract(sys.argv[1], sys.argv[2])\n"
        "except ArchiveTooBig as error: print('refused')\n"
    )
    asked = [sys.executable, "-c", code, str(tmp_path / "a"), str(tmp_path / "out")]
    done = subprocess.run(asked, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "refused", done.stderr


def without_zstd(monkeypatch, *kept):
    """Let only these modules for zstd be importable; skip if they are not."""
    for name in kept:
        pytest.importorskip(name, reason=f"{name} is not installed", exc_type=ImportError)
    for name in {"compression.zstd", "backports.zstd", "zstandard"} - set(kept):
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.parametrize("module", ["compression.zstd", "backports.zstd", "zstandard"])
def test_zstd_is_read_with_any_of_its_modules(tmp_path, monkeypatch, module):
    """Frames, with those to be skipped that pzstd writes, are read; what asks for too much is refused."""
    if ZSTD is None:
        pytest.skip("nothing here compresses with zstd: neither Python 3.14 nor backports.zstd")
    without_zstd(monkeypatch, module)
    skipped = b"\x50\x2a\x4d\x18\x04\0\0\0abcd"
    for number, data in enumerate([skipped + PACKED["tar.zst"] + skipped, PACKED["tar.zst"]]):
        (tmp_path / "a").write_bytes(data)
        extract(tmp_path / "a", tmp_path / f"out{number}", limits=LIMITS)
        assert tree(tmp_path / f"out{number}") == CONTENT
    for label, data in hostile_zips():
        if "zstd" in label:
            (tmp_path / "a").write_bytes(data)
            with pytest.raises((ArchiveTooBig, CorruptArchive)):
                extract(tmp_path / "a", tmp_path / "out", limits=LIMITS)
    (tmp_path / "a").write_bytes(greedy_zstd())
    with pytest.raises(ArchiveTooBig, match="needs more memory than it may use"):
        extract(tmp_path / "a", tmp_path / "out", limits=LIMITS)


@pytest.mark.parametrize("module", ["compression.zstd", "backports.zstd", "zstandard"])
def test_a_bomb_of_zstd_takes_no_memory(tmp_path, monkeypatch, module):
    """8 KB that stand for 256 MiB cost 64 MB at most, also where a module can't be told how much to give."""
    if ZSTD is None:
        pytest.skip("nothing here compresses with zstd: neither Python 3.14 nor backports.zstd")
    without_zstd(monkeypatch, module)
    (tmp_path / "a").write_bytes(ZSTD.compress(b"\0" * (256 << 20)))
    tracemalloc.start()
    try:
        with pytest.raises(ArchiveTooBig):
            extract(tmp_path / "a", tmp_path / "out", limits=ArchiveLimits(total=200 << 20, ratio=1 << 20))
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


def test_without_a_module_for_zstd_the_archive_is_not_blamed(tmp_path, monkeypatch):
    """A package is missing; an archive that is called corrupt would be fetched again, or thrown away."""
    without_zstd(monkeypatch)
    (tmp_path / "a").write_bytes(b"\x28\xb5\x2f\xfd\x20\0\1\0\0")
    with pytest.raises(ConfigurationError, match="a: it is compressed with zstd") as caught:
        extract(tmp_path / "a", tmp_path / "out")
    assert "install backports.zstd" in caught.value.hint
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize(
    "limits", [{"members": 3}, {"total": 2000}, {"depth": 1}], ids=["members", "total", "depth"]
)
@pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip"])
def test_each_limit_holds(tmp_path, kind, limits):
    """One member, byte or directory too many is refused, and just enough is not."""
    (tmp_path / "a").write_bytes(PACKED[kind])
    with pytest.raises(ArchiveTooBig):
        extract(tmp_path / "a", tmp_path / "out", limits=ArchiveLimits(**limits))
    total = sum(map(len, CONTENT.values()))
    enough = ArchiveLimits(members=6, total=total, depth=2)
    extract(tmp_path / "a", tmp_path / "out", limits=enough)


def test_links_within_the_archive_are_made_when_asked_for(tmp_path):
    """A link to a member works, and the same archive is refused without the option."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, kind, to in (
            ("d/link", tarfile.SYMTYPE, "../d/file"),
            ("d/file", tarfile.REGTYPE, ""),
            ("same", tarfile.LNKTYPE, "d/file"),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, to
            info.size = 3 if kind == tarfile.REGTYPE else 0
            tar.addfile(info, io.BytesIO(b"abc"))
    (tmp_path / "a").write_bytes(out.getvalue())
    with pytest.raises(UnsafeArchive, match="'d/link' is a link to") as caught:
        extract(tmp_path / "a", tmp_path / "refused")
    assert "links='inside'" in caught.value.hint
    manifest = extract(tmp_path / "a", tmp_path / "out", links="inside")
    assert (tmp_path / "out/d/link").read_text() == (tmp_path / "out/same").read_text() == "abc"
    manifest.verify(tmp_path / "out")
    assert [member.kind for member in inspect_archive(tmp_path / "a")] == ["symlink", "file", "hardlink"]


@pytest.mark.parametrize(
    "to",
    [
        *("/etc/passwd", "../../x", "missing", "link", "chain", "..", "d/chain/file", "", "d/file/"),
        # In words each of these is a file of the archive. The kernel follows them through a link, and out.
        *("a/b/up/../../d/file", "d/chain/../d/file", "missing/../d/file", "d/file/../file"),
    ],
)
def test_no_link_leads_anywhere_else(tmp_path, to):
    """Outside, to nothing, to another link or through one: refused although links are allowed."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, kind, target in (
            ("d/file", tarfile.REGTYPE, ""),
            ("d/chain", tarfile.SYMTYPE, "."),
            ("a/b/up", tarfile.SYMTYPE, "../../d"),
            ("link", tarfile.SYMTYPE, to),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            tar.addfile(info)
    (tmp_path / "a").write_bytes(out.getvalue())
    with pytest.raises(UnsafeArchive, match="not a file of the archive"):
        extract(tmp_path / "a", tmp_path / "out", links="inside")
    assert sorted(os.listdir(tmp_path)) == ["a"]


def test_a_zip_may_count_its_members_elsewhere(tmp_path, monkeypatch):
    """One of 65,535 members or more has a record for that, which counts."""
    out = io.BytesIO()
    with monkeypatch.context() as patched:
        patched.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 1)
        with zipfile.ZipFile(out, "w") as archive:
            for name, data in CONTENT.items():
                archive.writestr(name, data)
    data = bytearray(out.getvalue())
    assert b"PK\x06\x07" in data
    at = data.rindex(b"PK\x05\x06")
    data[at + 8 : at + 12] = b"\xff" * 4
    (tmp_path / "a").write_bytes(data)
    extract(tmp_path / "a", tmp_path / "out")
    assert tree(tmp_path / "out") == CONTENT


def test_a_directory_is_replaced_only_when_asked_for(tmp_path):
    """What is there stays, and it stays whole when the new archive is bad."""
    (tmp_path / "a").write_bytes(PACKED["zip"])
    (tmp_path / "bad").write_bytes(PACKED["zip"][:-5])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").write_text("old")
    with pytest.raises(FileExistsError):
        extract(tmp_path / "a", tmp_path / "out")
    with pytest.raises(CorruptArchive):
        extract(tmp_path / "bad", tmp_path / "out", replace=True)
    assert tree(tmp_path / "out") == {"old": b"old"}
    extract(tmp_path / "a", tmp_path / "out", replace=True)
    assert tree(tmp_path / "out") == CONTENT


def test_a_manifest_finds_what_a_tar_cannot(tmp_path):
    """A flipped bit in a plain tar's data passes its checks, and not those of a manifest."""
    data = bytearray(PACKED["tar"])
    data[data.index(b"alpha")] ^= 1
    (tmp_path / "good").write_bytes(PACKED["tar"])
    (tmp_path / "bad").write_bytes(data)
    manifest = Manifest.from_json(extract(tmp_path / "good", tmp_path / "out").to_json())
    extract(tmp_path / "bad", tmp_path / "unseen")
    with pytest.raises(CorruptArchive, match=r"a\.txt has changed"):
        extract(tmp_path / "bad", tmp_path / "seen", manifest=manifest)
    assert not (tmp_path / "seen").exists()
    (tmp_path / "out" / "more").touch()
    (tmp_path / "out" / "empty").unlink()
    with pytest.raises(CorruptArchive, match="empty is missing; more is not listed"):
        manifest.verify(tmp_path / "out")


@pytest.mark.parametrize("kind", ["zst", "xz"])
def test_a_manifest_finds_what_a_compression_without_checksum_cannot(tmp_path, kind):
    """Zstd has none unless asked for, and xz can be told to have none: a flipped bit is a wrong file."""
    if kind == "zst" and ZSTD is None:
        pytest.skip("nothing here compresses with zstd: neither Python 3.14 nor backports.zstd")
    # So long, and so random, that the middle of it stands in the archive as it is.
    noise = random.Random(1).randbytes(200_000)
    plain = one_member(lambda info: setattr(info, "name", "noise"), noise)
    data = ZSTD.compress(plain) if kind == "zst" else lzma.compress(plain, check=lzma.CHECK_NONE)
    (tmp_path / "good").write_bytes(data)
    at = data.index(noise[150_000:150_020])
    (tmp_path / "bad").write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    manifest = extract(tmp_path / "good", tmp_path / "out")
    extract(tmp_path / "bad", tmp_path / "unseen")
    assert (tmp_path / "unseen" / "noise").read_bytes() != noise
    with pytest.raises(CorruptArchive, match="noise has changed"):
        extract(tmp_path / "bad", tmp_path / "seen", manifest=manifest)
    assert not (tmp_path / "seen").exists()


def test_executables_stay_executable_and_nothing_else_is_restored(tmp_path):
    """Modes are 0700, for files 0600: an archive makes nothing that others may write, or that is set-id."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, mode in (("run", 0o6777), ("data", 0o666), ("deep", 0o777)):
            info = tarfile.TarInfo(name)
            info.type = tarfile.DIRTYPE if name == "deep" else tarfile.REGTYPE
            info.mode, info.uid, info.mtime = mode, 12345, 1
            tar.addfile(info)
    (tmp_path / "a").write_bytes(out.getvalue())
    manifest = extract(tmp_path / "a", tmp_path / "out")
    assert [oct((tmp_path / "out" / name).stat().st_mode & 0o7777) for name in ("run", "data", "deep")] == [
        "0o700",
        "0o600",
        "0o700",
    ]
    assert [entry.executable for entry in manifest.entries] == [False, True]


def test_what_is_too_long_for_the_disk_is_the_fault_of_the_archive(tmp_path):
    """A target longer than a path may be is refused by a typed error that can be read, like a long name."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("file"))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "./" * 5000 + "file"
        tar.addfile(link)
    (tmp_path / "a").write_bytes(out.getvalue())
    with pytest.raises(UnsafeArchive, match="too long for this place"):
        extract(tmp_path / "a", tmp_path / "out", links="inside")
    (tmp_path / "a").write_bytes(one_member(lambda info: setattr(info, "name", "../" * 300_000)))
    with pytest.raises(UnsafeArchive, match="the name '") as caught:
        extract(tmp_path / "a", tmp_path / "out")
    assert len(str(caught.value)) < 1000
    assert sorted(os.listdir(tmp_path)) == ["a"]


@pytest.mark.parametrize(("code", "kind"), [(errno.ENOSPC, DiskFull), (errno.EDQUOT, QuotaExceeded)])
def test_a_full_disk_has_its_name(tmp_path, monkeypatch, code, kind):
    """In what is unpacked as in what is published, and nothing is left behind."""

    def full(*arguments, **options):
        raise OSError(code, os.strerror(code))

    (tmp_path / "a").write_bytes(PACKED["zip"])
    monkeypatch.setattr(writing, "os", SimpleNamespace(**{**vars(os), "mkdir": full}))
    with pytest.raises(kind, match="could not unpack into"):
        extract(tmp_path / "a", tmp_path / "out")
    assert os.listdir(tmp_path) == ["a"]


def test_what_is_no_archive_is_called_that(tmp_path):
    """A page of a web server in place of a download is not "a truncated header"."""
    (tmp_path / "a").write_bytes(b"<!DOCTYPE html><html>Not found</html>")
    with pytest.raises(CorruptArchive, match="neither a zip nor a tar") as caught:
        extract(tmp_path / "a", tmp_path / "out")
    assert "the download may have failed" in caught.value.hint


def test_many_links_cost_what_they_are(tmp_path):
    """Each of thousands of links is looked up, and not compared with all the others."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("file"))
        for number in range(300):
            link = tarfile.TarInfo(f"link-{number}")
            link.type, link.linkname = (tarfile.SYMTYPE, tarfile.LNKTYPE)[number % 2], "file"
            tar.addfile(link)
    (tmp_path / "a").write_bytes(out.getvalue())
    seen = []
    previous = sys.getprofile()
    sys.setprofile(lambda frame, event, arg: seen.append(event) if event == "call" else None)
    try:
        extract(tmp_path / "a", tmp_path / "out", links="inside")
    finally:
        sys.setprofile(previous)
    assert len(os.listdir(tmp_path / "out")) == 301
    assert len(seen) < 300 * 150


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: ArchiveLimits(members=0), "ArchiveLimits.members is 0"),
        (lambda: ArchiveLimits(ratio=0.5), "ArchiveLimits.ratio is 0.5"),
        (lambda: extract("a", "b", links="follow"), "links is 'follow'"),  # type: ignore[arg-type]
        (lambda: Manifest.from_json("{}"), "not the text of a manifest"),
        (lambda: Manifest.from_json('{"format": 2}'), "Use a newer chaoskit"),
    ],
)
def test_wrong_use_is_told(call, text):
    """Each argument that cannot be right is named with what was expected."""
    with pytest.raises(UsageError, match=text):
        call()


def test_an_archive_is_a_file(tmp_path):
    """A FIFO is refused: its opening waited for a writer forever, if none came."""
    os.mkfifo(tmp_path / "fifo")
    # Open for both, so that not even the old way waits.
    both = os.open(tmp_path / "fifo", os.O_RDWR)
    try:
        os.write(both, b"not an archive")
        with pytest.raises(FilesystemError, match="is a FIFO"):
            extract(tmp_path / "fifo", tmp_path / "out")
    finally:
        os.close(both)
    assert os.listdir(tmp_path) == ["fifo"]
