"""The system calls that are watched: their numbers, and what their arguments mean.

Numbers: ``asm/unistd_64.h`` for x86-64, ``asm-generic/unistd.h`` for aarch64; a test compares them
with the kernel headers of the machine. Meanings: section 2 of the Linux manual pages.
"""

from __future__ import annotations

from dataclasses import dataclass

from chaoskit.inject.kernel.seccomp import abi

Families = frozenset[str] | None
"""A choice of families of calls, by their names in :class:`Spec`; None for all."""
CSTRING = -1
"""Size of a pointer argument that is a string ending in NUL."""


@dataclass(frozen=True, slots=True)
class Spec:
    """What the arguments of one system call are; every field but ``family`` is an argument's index.

    ``path`` and ``second`` are names, looked up from the descriptors ``base`` and ``second_base``
    (None: the working directory). ``fd`` is the file acted on, ``other`` a second descriptor.
    ``buffer`` with ``count`` (or ``vector`` with ``count`` entries) holds data, ``offset`` is a file
    position. ``pointers`` lists further arguments that point to memory: (index, size in bytes),
    where the size may be :data:`CSTRING` or minus (2 + the index of the argument that holds it).
    ``follow`` tells whether a symbolic link as the last part of ``path`` is followed.
    """

    name: str
    family: str
    x86_64: int | None
    aarch64: int | None
    fd: int | None = None
    other: int | None = None
    base: int | None = None
    path: int | None = None
    second_base: int | None = None
    second: int | None = None
    flags: int | None = None
    mode: int | None = None
    buffer: int | None = None
    vector: int | None = None
    count: int | None = None
    offset: int | None = None
    pointers: tuple[tuple[int, int], ...] = ()
    follow: bool = False

    def number(self, machine: str) -> int | None:
        """The call's number on ``machine``; None where the call does not exist."""
        return {"x86_64": self.x86_64, "aarch64": self.aarch64}.get(machine)


def _sized_by(index: int) -> int:
    return -2 - index


SPECS: tuple[Spec, ...] = (
    Spec("open", "open", 2, None, path=0, flags=1, mode=2, follow=True),
    Spec("creat", "open", 85, None, path=0, mode=1, follow=True),
    Spec("openat", "open", 257, 56, base=0, path=1, flags=2, mode=3, follow=True),
    Spec("openat2", "open", 437, 437, base=0, path=1, pointers=((2, _sized_by(3)),), follow=True),
    Spec("read", "read", 0, 63, fd=0, buffer=1, count=2),
    Spec("pread64", "read", 17, 67, fd=0, buffer=1, count=2, offset=3),
    Spec("readv", "read", 19, 65, fd=0, vector=1, count=2),
    Spec("preadv", "read", 295, 69, fd=0, vector=1, count=2, offset=3),
    Spec("preadv2", "read", 327, 286, fd=0, vector=1, count=2, offset=3, flags=5),
    Spec("write", "write", 1, 64, fd=0, buffer=1, count=2),
    Spec("pwrite64", "write", 18, 68, fd=0, buffer=1, count=2, offset=3),
    Spec("writev", "write", 20, 66, fd=0, vector=1, count=2),
    Spec("pwritev", "write", 296, 70, fd=0, vector=1, count=2, offset=3),
    Spec("pwritev2", "write", 328, 287, fd=0, vector=1, count=2, offset=3, flags=5),
    Spec("fsync", "fsync", 74, 82, fd=0),
    Spec("fdatasync", "fdatasync", 75, 83, fd=0),
    Spec("sync_file_range", "sync_file_range", 277, 84, fd=0, offset=1, count=2, flags=3),
    Spec("sync", "sync", 162, 81),
    Spec("syncfs", "syncfs", 306, 267, fd=0),
    Spec("close", "close", 3, 57, fd=0),
    Spec("close_range", "close_range", 436, 436),
    Spec("rename", "rename", 82, None, path=0, second=1),
    Spec("renameat", "rename", 264, 38, base=0, path=1, second_base=2, second=3),
    Spec("renameat2", "rename", 316, 276, base=0, path=1, second_base=2, second=3, flags=4),
    Spec("link", "link", 86, None, path=0, second=1),
    Spec("linkat", "link", 265, 37, base=0, path=1, second_base=2, second=3, flags=4),
    Spec("symlink", "symlink", 88, None, path=1, pointers=((0, CSTRING),)),
    Spec("symlinkat", "symlink", 266, 36, base=1, path=2, pointers=((0, CSTRING),)),
    Spec("unlink", "unlink", 87, None, path=0),
    Spec("unlinkat", "unlink", 263, 35, base=0, path=1, flags=2),
    Spec("rmdir", "rmdir", 84, None, path=0),
    Spec("mkdir", "mkdir", 83, None, path=0, mode=1),
    Spec("mkdirat", "mkdir", 258, 34, base=0, path=1, mode=2),
    Spec("mknod", "mknod", 133, None, path=0, mode=1),
    Spec("mknodat", "mknod", 259, 33, base=0, path=1, mode=2),
    Spec("truncate", "truncate", 76, 45, path=0, count=1, follow=True),
    Spec("ftruncate", "truncate", 77, 46, fd=0, count=1),
    Spec("fallocate", "fallocate", 285, 47, fd=0, mode=1, offset=2, count=3),
    Spec("copy_file_range", "copy_file_range", 326, 285, fd=2, other=0, count=4, flags=5),
    Spec("sendfile", "sendfile", 40, 71, fd=0, other=1, count=3),
    Spec("splice", "splice", 275, 76, fd=2, other=0, count=4, flags=5),
    Spec("ioctl", "clone", 16, 29, fd=0),
    Spec("chmod", "chmod", 90, None, path=0, mode=1, follow=True),
    Spec("fchmod", "chmod", 91, 52, fd=0, mode=1),
    Spec("fchmodat", "chmod", 268, 53, base=0, path=1, mode=2, follow=True),
    Spec("fchmodat2", "chmod", 452, 452, base=0, path=1, mode=2, flags=3, follow=True),
    Spec("chown", "chown", 92, None, path=0, follow=True),
    Spec("lchown", "chown", 94, None, path=0),
    Spec("fchown", "chown", 93, 55, fd=0),
    Spec("fchownat", "chown", 260, 54, base=0, path=1, flags=4, follow=True),
    Spec("utime", "utimens", 132, None, path=0, pointers=((1, 16),), follow=True),
    Spec("utimes", "utimens", 235, None, path=0, pointers=((1, 32),), follow=True),
    Spec("futimesat", "utimens", 261, None, base=0, path=1, pointers=((2, 32),), follow=True),
    Spec("utimensat", "utimens", 280, 88, base=0, path=1, flags=3, pointers=((2, 32),), follow=True),
    Spec("setxattr", "setxattr", 188, 5, path=0, pointers=((1, CSTRING), (2, _sized_by(3))), follow=True),
    Spec("lsetxattr", "setxattr", 189, 6, path=0, pointers=((1, CSTRING), (2, _sized_by(3)))),
    Spec("fsetxattr", "setxattr", 190, 7, fd=0, pointers=((1, CSTRING), (2, _sized_by(3)))),
    Spec("removexattr", "removexattr", 197, 14, path=0, pointers=((1, CSTRING),), follow=True),
    Spec("lremovexattr", "removexattr", 198, 15, path=0, pointers=((1, CSTRING),)),
    Spec("fremovexattr", "removexattr", 199, 16, fd=0, pointers=((1, CSTRING),)),
    Spec("flock", "lock", 73, 32, fd=0, flags=1),
    Spec("fcntl", "lock", 72, 25, fd=0, flags=1),
    Spec("mmap", "mmap", 9, 222, fd=4, count=1, offset=5, flags=3),
    Spec("msync", "msync", 26, 227, count=1, flags=2),
    Spec("getdents", "getdents", 78, None, fd=0, buffer=1, count=2),
    Spec("getdents64", "getdents", 217, 61, fd=0, buffer=1, count=2),
)
"""Every call that can be a fault point."""

WATCHED: dict[str, tuple[int | None, int | None]] = {
    "execve": (59, 221),
    "execveat": (322, 281),
    "seccomp": (317, 277),
    "prctl": (157, 167),
    "io_uring_setup": (425, 425),
    "io_submit": (209, 2),
    "chroot": (161, 51),
    "pivot_root": (155, 41),
    "unshare": (272, 97),
    "setns": (308, 268),
    "open_by_handle_at": (304, 265),
    "mprotect": (10, 226),
    "setsid": (112, 157),
    "setxattrat": (463, 463),
    "removexattrat": (466, 466),
    "file_setattr": (469, 469),
}
"""Calls that are no fault points but change what can be seen."""

ELSEWHERE = frozenset({"chroot", "pivot_root", "unshare", "setns"})
"""Those of :data:`WATCHED` after which a name may mean another file to the caller than to us."""
UNKNOWN_TO_US = frozenset({"setxattrat", "removexattrat", "file_setattr"})
"""Those of :data:`WATCHED` that are so new that every program must cope without them."""

OTHERS: dict[str, tuple[int, int]] = {"pidfd_getfd": (438, 438)}
"""Calls that the supervisor makes for itself and Python does not offer."""

STATE_CHANGING = frozenset(
    {
        *("write", "rename", "link", "symlink", "unlink", "rmdir", "mkdir", "mknod", "truncate", "fallocate"),
        *("copy_file_range", "sendfile", "splice", "clone", "chmod", "chown", "utimens", "setxattr"),
        *("removexattr", "fsync", "fdatasync", "sync_file_range", "sync", "syncfs", "msync"),
    }
)
"""Families after which the disk, or what of it is durable, may differ. ``open`` belongs to them
when it creates or truncates."""

_F_LOCKS = (6, 7, 37, 38)
"""F_SETLK, F_SETLKW, F_OFD_SETLK, F_OFD_SETLKW."""

CONDITIONS: dict[str, tuple[tuple[int, str, tuple[int, ...]], ...]] = {
    "fcntl": ((1, "any", _F_LOCKS),),
    "ioctl": ((1, "any", (abi.FICLONE, abi.FICLONERANGE)),),
    "prctl": ((0, "any", (abi.PR_SET_SECCOMP,)),),
    "mmap": ((3, "bits", (1,)),),
    "mprotect": ((2, "bits", (2,)),),
}
"""Calls that are only of interest with certain arguments: all rows must hold. ``any``: the argument
is one of the values; ``bits``: it has all these bits (MAP_SHARED; PROT_WRITE)."""


def by_number(machine: str) -> dict[int, Spec]:
    """The fault points of ``machine``, by system-call number."""
    table = {}
    for spec in SPECS:
        number = spec.number(machine)
        if number is not None:
            table[number] = spec
    return table


def watched(machine: str) -> dict[int, str]:
    """The calls of :data:`WATCHED` on ``machine``, by number."""
    column = 0 if machine == "x86_64" else 1
    return {row[column]: name for name, row in WATCHED.items() if row[column] is not None}  # type: ignore[misc]


def number_of(name: str, machine: str) -> int:
    """The number of one of :data:`OTHERS`."""
    return OTHERS[name][0 if machine == "x86_64" else 1]
