"""Make this process lack what Python on Windows lacks, as far as that can be shown on Linux.

``hide()`` takes away modules, functions and constants, and makes the functions for files refuse what they
refuse there: directories that are opened, and paths relative to a descriptor. The standard library was
loaded before and works on; what it needs of ``os`` and ``signal`` it keeps. As a script: pytest with these
arguments.
"""

from __future__ import annotations

import asyncio
import concurrent.futures.process
import ctypes
import errno
import functools
import http.server
import io
import mmap
import multiprocessing
import os
import select
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
import types
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from typing import Any

MODULES = {"fcntl", "grp", "pty", "pwd", "resource", "termios", "tty"}

# docs.python.org/3/library/os.html and its neighbours say "Availability: Unix" of each.
_OS = """
    O_CLOEXEC O_DIRECTORY O_DSYNC O_NOCTTY O_NOFOLLOW O_NONBLOCK O_PATH O_SYNC O_TMPFILE P_ALL P_PID
    WEXITED WEXITSTATUS WIFEXITED WIFSIGNALED WIFSTOPPED WNOHANG WNOWAIT WTERMSIG chown chroot confstr
    copy_file_range ctermid environb eventfd fchdir fchmod fchown fdatasync fork forkpty fpathconf
    fstatvfs getegid getenvb geteuid getgid getgroups getloadavg getpgid getpgrp getpriority getresgid
    getresuid getsid getuid initgroups killpg lchown lockf major makedev memfd_create minor mkfifo mknod
    nice openpty pathconf pidfd_open pipe2 posix_fallocate posix_spawn pread preadv pwrite pwritev readv
    register_at_fork removexattr sched_getaffinity sched_setaffinity sched_yield sendfile setpgid
    setresuid setsid setuid setxattr splice statvfs sync sysconf tcgetpgrp ttyname uname wait wait3 wait4
    waitid writev
"""
_SIGNAL = """
    ITIMER_REAL SIG_BLOCK SIG_SETMASK SIG_UNBLOCK alarm getitimer pause pidfd_send_signal pthread_kill
    pthread_sigmask setitimer siginterrupt sigpending sigtimedwait sigwait sigwaitinfo
"""
_SIGNALS = {"SIGABRT", "SIGFPE", "SIGILL", "SIGINT", "SIGSEGV", "SIGTERM", "SIG_DFL", "SIG_IGN"}
_SOCKET = """
    AF_NETLINK AF_PACKET AF_UNIX CMSG_LEN CMSG_SPACE MSG_CMSG_CLOEXEC MSG_DONTWAIT MSG_NOSIGNAL SCM_RIGHTS
    SOCK_CLOEXEC SOCK_NONBLOCK SO_PEERCRED recv_fds send_fds
"""
_TIME = """
    CLOCK_BOOTTIME CLOCK_MONOTONIC CLOCK_MONOTONIC_RAW CLOCK_PROCESS_CPUTIME_ID CLOCK_REALTIME
    CLOCK_THREAD_CPUTIME_ID clock_getres clock_gettime clock_gettime_ns clock_settime
    pthread_getcpuclockid tzset
"""
_ERRNO = """
    EADV EBADE EBADFD EBADR EBADRQC EBADSLT EBFONT ECHRNG ECOMM EDOTDOT EHWPOISON EISNAM EKEYEXPIRED
    EKEYREVOKED EL2HLT EL2NSYNC EL3HLT EL3RST ELIBACC ELIBBAD ELIBEXEC ELIBMAX ELIBSCN ELNRNG EMEDIUMTYPE
    EMULTIHOP ENAVAIL ENOANO ENOCSI ENOKEY ENOMEDIUM ENONET ENOPKG ENOTBLK ENOTNAM ENOTUNIQ EREMCHG
    EREMOTEIO ERESTART ERFKILL ESRMNT ESTRPIPE EUCLEAN EUNATCH EXFULL
"""
_MMAP = (
    "MADV_DONTNEED MADV_HUGEPAGE MAP_ANON MAP_ANONYMOUS MAP_PRIVATE MAP_SHARED PROT_EXEC PROT_READ PROT_WRITE"
)


class Missing:
    """Finds no module of those that are not there."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name in MODULES:
            raise ImportError(f"{name} does not exist on this system")
        return None


def hide() -> None:
    """From here on, in the whole process."""
    # Before: they look at the platform, or read files that are named after it.
    sysconfig.get_config_vars()
    _keep_for(subprocess, os=os, select=select, signal=signal)
    _keep_for(tempfile, _os=os)
    _keep_for(shutil, os=os)
    assert all((asyncio, concurrent.futures.process, http.server, multiprocessing, selectors)), (
        "loaded before"
    )
    sys.meta_path.insert(0, Missing())
    for name in MODULES:
        sys.modules.pop(name, None)
    for module, names in (
        (os, _OS),
        (signal, _SIGNAL),
        (socket, _SOCKET),
        (time, _TIME),
        (errno, _ERRNO),
        (mmap, _MMAP),
        (select, "poll epoll POLLIN POLLOUT POLLERR POLLHUP EPOLLIN"),
    ):
        for name in names.split():
            if hasattr(module, name):
                delattr(module, name)
    for name in [name for name in vars(signal) if name.startswith("SIG") and name.isupper()]:
        if name not in _SIGNALS:
            delattr(signal, name)
    _refuse()
    # pytest asks for it where it is told that this is Windows.
    io._WindowsConsoleIO = type("_WindowsConsoleIO", (), {})  # type: ignore[attr-defined]
    sys.platform = "win32"


def _keep_for(user: types.ModuleType, **modules: types.ModuleType) -> None:
    for name, module in modules.items():
        kept = types.ModuleType(module.__name__)
        kept.__dict__.update(vars(module))
        setattr(user, name, kept)


def _refuse() -> None:
    real_open = os.open
    os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks = set(), set(), set()

    def without_descriptor(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(path: Any = ".", *rest: Any, dir_fd: int | None = None, **more: Any) -> Any:
            if dir_fd is not None or isinstance(path, int):
                raise NotImplementedError(f"{function.__name__}: no descriptors of directories here")
            if function is real_open and os.path.isdir(path):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
            return function(path, *rest, **more)

        return call

    for name in (
        *("chmod", "listdir", "lstat", "mkdir", "open", "readlink", "remove", "rename", "rmdir", "scandir"),
        *("stat", "unlink"),
    ):
        setattr(os, name, without_descriptor(getattr(os, name)))

    class Library(ctypes.CDLL):
        def __init__(self, name: Any, *rest: Any, **more: Any) -> None:
            if name is None:
                raise TypeError("a library has a name on this platform")
            super().__init__(name, *rest, **more)

    ctypes.CDLL = Library  # type: ignore[misc]


if __name__ == "__main__":
    # What belongs to others finds the platform that is there.
    import hypothesis.strategies  # noqa: F401
    import pytest

    hide()
    sys.exit(pytest.main(sys.argv[1:]))
