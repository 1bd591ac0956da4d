"""Readings of what is used and what is free on the machine, within this process's limits.

Only Linux provides all of them; elsewhere psutil is used if it is installed. A reading that is not available
is None, which must not be treated as plenty or as nothing.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

if sys.platform != "win32":
    # Imported here, not when needed: once no descriptor is left, nothing can be imported.
    import resource

__all__ = [
    "ExistingPlace",
    "Usage",
    "descriptors",
    "device",
    "disk",
    "existing",
    "in_memory",
    "memory",
    "place",
    "processes",
    "resident",
]

_CGROUP = Path("/sys/fs/cgroup")
_ENDLESS = 1 << 60
"""Limits from here on mean "no limit": cgroup 1 writes about 2**63 if none is set."""
_OCTAL = re.compile(r"\\([0-7]{3})")
_BLANKS = re.compile("[ \t]+")


@dataclass(frozen=True, slots=True)
class Usage:
    """What is used and what is free, in bytes or as a number; ``bound`` names the tightest limit."""

    used: int
    free: int
    bound: str = ""


@dataclass(frozen=True, slots=True)
class ExistingPlace:
    """What :func:`existing` has found, and its device: a reading of it does not look for it again."""

    path: Path
    device: int

    def __fspath__(self) -> str:
        return str(self.path)


def place(path: str | os.PathLike[str]) -> ExistingPlace:
    """``path`` if it exists, else the nearest directory above it that does; see :func:`existing`."""
    found = Path(os.path.realpath(path))
    while True:
        try:
            return ExistingPlace(found, found.stat().st_dev)
        except FileNotFoundError:
            if found == found.parent:
                raise
            found = found.parent


def existing(path: str | os.PathLike[str]) -> Path:
    """``path`` if it exists, otherwise the nearest directory above it that does.

    Links are followed, even those whose target does not exist yet. Raises OSError if there is no answer:
    ``path`` is below a file or below a link that leads to itself, or may not be examined. If a forbidden path
    were treated as missing, the answer would be about another file system.
    """
    return path.path if isinstance(path, ExistingPlace) else place(path).path


def disk(path: str | os.PathLike[str]) -> Usage:
    """The bytes that can be written to the file system that holds ``path``, or will hold it.

    Nothing is free if it is read-only, as after a device error, or has no inodes left. Raises OSError if it
    does not answer, and in the same cases as :func:`existing`.
    """
    there = existing(path)
    # Not the free blocks: some are reserved for root (statvfs(3), f_bavail).
    found = shutil.disk_usage(there)
    if sys.platform != "win32":
        told = os.statvfs(there)
        if told.f_flag & os.ST_RDONLY:
            return Usage(found.used, 0, f"{there}, which is read-only")
        # btrfs and others do not count inodes, and report a total of zero as well.
        if told.f_files and not told.f_ffree and not told.f_favail:
            return Usage(found.used, 0, f"the inodes of {there}, which are used up")
    return Usage(found.used, found.free, str(there))


def device(path: str | os.PathLike[str]) -> int:
    """The device number of the file system that holds ``path``, or will hold it."""
    return path.device if isinstance(path, ExistingPlace) else place(path).device


def in_memory(path: str | os.PathLike[str]) -> bool:
    """Return True if writing to ``path`` takes memory: it is on a tmpfs or ramfs."""
    there, best, kind = str(existing(path)), "", ""
    for fields in _lines(Path("/proc/self/mounts")):
        # Characters that would end a field or a line are written in octal (fstab(5)).
        at = _OCTAL.sub(lambda found: chr(int(found[1], 8)), fields[1])
        # The longest matching mount point counts, and among equals the last, which covers the others.
        if (there == at or there.startswith(at.rstrip("/") + "/")) and len(at) >= len(best):
            best, kind = at, fields[2]
    return kind in ("tmpfs", "ramfs")


def memory() -> Usage | None:
    """The bytes that this process may still allocate: the least that machine, cgroups and limits leave."""
    found = [one for one in (_machine(), *_groups(), *_address_space()) if one is not None]
    return min(found, key=lambda one: one.free, default=None)


def resident() -> int | None:
    """The bytes of memory that this process uses (RSS); None if unknown."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return _psutil("memory_info", "rss")


def descriptors() -> Usage | None:
    """The open descriptors, and how many more the soft limit allows."""
    if sys.platform == "win32":
        return None
    for place in ("/proc/self/fd", "/dev/fd"):
        try:
            # Minus the descriptor that lists the directory.
            used = len(os.listdir(place)) - 1
        except OSError as error:
            # ENFILE or EMFILE: no descriptor is left to list the directory, which answers the question.
            if error.errno in (23, 24):
                limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
                return Usage(limit, 0, "RLIMIT_NOFILE")
            continue
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        free = _ENDLESS if limit == resource.RLIM_INFINITY else max(limit - used, 0)
        return Usage(used, free, "RLIMIT_NOFILE")
    return None


def processes() -> Usage | None:
    """The threads and processes that this user may still start: the least that limit and cgroup leave."""
    if sys.platform == "win32":
        return None
    found = [
        Usage(used, max(limit - used, 0), str(path / "pids.max"))
        for path in _own_groups("pids")
        if (limit := _number(path / "pids.max")) is not None
        and (used := _number(path / "pids.current")) is not None
    ]
    limit = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    # The limit does not apply to root (getrlimit(2)), and an infinite one leaves nothing to compute.
    if limit != resource.RLIM_INFINITY and os.geteuid() != 0 and (used := _tasks_of(os.getuid())) is not None:
        found.append(Usage(used, max(limit - used, 0), "RLIMIT_NPROC"))
    return min(found, key=lambda one: one.free, default=None)


def _machine() -> Usage | None:
    known = {line[0].rstrip(":"): int(line[1]) * 1024 for line in _lines(Path("/proc/meminfo"))}
    try:
        free = known["MemAvailable"]
        return Usage(known["MemTotal"] - free, free, "the machine")
    except KeyError:
        free_elsewhere = _psutil_memory()
        return None if free_elsewhere is None else Usage(0, free_elsewhere, "the machine")


def _groups() -> Iterable[Usage]:
    """What the process's control groups and their ancestors leave: any of them may be the tightest."""
    names = (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes"))
    for path in _own_groups("memory"):
        for most, now in names:
            limit, used = _number(path / most), _number(path / now)
            if limit is None or used is None or limit >= _ENDLESS:
                continue
            # Inactive file pages count as used, but the kernel reclaims them first.
            kept = next(
                (int(line[1]) for line in _lines(path / "memory.stat") if line[0].endswith("inactive_file")),
                0,
            )
            used = max(used - kept, 0)
            yield Usage(used, max(limit - used, 0), str(path / most))


def _address_space() -> Iterable[Usage]:
    """What the process's limits on its address space leave."""
    if sys.platform == "win32":
        return
    try:
        sizes = Path("/proc/self/statm").read_text().split()
    except OSError:
        return
    page = os.sysconf("SC_PAGE_SIZE")
    for name, used in (("RLIMIT_AS", int(sizes[0])), ("RLIMIT_DATA", int(sizes[5]))):
        limit = resource.getrlimit(getattr(resource, name))[0]
        if limit != resource.RLIM_INFINITY:
            yield Usage(used * page, max(limit - used * page, 0), name)


def _own_groups(controller: str) -> list[Path]:
    """The control groups of this process as directories, from its own up to the mounted root."""
    found: list[Path] = []
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return found
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = _CGROUP / controllers if controllers else _CGROUP
        own = root / path.lstrip("/")
        # In a container the path is often that on the host, and only the root exists.
        found += [one for one in (own, *own.parents) if one.is_relative_to(root) and one.is_dir()]
    return found


def _tasks_of(user: int) -> int | None:
    """The number of threads in all processes of a user, which is what RLIMIT_NPROC limits."""
    count = 0
    try:
        for one in os.scandir("/proc"):
            if not one.name.isdigit():
                continue
            try:
                if one.stat().st_uid == user:
                    count += len(os.listdir(f"/proc/{one.name}/task"))
            except OSError:
                continue  # The process has exited since it was listed.
    except OSError:
        return None
    return count


def _lines(path: Path) -> list[list[str]]:
    """The words of each line of a kernel file; empty if the file does not exist."""
    try:
        text = path.read_text(errors="surrogateescape")
    except OSError:
        return []
    # Plain split() would also split at unusual white space and line ends inside a mount's name.
    found = (line.strip(" \t") for line in text.split("\n"))
    return [_BLANKS.split(line) for line in found if line]


def _number(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _psutil(method: str, field: str) -> int | None:
    try:
        import psutil

        return int(getattr(getattr(psutil.Process(), method)(), field))
    # psutil is not installed, or cannot be imported or asked, for example since no descriptor is left.
    except (ImportError, OSError):
        return None


def _psutil_memory() -> int | None:
    try:
        import psutil

        return int(psutil.virtual_memory().available)
    except (ImportError, OSError):
        return None
