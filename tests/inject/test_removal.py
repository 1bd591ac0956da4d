"""Clean-up never leaves the directory that it was given."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from chaoskit.inject.removal import mounts_below, remove

CAGED = """
import ctypes, os, sys, warnings
library = ctypes.CDLL(None, use_errno=True)
# A mount namespace for this process alone, from which nothing comes out.
if library.unshare(0x20000) or library.mount(None, b"/", None, 0x44000, None):
    sys.exit(77)
from chaoskit.inject.removal import mounts_below, remove
place, source = sys.argv[1:3]
os.makedirs(f"{place}/deep/with space")
os.makedirs(f"{place}/other")
for target in (f"{place}/deep/with space", f"{place}/other", f"{place}/other"):
    if library.mount(source.encode(), target.encode(), None, 4096, None):
        sys.exit(77)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    if sys.argv[3] == "held":
        from chaoskit.inject import removal
        removal._unmount = lambda path: False
    remove(place)
print(os.path.exists(place), len(list(mounts_below(place))), os.listdir(source))
print(caught[0].message)
"""


def _caged(place: Path, source: Path, how: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", CAGED, str(place), str(source), how], capture_output=True, text=True
    )
    if done.returncode == 77:
        pytest.skip("mounts cannot be made here; needs CAP_SYS_ADMIN")
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("how", "left"), [("detached", "False 0"), ("held", "True 3")], ids=["detached", "held"]
)
def test_what_a_mount_shows_is_not_removed(tmp_path: Path, how: str, left: str) -> None:
    """A bind mount is detached and named; one that cannot be is left alone with what it shows."""
    place, source = tmp_path / "case", tmp_path / "source"
    source.mkdir()
    (source / "important").write_text("x")
    shown, said = _caged(place, source, how)
    assert shown == f"{left} ['important']"
    assert f"{place}/deep/with space" in said
    assert (source / "important").read_text() == "x"


def test_links_are_not_followed(tmp_path: Path) -> None:
    """Neither one inside, nor the directory itself if it has become one."""
    target = tmp_path / "target"
    (target / "deep").mkdir(parents=True)
    case = tmp_path / "case"
    case.mkdir()
    (case / "link").symlink_to(target)
    assert remove(case) == ()
    assert not case.exists()
    case.symlink_to(target)
    remove(case)
    assert (target / "deep").is_dir()


def test_modes_do_not_keep_what_is_below(tmp_path: Path) -> None:
    """A workload that took permissions away has its directory removed like any other."""
    case = tmp_path / "case"
    (case / "a/b").mkdir(parents=True)
    (case / "a/b/file").touch(mode=0)
    (case / "a/b").chmod(0)
    (case / "a").chmod(0o500)
    case.chmod(0)
    remove(case)
    assert not os.path.lexists(case)


def test_what_is_very_deep_goes_as_well(tmp_path: Path) -> None:
    """Neither Python's frames nor the descriptors of a process bound how deep a tree may be."""
    fd = os.open(tmp_path, os.O_RDONLY)
    for name in ["case", *["d" * 20] * 1500]:
        os.mkdir(name, dir_fd=fd)
        below = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)
    remove(tmp_path / "case")
    assert os.listdir(tmp_path) == []


def test_a_missing_directory_is_no_error(tmp_path: Path) -> None:
    """What is gone is gone."""
    assert remove(tmp_path / "none") == ()


def test_mounts_are_found_by_their_place() -> None:
    """The kernel's own list says what is mounted; a name that only begins alike is not below."""
    assert "/proc" in list(mounts_below("/proc"))
    assert list(mounts_below("/pro")) == []
