"""Which process made something, and whether that process is still alive.

Sooner or later a process number is given to another process, and on another kernel it means nothing. So an
owner is identified by three things: the world in which its number counts (one boot of one kernel, one
namespace of processes), the number, and the time at which the process started.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import sys
from dataclasses import dataclass

__all__ = ["Owner", "lives", "this_owner"]


@dataclass(frozen=True)
class Owner:
    """The identity of a process, distinct from that of any other, at any time, on any machine.

    ``world`` is 8 hexadecimal digits; ``started`` is in ticks since boot, or 0 where the system does not
    report it.
    """

    world: str
    pid: int
    started: int

    def __str__(self) -> str:
        # One run of digits of fixed length: a tool that compares the file names of two runs, as the harness
        # does, sees one number that differs, and not several parts, some of which agree by accident.
        return f"{int(self.world, 16):010d}{self.pid:010d}{self.started:015d}"

    @classmethod
    def parse(cls, text: str) -> Owner | None:
        """The owner that ``str`` wrote as ``text``; None if ``str`` cannot have written it."""
        found = re.fullmatch(r"([0-9]{10})([0-9]{10})([0-9]{15})", text)
        return cls(f"{int(found[1]):08x}", int(found[2]), int(found[3])) if found else None


def this_owner() -> Owner:
    """The calling process; in a forked child that is the child."""
    return _owner(os.getpid())


@functools.lru_cache(maxsize=2)  # Keyed by process, since a forked child inherits the cache.
def _owner(pid: int) -> Owner:
    return Owner(_world(), pid, _started(pid) or 0)


def lives(owner: Owner) -> bool | None:
    """Return True if the process still runs; None if it belongs to another world, where we cannot look.

    A process that has ended counts as dead even before its parent has collected it. Where the system does not
    report when a process started, any process with the same number counts as the owner: better to keep what
    belongs to a dead process than to take it from a living one.
    """
    if owner.world != _world():
        return None
    started = _started(owner.pid)
    if started is not None and owner.started:
        return started == owner.started
    return _exists(owner.pid)


@functools.cache
def _world() -> str:
    facts = [sys.platform]
    try:
        # Two containers on one kernel have the same boot, but number their processes separately.
        facts += [_text("/proc/sys/kernel/random/boot_id"), os.readlink("/proc/self/ns/pid")]
    except OSError:
        import platform  # Imports much, and is needed only where there is no /proc.

        facts.append(platform.node())
    # Hashed, since the facts together are too long for a file name.
    return hashlib.sha256("\0".join(facts).encode()).hexdigest()[:8]


def _text(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def _started(pid: int) -> int | None:
    """When a process started, in ticks since boot; -1 if it has ended, None if that cannot be found out.

    The fields are those of proc_pid_stat(5).
    """
    try:
        # The second field is the name, in parentheses, and may hold anything.
        fields = _text(f"/proc/{pid}/stat").rpartition(")")[2].split()
        return -1 if fields[0] in "ZX" else int(fields[19])
    except (OSError, ValueError, IndexError):
        # That does not prove that it has ended: it may be hidden from this user (hidepid).
        return None


def _exists(pid: int) -> bool:
    if sys.platform == "win32":
        return _exists_on_windows(pid)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        pass  # It exists, and belongs to another user.
    return True


def _exists_on_windows(pid: int) -> bool:
    # Not os.kill, which ends the process there, with any signal. 0x1000: PROCESS_QUERY_LIMITED_INFORMATION.
    import ctypes

    kernel = ctypes.windll.kernel32  # type: ignore[attr-defined, unused-ignore]
    handle = kernel.OpenProcess(0x1000, False, pid)
    if not handle:
        return bool(kernel.GetLastError() == 5)  # ERROR_ACCESS_DENIED
    code = ctypes.c_ulong()
    kernel.GetExitCodeProcess(handle, ctypes.byref(code))
    kernel.CloseHandle(handle)
    return code.value == 259  # STILL_ACTIVE
