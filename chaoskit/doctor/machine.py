"""The machine: system, Python, restrictions by containers and security modules, and room for scenarios."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from chaoskit.core.machine import MEMORY, SMALL, filesystem_of, usable_processors
from chaoskit.doctor.diagnosis import Item, Status

MACHINE = "machine"
PLACES = "room for scenarios"
EXTRAS = "extras"

_FEW_FILES = 10_000
"""Free inodes below which a place counts as degraded: workers make a directory for each case."""

_LOWER = "sysctl kernel.yama.ptrace_scope=1, or run as root."
_YAMA: dict[str, tuple[Status, str, str]] = {
    "0": ("ok", "0: no restriction", ""),
    "1": ("ok", "1: own children may be watched, which is enough", ""),
    "2": ("no", "2: only an administrator may watch processes", _LOWER),
    "3": ("no", "3: no process may watch another", "Set it to 1 and restart; it cannot be lowered from 3."),
}


def machine() -> Iterator[Item]:
    """System, Python, and what restricts this process."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    cpython = sys.implementation.name == "cpython"
    yield Item(
        MACHINE,
        "Python",
        "ok" if cpython else "degraded",
        python,
        "" if cpython else "Only CPython is tested; on others calls are seen without their Python lines.",
    )
    yield Item(MACHINE, "system", "ok", f"{platform.system()} {platform.release()}, {platform.machine()}")
    yield Item(MACHINE, "processors", "ok", f"{usable_processors()} usable")
    if not hasattr(os, "geteuid"):
        user = "no notion of root here"
    else:
        user = "root (which is not needed)" if os.geteuid() == 0 else f"uid {os.geteuid()}, no root needed"
    yield Item(MACHINE, "user", "ok", user)
    if sys.platform == "linux":
        yield filters()
        yield yama()


def filters(status: Path = Path("/proc/self/status")) -> Item:
    """The seccomp filters that are in force for this process, as in most containers."""
    fields = dict(line.split(":", 1) for line in _read(status).splitlines() if ":" in line)
    mode = fields.get("Seccomp", "").strip()
    if not mode:
        hint = "The kernel needs CONFIG_SECCOMP_FILTER."
        return Item(MACHINE, "seccomp", "no", "the kernel does not know it", hint, needed=True)
    if mode == "0":
        return Item(MACHINE, "seccomp", "ok", "known, and no filter is in force here")
    # Linux reports the number since 5.9.
    count = fields.get("Seccomp_filters", "").strip() or "at least one"
    detail = f"{count} filter(s) in force already, from a container or a sandbox"
    return Item(MACHINE, "seccomp", "ok", f"{detail}; the trials below show whether that hurts")


def yama(scope: Path = Path("/proc/sys/kernel/yama/ptrace_scope")) -> Item:
    """What the Yama security module allows one process to see of another
    (Documentation/admin-guide/LSM/Yama).
    """
    value = _read(scope).strip()
    if not value:
        return Item(MACHINE, "Yama", "ok", "not active")
    status, detail, hint = _YAMA.get(value, ("degraded", f"{value}: unknown", "Expected 0 to 3."))
    # Not needed: the trials decide, since a capability may outweigh the scope.
    if value == "2" and hasattr(os, "geteuid") and os.geteuid() == 0:
        return Item(MACHINE, "Yama", "ok", f"{detail}, and this is root")
    return Item(MACHINE, "Yama", status, f"ptrace_scope is {detail}", hint)


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""


def places() -> Iterator[Item]:
    """The places for scenarios' directories."""
    yield room("temporary files", Path(tempfile.gettempdir()))
    if MEMORY.is_dir() and os.access(MEMORY, os.W_OK):
        yield room("/dev/shm", MEMORY)
    elif sys.platform == "linux":
        hint = "Not needed; scenarios that sync run faster there (ini key chaoskit_tmp)."
        # Docker gives it 64 MiB and some sandboxes none.
        yield Item(PLACES, "/dev/shm", "degraded", "not there, or not writable", hint)


def room(name: str, place: Path) -> Item:
    """How much space ``place`` has."""
    try:
        numbers = os.statvfs(place)
    except (AttributeError, OSError) as error:
        return Item(
            PLACES, name, "degraded", f"{place}: {error}", "Set TMPDIR to a directory that can be written."
        )
    # Not f_bfree: some blocks are reserved for root.
    free = numbers.f_bavail * numbers.f_frsize
    kind = filesystem_of(place)
    detail = f"{place}{f' ({kind})' if kind else ''}, {size(free)} free"
    if free < SMALL:
        hint = f"Below {size(SMALL)} a real ENOSPC may come between; set TMPDIR or the ini key chaoskit_tmp."
        return Item(PLACES, name, "degraded", detail, hint)
    # btrfs and some others have no fixed number of inodes and say 0.
    if numbers.f_files and numbers.f_favail < _FEW_FILES:
        return Item(
            PLACES, name, "degraded", f"{detail}, {numbers.f_favail:,} inodes free", "Free some inodes."
        )
    return Item(PLACES, name, "ok", detail)


def size(number: int) -> str:
    """Bytes as people write them: ``23.5 GiB``."""
    value = float(number)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


_OPTIONAL = {
    "pytest": "the plugin: scenarios as tests",
    "pytest-xdist": "test items in parallel (chaoskit's own workers need nothing)",
    "hypothesis": "chaoskit.contracts and chaoskit.strategies",
    "PyYAML": "configuration of the runtime as YAML",
    "opentelemetry-api": "traces and metrics of the runtime",
}


def extras() -> Iterator[Item]:
    """Optional packages and what they are for."""
    for name, purpose in _OPTIONAL.items():
        try:
            yield Item(EXTRAS, name, "ok", f"{metadata.version(name)}; {purpose}")
        except metadata.PackageNotFoundError:
            yield Item(EXTRAS, name, "degraded", f"not installed; {purpose}", f"pip install {name}")
