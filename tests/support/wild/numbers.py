"""The numbers of the calls that programs make.

Calls that the harness watches have theirs from its tables, which a test compares with the kernel's headers.
"""

from __future__ import annotations

import platform

from chaoskit.inject.kernel.domains import SPECS
from chaoskit.inject.kernel.seccomp.syscalls import WATCHED

MACHINE = platform.machine()

_OTHERS: dict[str, tuple[int | None, int | None]] = {
    "lseek": (8, 62),
    "dup": (32, 23),
    "dup2": (33, None),
    "dup3": (292, 24),
    "fcntl": (72, 25),
    "ioctl": (16, 29),
    "close_range": (436, 436),
    "chdir": (80, 49),
    "fchdir": (81, 50),
    "umask": (95, 166),
    "setresuid": (117, 147),
    "setresgid": (119, 149),
    "setfsuid": (122, 151),
    "capset": (126, 91),
    "prctl": (157, 167),
    "prlimit64": (302, 261),
    "landlock_create_ruleset": (444, 444),
    "getxattr": (191, 8),
    "fstat": (5, 80),
    "fstatfs": (138, 44),
    "fadvise64": (221, 223),
    "readahead": (187, 213),
    "tee": (276, 77),
}
"""Calls that no domain wants, by x86-64 and aarch64: ``asm/unistd_64.h`` and ``asm-generic/unistd.h``."""


def _numbers() -> dict[str, int]:
    column = 0 if MACHINE == "x86_64" else 1
    found = {spec.name: spec.number(MACHINE) for spec in (*SPECS, *WATCHED.values())}
    found |= {name: pair[column] for name, pair in _OTHERS.items()}
    return {name: number for name, number in found.items() if number is not None}


NUMBERS = _numbers()
"""Every call that this machine has, by name."""
