"""Which process made something, and whether that process still lives.

A process number alone is given to another process sooner or later, and means nothing beside another
kernel. So an owner is three things: the world in which its number counts (one boot of one kernel, one
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
    """A process, told apart from every other one, at any time, on any machine.

    ``world`` is 8 hexadecimal digits; ``started`` is in ticks since boot, or 0 where the system does not
    say.
    """

    world: str
    pid: int
    started: int

    def __str__(self) -> str:
        # One run of decimal digits of one length: whatever compares the names of two processes sees one
        # number that differs, and not several parts that agree by accident.
        return f"{int(self.world, 16):010d}{self.pid:010d}{self.started:015d}"

    @classmethod
    def parse(cls, text: str) -> Owner | None:
        """The owner that ``str`` has written; None if the text is nothing of the kind."""
        found = re.fullmatch(r"([0-9]{10})([0-9]{10})([0-9]{15})", text)
        return cls(f"{int(found[1]):08x}", int(found[2]), int(found[3])) if found else None


def this_owner() -> Owner:
    """The calling process; in a forked child that is the child."""
    return _owner(os.getpid())


@functools.lru_cache(maxsize=2)  # By number, since a fork carries the cache along.
def _owner(pid: int) -> Owner:
    return Owner(_world(), pid, _started(pid) or 0)


def lives(owner: Owner) -> bool | None:
    """Say whether the process still runs; None for one of another world, which cannot be asked from here.

    A process that has ended counts as dead even before its parent has collected it. Where the system does not
    tell when a process started, one with the same number counts as the same: so nothing is taken from the
    living.
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
        # Two containers on one kernel share the boot, not the numbers of their processes.
        facts += [_text("/proc/sys/kernel/random/boot_id"), os.readlink("/proc/self/ns/pid")]
    except OSError:
        import platform  # Loads much, and is needed only where there is no /proc.

        facts.append(platform.node())
    return hashlib.sha256("\0".join(facts).encode()).hexdigest()[:8]


def _text(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def _started(pid: int) -> int | None:
    """When a process started; -1 if it has ended, None if there is no telling. proc_pid_stat(5)."""
    try:
        # The second field is the name, in parentheses, and may hold anything.
        fields = _text(f"/proc/{pid}/stat").rpartition(")")[2].split()
        return -1 if fields[0] in "ZX" else int(fields[19])
    except (OSError, ValueError, IndexError):
        # It may be hidden from this user (hidepid), so this proves nothing.
        return None


def _exists(pid: int) -> bool:
    if sys.platform == "win32":
        return _exists_on_windows(pid)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        pass  # It is there, and another user's.
    return True


def _exists_on_windows(pid: int) -> bool:
    # os.kill would end it there, with any signal. OpenProcess: PROCESS_QUERY_LIMITED_INFORMATION.
    import ctypes

    kernel = ctypes.windll.kernel32  # type: ignore[attr-defined, unused-ignore]
    handle = kernel.OpenProcess(0x1000, False, pid)
    if not handle:
        return bool(kernel.GetLastError() == 5)  # ERROR_ACCESS_DENIED
    code = ctypes.c_ulong()
    kernel.GetExitCodeProcess(handle, ctypes.byref(code))
    kernel.CloseHandle(handle)
    return code.value == 259  # STILL_ACTIVE
