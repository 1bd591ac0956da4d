"""The system calls on files: their numbers, and what their arguments mean.

Numbers: ``asm/unistd_64.h`` for x86-64, ``asm-generic/unistd.h`` for aarch64; a test compares them
with the kernel headers of the machine. Meanings: section 2 of the Linux manual pages.
"""

from __future__ import annotations

from dataclasses import dataclass

from chaoskit.inject.kernel.seccomp import abi
from chaoskit.inject.kernel.seccomp.syscalls import Condition, Spec

CSTRING = -1
"""Size of a pointer argument that is a string ending in NUL."""


@dataclass(frozen=True, slots=True)
class FileSpec(Spec):
    """What the arguments of one call are. Every field that this class adds is the index of an argument.

    ``path`` and ``second`` are names, looked up from the descriptors ``base`` and ``second_base``
    (None: the working directory). ``fd`` is the file acted on, ``other`` a second descriptor.
    ``buffer`` with ``count`` (or ``vector`` with ``count`` entries) holds data, ``offset`` is a file
    position. ``pointers`` lists further arguments that point to memory: (index, size in bytes),
    where the size may be :data:`CSTRING` or minus (2 + the index of the argument that holds it).
    ``text`` is a string to remember: the content of a link, the name of an attribute.
    ``follow`` is true if a symbolic link as the last part of ``path`` is followed.
    """

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
    text: int | None = None
    pointers: tuple[tuple[int, int], ...] = ()
    follow: bool = False


# F_SETLK, F_SETLKW, F_OFD_SETLK, F_OFD_SETLKW: fcntl(2)
_LOCKS: Condition = (1, "any", (6, 7, 37, 38))
_CLONES: Condition = (1, "any", (abi.FICLONE, abi.FICLONERANGE))
_SHARED: Condition = (3, "bits", (1,))  # MAP_SHARED: a private mapping never reaches its file
_WRITABLE: Condition = (2, "bits", (2,))  # PROT_WRITE


def _sized_by(index: int) -> int:
    return -2 - index


SPECS: tuple[FileSpec, ...] = (
    FileSpec("open", "open", 2, None, path=0, flags=1, mode=2, follow=True),
    FileSpec("creat", "open", 85, None, path=0, mode=1, follow=True),
    FileSpec("openat", "open", 257, 56, base=0, path=1, flags=2, mode=3, follow=True),
    FileSpec("openat2", "open", 437, 437, base=0, path=1, pointers=((2, _sized_by(3)),), follow=True),
    FileSpec("read", "read", 0, 63, fd=0, buffer=1, count=2),
    FileSpec("pread64", "read", 17, 67, fd=0, buffer=1, count=2, offset=3),
    FileSpec("readv", "read", 19, 65, fd=0, vector=1, count=2),
    FileSpec("preadv", "read", 295, 69, fd=0, vector=1, count=2, offset=3),
    FileSpec("preadv2", "read", 327, 286, fd=0, vector=1, count=2, offset=3, flags=5),
    FileSpec("write", "write", 1, 64, fd=0, buffer=1, count=2),
    FileSpec("pwrite64", "write", 18, 68, fd=0, buffer=1, count=2, offset=3),
    FileSpec("writev", "write", 20, 66, fd=0, vector=1, count=2),
    FileSpec("pwritev", "write", 296, 70, fd=0, vector=1, count=2, offset=3),
    FileSpec("pwritev2", "write", 328, 287, fd=0, vector=1, count=2, offset=3, flags=5),
    FileSpec("fsync", "fsync", 74, 82, fd=0),
    FileSpec("fdatasync", "fdatasync", 75, 83, fd=0),
    FileSpec("sync_file_range", "sync_file_range", 277, 84, fd=0, offset=1, count=2, flags=3),
    FileSpec("sync", "sync", 162, 81),
    FileSpec("syncfs", "syncfs", 306, 267, fd=0),
    # Not close_range: it reports no late error (close_range(2)), so there is nothing to strike.
    FileSpec("close", "close", 3, 57, fd=0),
    FileSpec("rename", "rename", 82, None, path=0, second=1),
    FileSpec("renameat", "rename", 264, 38, base=0, path=1, second_base=2, second=3),
    FileSpec("renameat2", "rename", 316, 276, base=0, path=1, second_base=2, second=3, flags=4),
    FileSpec("link", "link", 86, None, path=0, second=1),
    FileSpec("linkat", "link", 265, 37, base=0, path=1, second_base=2, second=3, flags=4),
    FileSpec("symlink", "symlink", 88, None, path=1, text=0, pointers=((0, CSTRING),)),
    FileSpec("symlinkat", "symlink", 266, 36, base=1, path=2, text=0, pointers=((0, CSTRING),)),
    FileSpec("unlink", "unlink", 87, None, path=0),
    FileSpec("unlinkat", "unlink", 263, 35, base=0, path=1, flags=2),
    FileSpec("rmdir", "rmdir", 84, None, path=0),
    FileSpec("mkdir", "mkdir", 83, None, path=0, mode=1),
    FileSpec("mkdirat", "mkdir", 258, 34, base=0, path=1, mode=2),
    FileSpec("mknod", "mknod", 133, None, path=0, mode=1),
    FileSpec("mknodat", "mknod", 259, 33, base=0, path=1, mode=2),
    FileSpec("truncate", "truncate", 76, 45, path=0, count=1, follow=True),
    FileSpec("ftruncate", "truncate", 77, 46, fd=0, count=1),
    FileSpec("fallocate", "fallocate", 285, 47, fd=0, mode=1, offset=2, count=3),
    FileSpec("copy_file_range", "copy_file_range", 326, 285, fd=2, other=0, count=4, flags=5),
    FileSpec("sendfile", "sendfile", 40, 71, fd=0, other=1, count=3),
    FileSpec("splice", "splice", 275, 76, fd=2, other=0, count=4, flags=5),
    FileSpec("ioctl", "clone", 16, 29, (_CLONES,), fd=0),
    FileSpec("chmod", "chmod", 90, None, path=0, mode=1, follow=True),
    FileSpec("fchmod", "chmod", 91, 52, fd=0, mode=1),
    FileSpec("fchmodat", "chmod", 268, 53, base=0, path=1, mode=2, follow=True),
    FileSpec("fchmodat2", "chmod", 452, 452, base=0, path=1, mode=2, flags=3, follow=True),
    FileSpec("chown", "chown", 92, None, path=0, follow=True),
    FileSpec("lchown", "chown", 94, None, path=0),
    FileSpec("fchown", "chown", 93, 55, fd=0),
    FileSpec("fchownat", "chown", 260, 54, base=0, path=1, flags=4, follow=True),
    FileSpec("utime", "utimens", 132, None, path=0, pointers=((1, 16),), follow=True),
    FileSpec("utimes", "utimens", 235, None, path=0, pointers=((1, 32),), follow=True),
    FileSpec("futimesat", "utimens", 261, None, base=0, path=1, pointers=((2, 32),), follow=True),
    FileSpec("utimensat", "utimens", 280, 88, base=0, path=1, flags=3, pointers=((2, 32),), follow=True),
    FileSpec(
        "setxattr",
        "setxattr",
        188,
        5,
        path=0,
        text=1,
        pointers=((1, CSTRING), (2, _sized_by(3))),
        follow=True,
    ),
    FileSpec("lsetxattr", "setxattr", 189, 6, path=0, text=1, pointers=((1, CSTRING), (2, _sized_by(3)))),
    FileSpec("fsetxattr", "setxattr", 190, 7, fd=0, text=1, pointers=((1, CSTRING), (2, _sized_by(3)))),
    FileSpec("removexattr", "removexattr", 197, 14, path=0, text=1, pointers=((1, CSTRING),), follow=True),
    FileSpec("lremovexattr", "removexattr", 198, 15, path=0, text=1, pointers=((1, CSTRING),)),
    FileSpec("fremovexattr", "removexattr", 199, 16, fd=0, text=1, pointers=((1, CSTRING),)),
    FileSpec("flock", "lock", 73, 32, fd=0, flags=1),
    FileSpec("fcntl", "lock", 72, 25, (_LOCKS,), fd=0, flags=1),
    FileSpec("mmap", "mmap", 9, 222, (_SHARED,), fd=4, count=1, offset=5, flags=3),
    # Not an operation, since the mapping was one; but from here on stores into it are possible.
    FileSpec("mprotect", "mmap", 10, 226, (_WRITABLE,)),
    FileSpec("msync", "msync", 26, 227, count=1, flags=2),
    FileSpec("getdents", "getdents", 78, None, fd=0, buffer=1, count=2),
    FileSpec("getdents64", "getdents", 217, 61, fd=0, buffer=1, count=2),
)
"""Every call that acts on files, with its numbers."""
