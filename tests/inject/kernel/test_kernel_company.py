"""What other processes and a server can do to a call strikes where it is offered, each with its receipt."""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chaoskit import faults
from chaoskit.core.schedule import point_of
from chaoskit.inject.base import Ran

Run = Callable[..., Ran]
Work = Callable[[Path], Any]

AT_FDCWD, RENAME_NOREPLACE = -100, 1


def prepare(root: Path) -> None:
    (root / "a").write_bytes(b"content")
    (root / "d").mkdir()
    os.setxattr(root / "d", "user.x", b"1")


def attempt(work: Work, root: Path) -> Any:
    """What is left of a call: its result, or minus its errno."""
    try:
        return work(root)
    except OSError as error:
        return -(error.errno or 0)


def rename_to_a_free_name(root: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    names = [os.fsencode(root / name) for name in ("a", "n")]
    if libc.renameat2(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_NOREPLACE) < 0:
        raise OSError(ctypes.get_errno(), "renameat2")


def lock(root: Path) -> None:
    with open(root / "a", "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)


def sync_mapping(root: Path) -> None:
    with open(root / "a", "r+b") as file, mmap.mmap(file.fileno(), 0) as pages:
        pages.flush()


def send(root: Path) -> None:
    source, target = os.open(root / "a", os.O_RDONLY), os.open(root / "n", os.O_WRONLY | os.O_CREAT)
    os.sendfile(target, source, 0, 7)


def write_and_close(root: Path) -> None:
    (root / "n").write_bytes(b"new")


COMPANY: list[tuple[str, str, Work]] = [
    ("open(a)", "ELOOP", lambda root: os.open(root / "a", os.O_RDONLY | os.O_NOFOLLOW)),
    ("open(d)", "ENOTDIR", lambda root: os.open(root / "d", os.O_NOFOLLOW | os.O_DIRECTORY)),
    ("rename(a -> n)", "ENOENT", lambda root: os.rename(root / "a", root / "n")),
    ("rename(a -> n)", "EEXIST", rename_to_a_free_name),
    ("rename(d -> n)", "ENOTEMPTY", lambda root: os.rename(root / "d", root / "n")),
    ("link(a -> n)", "ENOENT", lambda root: os.link(root / "a", root / "n")),
    ("link(a -> n)", "EEXIST", lambda root: os.link(root / "a", root / "n")),
    ("symlink(n)", "ENOENT", lambda root: os.symlink("a", root / "n")),
    ("symlink(n)", "EEXIST", lambda root: os.symlink("a", root / "n")),
    ("mkdir(n)", "ENOENT", lambda root: os.mkdir(root / "n")),
    ("mknod(n)", "ENOENT", lambda root: os.mkfifo(root / "n")),
    ("mknod(n)", "EEXIST", lambda root: os.mkfifo(root / "n")),
    ("truncate(a)", "ENOENT", lambda root: os.truncate(root / "a", 1)),
    ("chmod(a)", "ENOENT", lambda root: os.chmod(root / "a", 0o600)),
    ("chown(a)", "ENOENT", lambda root: os.chown(root / "a", os.getuid(), os.getgid())),
    ("utimens(a)", "ENOENT", lambda root: os.utime(root / "a")),
    ("setxattr(a)", "ENOENT", lambda root: os.setxattr(root / "a", "user.x", b"1")),
    ("removexattr(d)", "ENOENT", lambda root: os.removexattr(root / "d", "user.x")),
]
SERVER: list[tuple[str, str, Work]] = [
    *(("lock(a)", name, lock) for name in ("EIO", "ESTALE")),
    *(("msync(a)", name, sync_mapping) for name in ("ENOSPC", "EDQUOT", "ESTALE")),
    ("sendfile(n)", "ESTALE", send),
    ("close(n)", "ESTALE", write_and_close),
]


def faced(run: Run, root: Path, work: Work, point: str, fault: str, family: faults.FaultSet) -> Ran:
    """One run under a fault that ``family`` offers at ``point``; the recording leaves no trace."""
    prepare(root)
    trace = run(lambda: attempt(work, root), record=True).trace
    operation = next(one for one in trace if str(point_of(one)) == f"{point}#1")
    assert fault in [str(one) for one in family.offers(operation, trace)]
    for path in root.iterdir():
        path.rmdir() if path.is_dir() else path.unlink()
    prepare(root)
    return run(lambda: attempt(work, root), f"{point}#1={fault}")


@pytest.mark.parametrize(("point", "name", "work"), COMPANY + SERVER)
def test_an_error_of_others_is_offered_and_strikes(
    root: str, run: Run, point: str, name: str, work: Work
) -> None:
    """The call fails with exactly this errno, and its receipt says so."""
    family = faults.interference() if (point, name, work) in COMPANY else faults.share()
    ran = faced(run, Path(root), work, point, name, family)
    assert [one.strike for one in ran.receipts] == [f"{point}#1={name}"], ran.caveats
    assert [one.effect for one in ran.receipts] == [f"answered {name}"]


@pytest.mark.parametrize(
    ("point", "name", "work", "left"),
    [
        ("unlink(a)", "ENOENT", lambda root: os.unlink(root / "a"), {"d"}),
        ("rmdir(d)", "ENOENT", lambda root: os.rmdir(root / "d"), {"a"}),
        ("mkdir(n)", "EEXIST", lambda root: os.mkdir(root / "n"), {"a", "d", "n"}),
    ],
)
def test_what_a_quicker_process_has_done_is_done(
    root: str, run: Run, point: str, name: str, work: Work, left: set[str]
) -> None:
    """The call says that there was nothing left to do, and the disk agrees."""
    ran = faced(run, Path(root), work, point, f"lost[{name}]", faults.interference())
    assert [one.strike for one in ran.receipts] == [f"{point}#1=lost[{name}]"], ran.caveats
    assert set(os.listdir(root)) == left
