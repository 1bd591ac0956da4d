"""The parts of the kernel's binary interface that this backend uses.

Numbers and layouts: ``linux/seccomp.h``, ``linux/filter.h``, ``linux/prctl.h``, ``linux/audit.h``,
``asm-generic/ioctl.h``; seccomp(2), seccomp_unotify(2), pidfd_getfd(2), prctl(2).
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from functools import cache

PR_SET_PDEATHSIG = 1
PR_GET_DUMPABLE = 3
PR_SET_DUMPABLE = 4
PR_SET_SECCOMP = 22
PR_SET_CHILD_SUBREAPER = 36
PR_GET_CHILD_SUBREAPER = 37
PR_SET_NO_NEW_PRIVS = 38

SECCOMP_SET_MODE_FILTER = 1
SECCOMP_GET_ACTION_AVAIL = 2
SECCOMP_GET_NOTIF_SIZES = 3
SECCOMP_FILTER_FLAG_NEW_LISTENER = 1 << 3
SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV = 1 << 5
SECCOMP_RET_USER_NOTIF = 0x7FC00000
SECCOMP_RET_ALLOW = 0x7FFF0000

# Fixed sizes: the kernel has never extended them, and would report that through SECCOMP_GET_NOTIF_SIZES.
NOTIF = struct.Struct("=QIIiIQ6Q")
"""``struct seccomp_notif``: id, pid, flags, nr, arch, instruction pointer, six arguments."""
NO_NOTIF = bytes(NOTIF.size)
"""What a buffer for a notification must contain."""
ANSWER = struct.Struct("=QqiI")
"""``struct seccomp_notif_resp``: id, value, error (minus errno), flags."""
ADDFD = struct.Struct("=QIIII")
"""``struct seccomp_notif_addfd``: id, flags, source fd, new fd, flags of the new fd."""
FLAG_CONTINUE = 1
ADDFD_FLAG_SETFD = 1
ADDFD_FLAG_SEND = 2
FD_SYNC_WAKE_UP = 1

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
X32_BIT = 0x40000000

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_SYMLINK_NOFOLLOW = 0x100
AT_SYMLINK_FOLLOW = 0x400
AT_REMOVEDIR = 0x200


def _ioc(direction: int, number: int, size: int) -> int:
    return direction << 30 | size << 16 | ord("!") << 8 | number


IOCTL_RECV = _ioc(3, 0, NOTIF.size)
IOCTL_SEND = _ioc(3, 1, ANSWER.size)
IOCTL_ID_VALID = _ioc(1, 2, 8)
IOCTL_ADDFD = _ioc(1, 3, ADDFD.size)
IOCTL_SET_FLAGS = _ioc(1, 4, 8)

MSG_PROBE = 0x10
"""From linux/socket.h. Internet protocols send nothing with it; local sockets ignore it."""

FICLONE = 0x40049409
FICLONERANGE = 0x4020940D


class _Libc:
    """The C functions that we need, looked up once at their first use."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None, use_errno=True)
        self._library.syscall.restype = ctypes.c_long
        self.process_vm_readv = self._library.process_vm_readv
        self.process_vm_readv.restype = ctypes.c_ssize_t
        self.process_vm_writev = self._library.process_vm_writev
        self.process_vm_writev.restype = ctypes.c_ssize_t
        # Without conversions, each of which would cost page faults after a fork.
        self.syscall_raw = self._library.syscall

    def syscall(self, number: int, *args: int | ctypes.Array[ctypes.c_char]) -> int:
        """Make a system call; return its result or minus the errno."""
        result = int(self.syscall_raw(ctypes.c_long(number), *map(_word, args)))
        return -ctypes.get_errno() if result == -1 else result

    def prctl(self, option: int, *args: int | ctypes.Array[ctypes.c_char]) -> int:
        """prctl(2); return its result or minus the errno."""
        # Unused arguments of prctl must be zero, else newer kernels refuse the call.
        padded = (*args, 0, 0, 0, 0)[:4]
        result = int(self._library.prctl(ctypes.c_int(option), *map(_word, padded)))
        return -ctypes.get_errno() if result == -1 else result


def _word(value: int | ctypes.Array[ctypes.c_char]) -> object:
    return ctypes.c_ulong(value & 0xFFFFFFFFFFFFFFFF) if isinstance(value, int) else value


_libc: _Libc | None = None


def libc() -> _Libc:
    """The C library of this process."""
    global _libc
    if _libc is None:
        _libc = _Libc()
    return _libc


@cache
def machine() -> str:
    """The architecture that this interpreter is built for: ``x86_64``, ``aarch64`` or another name."""
    name = os.uname().machine
    # A 32-bit interpreter on a 64-bit kernel makes different calls.
    if name == "x86_64" and sys.maxsize < 2**32:
        return "i386"
    return {"arm64": "aarch64"}.get(name, name)


def signed(word: int) -> int:
    """The C ``int`` in the low half of an argument."""
    word &= 0xFFFFFFFF
    return word - (1 << 32) if word >> 31 else word
