"""Remove what a workload left, and nothing else.

A workload may have mounted something below its directory, and a fault may have kept it from unmounting it.
Removing a tree through such a mount would delete files that never belonged to the test. So mounts are
detached first, and no directory behind a mount, or on another file system, is entered.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import secrets
import shutil
import stat
import warnings
from collections.abc import Iterator

_MNT_DETACH, _UMOUNT_NOFOLLOW = 2, 8
_OCTAL = re.compile(rb"\\([0-7]{3})")
_DIRECTORY = os.O_RDONLY
for _name in ("O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW"):  # not every platform has all of them
    _DIRECTORY |= getattr(os, _name, 0)

_DEEPEST = 64
"""The most directories open at once, one below the other. Deeper ones are moved up first: a tree may be
deeper than this process may have descriptors, or Python frames."""

_Identity = tuple[int, int]
_met: list[str] = []

MARK = ".chaoskit-run"
"""A file that marks the directory of a run. It is removed last, so that a killed removal can be repeated."""


def remove(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Remove a directory and its content, whatever modes a workload left there; ignore a missing one.

    What cannot be removed stays, and so does what is behind a mount. Warns of the mounts at or below
    ``path``, and returns them.
    """
    # A link at the end is not followed, and mountinfo has no other links.
    whole = os.path.join(os.path.realpath(os.path.dirname(os.path.abspath(path))), os.path.basename(path))
    mounts = detach(whole)
    if os.open not in os.supports_dir_fd:
        # Windows cannot hold a directory open, and has no such mounts.
        shutil.rmtree(whole, ignore_errors=True)
        return mounts
    with contextlib.suppress(OSError):
        _remove(whole, (), os.lstat(whole), _held(whole))
    if mounts:
        _met.extend(mounts)
        warnings.warn(
            f"a workload left mounts behind, which were detached: {', '.join(mounts)}. Unmount them in the "
            "test's own clean-up too: a fault may keep the workload from doing it.",
            stacklevel=2,
        )
    return mounts


def met() -> tuple[str, ...]:
    """The mounts found in removals by this process since the last call."""
    found = tuple(_met)
    _met.clear()
    return found


def detach(path: str) -> tuple[str, ...]:
    """Detach all mounts at and below ``path`` that this process may detach; return all that there were."""
    found: dict[str, None] = {}
    # Repeated, since one mount may hide another; more than this many are not worth waiting for.
    for _ in range(64):
        mounts = list(mounts_below(path))
        if not mounts:
            break
        found |= dict.fromkeys(mounts)
        # The latest mounts are the outermost at their place.
        if not sum(map(_unmount, reversed(mounts))):
            break
    return tuple(found)


def mounts_below(path: str) -> Iterator[str]:
    """The mounts at or below ``path``, in the order of mounting; empty if the system does not say."""
    wanted = os.fsencode(path)
    try:
        with open("/proc/self/mountinfo", "rb") as file:
            data = file.read()
    except OSError:
        return
    # Nearly always there is none: searching for the name is cheaper than parsing every line.
    if _escaped(wanted) not in data:
        return
    for line in data.splitlines():
        place = _OCTAL.sub(lambda match: bytes([int(match[1], 8)]), line.split(b" ", 5)[4])
        if place == wanted or place.startswith(wanted.rstrip(b"/") + b"/"):
            yield os.fsdecode(place)


def _escaped(path: bytes) -> bytes:
    """A name as mountinfo spells it (seq_path of fs/seq_file.c: these four as octal digits)."""
    return re.sub(rb"[ \t\n\\]", lambda match: b"\\%03o" % match[0][0], path)


def _unmount(path: str) -> bool:
    library = ctypes.CDLL(None, use_errno=True)
    return bool(library.umount2(os.fsencode(path), _MNT_DETACH | _UMOUNT_NOFOLLOW) == 0)


def _held(path: str) -> frozenset[_Identity]:
    """The identities of mounts that could not be detached: a bind mount has the same file system."""
    held = set()
    for one in mounts_below(path):
        with contextlib.suppress(OSError):
            held.add(_identity(os.lstat(one)))
    return frozenset(held)


def _identity(found: os.stat_result) -> _Identity:
    return found.st_dev, found.st_ino


def _remove(name: str, way: tuple[int, ...], found: os.stat_result, held: frozenset[_Identity]) -> bool:
    """Remove the directory ``name``, which is in the last one of ``way``; OSError if something is left.

    Returns True if a part of it was moved to the beginning of ``way``.
    """
    parent = way[-1] if way else None
    if not stat.S_ISDIR(found.st_mode) or _identity(found) in held:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), name)
    if found.st_mode & stat.S_IRWXU != stat.S_IRWXU:
        os.chmod(name, stat.S_IRWXU, dir_fd=parent)
    if len(way) > _DEEPEST:
        os.rename(name, secrets.token_hex(16), src_dir_fd=parent, dst_dir_fd=way[0])
        return True
    fd, moved = os.open(name, _DIRECTORY, dir_fd=parent), False
    try:
        # It must not have been replaced since it was examined.
        if _identity(os.fstat(fd)) == _identity(found):
            moved = _clear((*way, fd), found.st_dev, held)
            while moved and not way:
                moved = _clear((fd,), found.st_dev, held)
    finally:
        os.close(fd)
    # After moving parts away it may be empty, unless something could not be removed.
    with contextlib.suppress(OSError) if moved else contextlib.nullcontext():
        os.rmdir(name, dir_fd=parent)
    return moved


def _clear(way: tuple[int, ...], device: int, held: frozenset[_Identity]) -> bool:
    """Empty the directory at the end of ``way``; return True if something was moved to its beginning."""
    fd, moved = way[-1], False
    with os.scandir(fd) as entries:
        names = sorted((entry.name for entry in entries), key=MARK.__eq__)
    for name in names:
        if name == MARK and os.listdir(fd) != [MARK]:
            continue
        # Whatever fails here, the rest is still removed.
        with contextlib.suppress(OSError):
            found = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if not stat.S_ISDIR(found.st_mode):
                os.unlink(name, dir_fd=fd)
            elif found.st_dev == device:
                moved |= _remove(name, way, found, held)
    return moved
