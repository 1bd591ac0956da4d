"""Preflight: what is needed is compared with what is really there, on small disks and under real limits."""

from __future__ import annotations

import resource

import pytest

from chaoskit.core.errors import UsageError
from chaoskit.runtime import DiskFull, OutOfMemory, Preflight, PreflightReport, ResourceCheck, TooManyFiles
from chaoskit.runtime.guarding.resources import readings
from chaoskit.runtime.guarding.resources.readings import Usage

from .limited import in_small_disk, limited

MB = 1 << 20


def test_what_fits_passes(tmp_path):
    """With nothing missing ``require`` gives the report itself."""
    report = Preflight(disk={str(tmp_path): 1}, memory=1, descriptors=1).check()
    assert report.ok
    assert report.missing == ()
    assert report.require() is report
    assert [one.resource for one in report.checks] == ["disk", "memory", "descriptors"]


def test_the_margin_counts(tmp_path, monkeypatch):
    """A fifth more than the need has to be free, and not a byte more than that."""
    monkeypatch.setattr(readings, "disk", lambda path: Usage(0, 120, "there"))
    assert Preflight(disk={str(tmp_path): 100}).check().ok
    assert not Preflight(disk={str(tmp_path): 101}).check().ok
    assert Preflight(disk={str(tmp_path): 120}, margin=0).check().ok


def test_needs_on_one_file_system_add_up(tmp_path, monkeypatch):
    """Each would fit alone; together they do not."""
    monkeypatch.setattr(readings, "disk", lambda path: Usage(0, 100, "there"))
    one, other = str(tmp_path / "a"), str(tmp_path / "b")
    assert Preflight(disk={one: 60}, margin=0).check().ok
    report = Preflight(disk={one: 60, other: 60}, margin=0).check()
    assert [(check.needed, check.free) for check in report.missing] == [(120, 100)]


def test_a_directory_that_is_not_there_yet_is_looked_for_above(tmp_path):
    """The file system is that of the nearest directory that is there."""
    assert readings.existing(tmp_path / "a" / "b") == tmp_path
    assert Preflight(disk={str(tmp_path / "a" / "b"): 1}).check().ok


@pytest.mark.parametrize(
    ("kind", "need"),
    [
        (DiskFull, {"disk": {".": 1 << 60}}),
        (OutOfMemory, {"memory": 1 << 50}),
        (TooManyFiles, {"descriptors": 1 << 40}),
    ],
)
def test_what_is_missing_is_an_error_of_its_kind(kind, need):
    """With the need, what is free and the next step in its message."""
    with pytest.raises(kind, match=r"cannot begin: \w+.* needed, [\d,]+ free.*Free it, ask for less") as info:
        Preflight(**need).check().require()
    assert info.value.context["missing"][0]["ok"] is False


def test_what_cannot_be_known_is_not_refused():
    """Said as such, and neither taken for plenty nor for nothing."""
    check = ResourceCheck("memory", "", 5, None)
    assert check.ok
    assert "not known here" in str(check)
    assert PreflightReport((check,)).to_dict()["checks"][0]["free"] is None


@pytest.mark.parametrize("wrong", [{"margin": -0.1}, {"margin": float("nan")}, {"memory": -1}])
def test_needs_that_cannot_be_are_refused(wrong):
    """When it is made, not when it is asked."""
    with pytest.raises(UsageError, match="expected"):
        Preflight(**wrong)


def test_a_small_disk_is_seen_as_it_is():
    """On a real file system of 4 MB: 3 MB fit, 3.5 with their margin do not, and 3 beside 2 do not."""
    found = in_small_disk(
        "import json\nfrom chaoskit.runtime import Preflight\nM = 1 << 20\n"
        "def asked(need): return Preflight(disk=need).check().ok\n"
        "print(json.dumps([asked({'/mnt': 3 * M}), asked({'/mnt': int(3.5 * M)}),"
        " asked({'/mnt/a': 3 * M, '/mnt/b': 2 * M})]))"
    )
    assert found == [True, False, False]


def test_a_full_tmpfs_falls_back_to_disk():
    """What does not fit in memory is staged where there is room; what fits stays."""
    found = in_small_disk(
        "import json, tempfile\nfrom chaoskit.runtime import Preflight\n"
        "disk = tempfile.mkdtemp()\n"
        "def at(size, fallback=disk):\n"
        "    r = Preflight(tmpfs=('/mnt', size), fallback=fallback).check()\n"
        "    return [str(r.staging), r.fell_back, r.ok]\n"
        "here = at(2 << 20)\n"
        "open('/mnt/taken', 'wb').write(bytes(2 << 20))\n"
        "there = at(2 << 20)\n"
        "alone = at(2 << 20, None)\n"
        "print(json.dumps([here, there == [disk, True, True], alone]))"
    )
    assert found == [["/mnt", False, True], True, ["None", False, False]]


def test_what_is_staged_in_memory_is_memory(monkeypatch):
    """The need of a tmpfs is added to that of the work, which both come out of the same memory."""
    monkeypatch.setattr(readings, "in_memory", lambda path: True)
    monkeypatch.setattr(readings, "memory", lambda: Usage(0, 100, "the machine"))
    monkeypatch.setattr(readings, "disk", lambda path: Usage(0, 1000, "."))
    assert Preflight(memory=60, margin=0).check().ok
    assert not Preflight(memory=60, tmpfs=(".", 60), margin=0).check().ok


def test_a_tmpfs_is_known_as_one():
    """A mounted one is, and so is a directory on it that is not there yet; the root of the machine is not."""
    found = in_small_disk(
        "import json\nfrom chaoskit.runtime.guarding.resources.readings import in_memory\n"
        "print(json.dumps([in_memory('/mnt'), in_memory('/mnt/a/b'), in_memory('/usr')]))"
    )
    assert found == [True, True, False]


def test_a_real_limit_of_descriptors_is_seen():
    """Below ``ulimit -n 64`` sixty more cannot be opened, twenty can; and with none left the answer is 0."""
    found = limited(
        "import json, os, resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n"
        "from chaoskit.runtime import Preflight\n"
        "from chaoskit.runtime.guarding.resources.readings import descriptors\n"
        "few, many = (Preflight(descriptors=n).check().ok for n in (20, 62))\n"
        "held = []\n"
        "try:\n"
        "    while True: held.append(os.open('/dev/null', 0))\n"
        "except OSError: pass\n"
        "none = descriptors().free\n"
        "[os.close(one) for one in held]\n"
        "print(json.dumps([few, many, none]))"
    )
    assert found == [True, False, 0]


@pytest.mark.parametrize("name", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_a_real_limit_of_memory_is_seen(name):
    """Of 1 GiB of address space a process may have some hundred megabytes more, and never two thousand."""
    if resource.getrlimit(getattr(resource, name))[0] != resource.RLIM_INFINITY:
        pytest.skip(f"{name} is limited here already")
    found = limited(
        f"import json, resource\nresource.setrlimit(resource.{name}, (1 << 30, 1 << 30))\n"
        "from chaoskit.runtime import Preflight\n"
        "from chaoskit.runtime.guarding.resources.readings import memory\n"
        "checks = [Preflight(memory=n << 20).check() for n in (64, 2000)]\n"
        "print(json.dumps([[one.ok for one in checks], memory().free, checks[1].checks[0].bound]))"
    )
    assert found[0] == [True, False]
    assert found[1] < 1 << 30


@pytest.mark.parametrize("version", [1, 2])
def test_the_limit_of_a_control_group_is_seen(version, monkeypatch, tmp_path):
    """Its own or one above it, without the pages that the kernel gives up first."""
    group = tmp_path / ("memory/above/own" if version == 1 else "above/own")
    group.mkdir(parents=True)
    most, now = (
        ("memory.limit_in_bytes", "memory.usage_in_bytes")
        if version == 1
        else ("memory.max", "memory.current")
    )
    (group.parent / most).write_text(f"{8 * MB}\n")
    (group.parent / now).write_text(f"{7 * MB}\n")
    (group.parent / "memory.stat").write_text(f"anon 1\ninactive_file {2 * MB}\n")
    (group / most).write_text("max\n" if version == 2 else f"{(1 << 63) - 4096}\n")
    (group / now).write_text(f"{7 * MB}\n")
    monkeypatch.setattr(readings, "_CGROUP", tmp_path)
    real = readings.Path.read_text
    line = "9:memory:/above/own\n" if version == 1 else "0::/above/own\n"
    monkeypatch.setattr(
        readings.Path,
        "read_text",
        lambda self, *a, **k: line if str(self) == "/proc/self/cgroup" else real(self, *a, **k),
    )
    left = readings.memory()
    assert left.free == 3 * MB
    assert left.bound == str(group.parent / most)


FULL = """
import json, os, subprocess
from chaoskit.runtime import Preflight, ResourceMonitor, ResourceThreshold, disk_left
def seen():
    report = Preflight(disk={"/mnt": 1}).check()
    staged = Preflight(tmpfs=("/mnt", 1), fallback="/").check()
    watched = ResourceMonitor([ResourceThreshold("disk", 1, path="/mnt")]).look()
    well = disk_left("/mnt", least=1)() is None
    return [report.ok, report.checks[0].bound, staged.fell_back, len(watched), well]
"""


def test_a_disk_that_takes_no_more_files_is_full():
    """Its bytes are free, and every file that is made there ends in ENOSPC."""
    found = in_small_disk(
        FULL + "subprocess.run(['mount', '-o', 'remount,nr_inodes=3', '/mnt'], check=True)\nbefore = seen()\n"
        "[open(f'/mnt/{n}', 'w') for n in range(2)]\nprint(json.dumps([before, seen()]))"
    )
    assert found == [
        [True, "/mnt", False, 0, True],
        [False, "the inodes of /mnt, which are used up", True, 1, False],
    ]


def test_a_disk_that_has_become_read_only_is_full():
    """As ext4 becomes after an error of its device: what is free there is not for writing."""
    found = in_small_disk(
        FULL + "subprocess.run(['mount', '-o', 'remount,ro', '/mnt'], check=True)\nprint(json.dumps(seen()))"
    )
    assert found == [False, "/mnt, which is read-only", True, 1, False]


def test_a_mount_of_any_name_is_known():
    """Some characters are written in octal there, and others end a line for Python alone."""
    found = in_small_disk(
        "import json, os, subprocess\nfrom chaoskit.runtime.guarding.resources.readings import in_memory\n"
        "os.mkdir('/mnt/out')\n"
        "subprocess.run(['mount', '-t', 'ramfs', 'x', '/mnt/out'], check=True)\n"
        "name = '/mnt/out/a\\u2028b c\\\\d\\te\\x85'\n"
        "os.mkdir(name)\nsubprocess.run(['mount', '--bind', '/usr', name], check=True)\n"
        "print(json.dumps([in_memory('/mnt/out'), in_memory(name)]))"
    )
    assert found == [True, False]


def test_what_cannot_be_looked_at_is_not_taken_for_what_is_not_there(tmp_path):
    """Below a file nothing can be made; a link is followed, also to what is not there yet."""
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "to").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "to" / "be" / "made")
    for name in ("file/x", "loop/x"):
        with pytest.raises(OSError, match=r"Not a directory|symbolic link"):
            Preflight(disk={str(tmp_path / name): 1}).check()
    assert readings.existing(tmp_path / "link") == tmp_path / "to"
    report = Preflight(tmpfs=(str(tmp_path / "file"), 1), fallback=str(tmp_path)).check()
    assert (report.fell_back, report.staging) == (True, tmp_path)


def test_a_place_that_is_not_for_this_user_is_fallen_back_from(tmp_path, monkeypatch):
    """To have room there is not enough."""
    monkeypatch.setattr(readings.os, "access", lambda path, mode: path != tmp_path / "theirs")
    (tmp_path / "theirs").mkdir()
    report = Preflight(tmpfs=(str(tmp_path / "theirs"), 1), fallback=str(tmp_path)).check()
    assert (report.fell_back, report.staging) == (True, tmp_path)


def test_with_no_descriptor_left_what_cannot_be_read_is_none():
    """Not an error: neither a file of the kernel can be opened, nor psutil be imported."""
    found = limited(
        "import json, os, resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n"
        "from chaoskit.runtime.guarding.resources import readings\n"
        "try:\n"
        "    while True: os.open('/dev/null', 0)\n"
        "except OSError: pass\n"
        "print(json.dumps([readings.memory(), readings.resident(), readings.descriptors().free]))"
    )
    assert found == [None, None, 0]
