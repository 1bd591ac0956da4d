from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from chaoskit.doctor import machine


@pytest.mark.parametrize(
    ("value", "root", "status"),
    [
        ("0", False, "ok"),
        ("1", False, "ok"),
        ("2", False, "no"),
        ("2", True, "ok"),
        ("3", True, "no"),
        ("9", False, "degraded"),
    ],
)
def test_yama_is_told(tmp_path, monkeypatch, value, root, status):
    """Each scope of Yama is judged by what it lets this user do, and a bad one comes with a way out."""
    monkeypatch.setattr(os, "geteuid", lambda: 0 if root else 1000)
    scope = tmp_path / "ptrace_scope"
    scope.write_text(f"{value}\n")
    item = machine.yama(scope)
    assert (item.status, bool(item.hint)) == (status, status != "ok")


def test_yama_may_be_absent(tmp_path):
    """A kernel without Yama is no trouble."""
    assert machine.yama(tmp_path / "none").status == "ok"


@pytest.mark.parametrize(
    ("text", "status", "said"),
    [
        ("Name:\tx\nSeccomp:\t0\nSeccomp_filters:\t0\n", "ok", "no filter is in force"),
        ("Seccomp:\t2\nSeccomp_filters:\t3\n", "ok", "3 filter(s) in force"),
        ("Seccomp:\t2\n", "ok", "at least one"),
        ("Name:\tx\n", "no", "does not know it"),
    ],
)
def test_filters_in_force_are_told(tmp_path, text, status, said):
    """A container's filter is recognised by the process's own status."""
    file = tmp_path / "status"
    file.write_text(text)
    item = machine.filters(file)
    assert item.status == status
    assert said in item.detail


@pytest.mark.parametrize(
    ("free", "files", "free_files", "status"),
    [
        (1 << 30, 1_000_000, 900_000, "ok"),
        (1 << 20, 1_000_000, 900_000, "degraded"),
        (1 << 30, 1_000_000, 10, "degraded"),
        (1 << 30, 0, 0, "ok"),
    ],
)
def test_little_room_is_told(monkeypatch, tmp_path, free, files, free_files, status):
    """Too little space, or too few inodes where they are numbered, is said before a sweep meets it."""
    numbers = SimpleNamespace(f_bavail=free // 4096, f_frsize=4096, f_files=files, f_favail=free_files)
    monkeypatch.setattr(os, "statvfs", lambda place: numbers)
    item = machine.room("here", tmp_path)
    assert (item.status, bool(item.hint)) == (status, status != "ok")


def test_place_that_is_not_there(tmp_path):
    """A temporary directory that does not exist is said, not raised."""
    assert machine.room("here", tmp_path / "none").status == "degraded"


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (5 << 40, "5.0 TiB")]
)
def test_sizes_for_people(number, text):
    """Sizes are printed in the largest unit that leaves a number above one."""
    assert machine.size(number) == text


def test_missing_package_comes_with_its_command(monkeypatch):
    """An optional package that is not installed is degraded, with what it is for and how to get it."""

    def version(name):
        raise machine.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(machine.metadata, "version", version)
    items = list(machine.extras())
    assert {item.status for item in items} == {"degraded"}
    assert items[0].hint == "pip install pytest"
