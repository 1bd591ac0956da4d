"""Makes the kernel of this machine fail calls, to hold the table of errnos against reality.

Run as a program, it provokes each failure and prints what came, as JSON: name -> errno name, or
``skipped: reason``. It mounts, sets limits and changes its user, so it belongs into a process and a
mount namespace of its own (``unshare --mount``, with ``--map-root-user`` for ordinary users).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import resource
import signal
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from chaoskit.core.operation import FileDetail, Operation

LIBC = ctypes.CDLL(None, use_errno=True)
NOBODY = 65534
FICLONE = 0x40049409
FS_IOC_SETFLAGS, FS_IMMUTABLE_FL = 0x40086602, 0x10


class Skip(Exception):
    """This machine cannot provoke it."""


@dataclass(frozen=True)
class Provocation:
    name: str
    operation: Operation
    errno: str
    act: Callable[[], object]
    setting: str
    """Where it takes place: the name of one of the functions of ``SETTINGS``."""


ALL: list[Provocation] = []


def provoke(
    setting: str,
    call: str,
    name: str,
    act: Callable[[], object],
    second: str | None = None,
    syscall: str = "",
    **detail: object,
) -> None:
    """Register that ``act`` in ``setting`` must fail with ``name``, or one of several joined by ``or``."""
    operation = Operation(0, call, "a/f", second, syscall=syscall, detail=FileDetail(**detail))  # type: ignore[arg-type]
    ALL.append(Provocation(f"{setting}-{call}-{name}-{len(ALL)}", operation, name, act, setting))


def _fd(path: str, flags: int = os.O_RDWR | os.O_CREAT) -> int:
    return os.open(path, flags, 0o644)


def _libc(function: str, *args: object) -> None:
    """Call libc directly: Python would try again after EINTR and knows no fallocate modes."""
    ctypes.set_errno(0)
    if getattr(LIBC, function)(*args) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _fill(fd: int) -> None:
    while True:
        os.write(fd, b"x" * 4096)


def _offset(n: int) -> ctypes.c_long:
    return ctypes.c_long(n)


# --- settings -------------------------------------------------------------------------------------


def mount(options: str = "", kind: str = "tmpfs") -> str:
    """Mount a file system on a new directory below the current one, or skip."""
    path = tempfile.mkdtemp(dir=".")
    done = subprocess.run(
        ["mount", "-t", kind, *(["-o", options] if options else []), "none", path], capture_output=True
    )
    if done.returncode:
        raise Skip(
            f"cannot mount {kind} {options}: {done.stderr.decode().partition(': ')[2].splitlines()[0]}"
        )
    return path


def full() -> None:
    """A tmpfs without a free page; ``f`` holds them all, ``small`` is an empty file."""
    os.chdir(mount("size=64k"))
    Path("small").touch()
    Path("source").write_bytes(b"s" * 8192)
    try:
        _fill(_fd("f"))
    except OSError:
        pass


def full_of_inodes() -> None:
    os.chdir(mount("nr_inodes=2"))
    Path("f").touch()


def read_only() -> None:
    path = mount()
    Path(path, "f").write_text("text")
    Path(path, "d").mkdir()
    subprocess.run(["mount", "-o", "remount,ro", path], check=True, capture_output=True)
    os.chdir(path)


def two_disks() -> None:
    """Two file systems, ``a`` and ``b``, with a file each."""
    for name in "ab":
        os.symlink(mount(), name)
        Path(name, "f").write_text("text")


def limited() -> None:
    """No file may grow beyond 4096 bytes, no more than ten descriptors be open."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    Path("f").write_bytes(b"x" * 4096)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    resource.setrlimit(resource.RLIMIT_NOFILE, (10, 10))


def stranger() -> None:
    """A user without rights in ``locked``, in one with the sticky bit, and to search ``closed``."""
    if os.geteuid() != 0 or not _root_outside():
        raise Skip("needs root, to become somebody else")
    for name, mode in (("locked", 0o755), ("sticky", 0o1777), ("closed", 0o700)):
        Path(name).mkdir()
        Path(name, "f").write_text("text")
        Path(name, "d").mkdir()
        os.chmod(name, mode)
    os.chmod(".", 0o777)
    os.chmod("..", 0o755)
    Path("secret").write_text("text")
    os.chmod("secret", 0)
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    Path("mine").touch()


def immutable() -> None:
    """``f`` is immutable, and ``held``, a descriptor for writing, was opened before it was."""
    os.chdir(mount())
    Path("f").write_text("text")
    global held
    held = _fd("f")
    try:
        fcntl.ioctl(held, FS_IOC_SETFLAGS, struct.pack("i", FS_IMMUTABLE_FL))
    except OSError as error:
        raise Skip(f"cannot make a file immutable: {error}") from None


def quota() -> None:
    if not _root_outside():
        raise Skip("needs root, to set a quota")
    limits = "usrquota,usrquota_block_hardlimit=64k,usrquota_inode_hardlimit=3,mode=1777"
    os.chmod(".", 0o755)
    os.chmod("..", 0o755)
    os.chdir(mount(limits))
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    Path("f").touch()
    Path("g").touch()
    Path("h").touch()


def bad_disk() -> None:
    """An ext4 on a sparse image in a file system that is full: blocks can be read back, not written."""
    if not _root_outside():
        raise Skip("needs root, for a loop device")
    small = mount("size=3m")
    image = f"{small}/image"
    with open(image, "wb") as file:
        file.truncate(64 << 20)
    os.mkdir("ext4")
    for command in (
        ["mkfs.ext4", "-q", "-O", "^has_journal", "-E", "lazy_itable_init=1,nodiscard", image],
        ["mount", "-o", "loop,errors=continue", image, "ext4"],
    ):
        done = subprocess.run(command, capture_output=True)
        if done.returncode:
            raise Skip(f"{command[0]}: {done.stderr.decode().strip()}")
    os.chdir("ext4")


def anywhere() -> None:
    Path("f").write_text("text")
    os.mkdir("d")
    Path("d/inside").touch()
    Path("e").touch()
    os.mkdir("empty")
    os.symlink("f", "link")
    os.symlink("d", "way")


def mounted() -> None:
    os.mkdir("d")
    Path("f").touch()
    for kind, target in (("d", "d"), ("f", "f")):
        done = subprocess.run(["mount", "--bind", kind, target], capture_output=True)
        if done.returncode:
            raise Skip(f"cannot bind: {done.stderr.decode().strip()}")


def poor() -> None:
    """A file system without extended attributes."""
    os.chdir(mount(kind="ramfs"))
    Path("f").touch()


held = -1
SETTINGS: dict[str, Callable[[], None]] = {
    f.__name__: f
    for f in (
        *(full, full_of_inodes, read_only, two_disks, limited, stranger, immutable, quota, bad_disk),
        *(anywhere, mounted, poor),
    )
}


def _root_outside() -> bool:
    """Return True if root here is root of the machine, and not of a user namespace only."""
    return os.geteuid() == 0 and Path("/proc/self/uid_map").read_text().split()[2] == "4294967295"


# --- what must fail ---------------------------------------------------------------------------------

_GROWS: dict[str, object] = {"offset": 4096, "length": 4096, "size_before": 4096}
_CREATE = os.O_WRONLY | os.O_CREAT
_REAL_DIRECTORY = os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY
_CWD, _NOREPLACE = -100, 1  # AT_FDCWD, RENAME_NOREPLACE

provoke("full", "write", "ENOSPC", lambda: _fill(_fd("small")))
provoke("full", "fallocate", "ENOSPC", lambda: os.posix_fallocate(_fd("small"), 0, 4096))
provoke("full", "copy_file_range", "ENOSPC", lambda: os.copy_file_range(_fd("source"), _fd("small"), 8192))
provoke("full", "sendfile", "ENOSPC", lambda: os.sendfile(_fd("small"), _fd("source"), 0, 8192))
provoke("full", "splice", "ENOSPC", lambda: _splice(_fd("small")))

provoke("full_of_inodes", "open", "ENOSPC", lambda: _fd("new"), flags=_CREATE, created=True)
provoke("full_of_inodes", "mkdir", "ENOSPC", lambda: os.mkdir("new"))
provoke("full_of_inodes", "symlink", "ENOSPC", lambda: os.symlink("f", "new"))
provoke("full_of_inodes", "link", "ENOSPC", lambda: os.link("f", "new"))
provoke("full_of_inodes", "mknod", "ENOSPC", lambda: os.mkfifo("new"))

provoke("read_only", "open", "EROFS", lambda: _fd("f", os.O_WRONLY), flags=os.O_WRONLY)
provoke("read_only", "open", "EROFS", lambda: _fd("new"), flags=_CREATE, created=True)
provoke("read_only", "open", "EROFS", lambda: _fd("f", os.O_TRUNC), flags=os.O_TRUNC)
provoke("read_only", "mkdir", "EROFS", lambda: os.mkdir("new"))
provoke("read_only", "rmdir", "EROFS", lambda: os.rmdir("d"))
provoke("read_only", "unlink", "EROFS", lambda: os.unlink("f"))
provoke("read_only", "rename", "EROFS", lambda: os.rename("f", "new"))
provoke("read_only", "link", "EROFS", lambda: os.link("f", "new"))
provoke("read_only", "symlink", "EROFS", lambda: os.symlink("f", "new"))
provoke("read_only", "mknod", "EROFS", lambda: os.mkfifo("new"))
provoke("read_only", "truncate", "EROFS", lambda: os.truncate("f", 0), syscall="truncate")
provoke("read_only", "chmod", "EROFS", lambda: os.chmod("f", 0))
provoke("read_only", "chown", "EROFS", lambda: os.chown("f", 0, 0))
provoke("read_only", "utimens", "EROFS", lambda: os.utime("f"))
provoke("read_only", "setxattr", "EROFS", lambda: os.setxattr("f", "user.x", b"1"))
provoke("read_only", "removexattr", "EROFS", lambda: os.removexattr("f", "user.x"))

provoke("two_disks", "rename", "EXDEV", lambda: os.rename("a/f", "b/new"), second="b/new")
provoke("two_disks", "rename", "EXDEV", lambda: os.rename("a/f", "b/f"), second="b/f")
provoke("two_disks", "link", "EXDEV", lambda: os.link("a/f", "b/new"), second="b/new")
provoke(
    "two_disks", "clone", "EXDEV", lambda: fcntl.ioctl(_fd("b/f"), FICLONE, _fd("/etc/passwd", os.O_RDONLY))
)
provoke(
    "two_disks",
    "copy_file_range",
    "EXDEV",
    lambda: os.copy_file_range(_fd("/proc/self/status", 0), _fd("b/f"), 9),
)

provoke("limited", "write", "EFBIG", lambda: _fill(_fd("f", os.O_WRONLY | os.O_APPEND)), **_GROWS)
provoke("limited", "truncate", "EFBIG", lambda: os.truncate("f", 8192), length=8192, size_before=4096)
provoke("limited", "fallocate", "EFBIG", lambda: os.posix_fallocate(_fd("f"), 4096, 4096), **_GROWS)
provoke(
    "limited", "copy_file_range", "EFBIG",
    lambda: os.copy_file_range(_fd("f"), _fd("f"), 4096, 0, 4096), **_GROWS,
)  # fmt: skip
provoke("limited", "open", "EMFILE", lambda: [_fd("f") for _ in range(20)])

provoke("stranger", "open", "EACCES", lambda: _fd("locked/f", os.O_RDWR))
provoke("stranger", "open", "EACCES", lambda: _fd("secret", os.O_RDONLY))
provoke("stranger", "open", "EACCES", lambda: _fd("locked/new"), flags=_CREATE, created=True)
provoke("stranger", "stat", "EACCES", lambda: os.stat("closed/f"))
provoke("stranger", "stat", "EACCES", lambda: os.lstat("closed/f"))
provoke("stranger", "readlink", "EACCES", lambda: os.readlink("closed/f"))
provoke("stranger", "access", "EACCES", lambda: _libc("access", b"closed/f", os.F_OK))
provoke("stranger", "mkdir", "EACCES", lambda: os.mkdir("locked/new"))
provoke("stranger", "rmdir", "EACCES", lambda: os.rmdir("locked/d"))
provoke("stranger", "unlink", "EACCES", lambda: os.unlink("locked/f"))
provoke("stranger", "rename", "EACCES", lambda: os.rename("mine", "locked/new"))
provoke("stranger", "link", "EACCES", lambda: os.link("mine", "locked/new"))
provoke("stranger", "symlink", "EACCES", lambda: os.symlink("mine", "locked/new"))
provoke("stranger", "mknod", "EACCES", lambda: os.mkfifo("locked/new"))
provoke("stranger", "truncate", "EACCES", lambda: os.truncate("locked/f", 0), syscall="truncate")
provoke("stranger", "utimens", "EACCES", lambda: os.utime("locked/f"))
provoke("stranger", "utimens", "EPERM", lambda: os.utime("locked/f", (1, 1)))
provoke("stranger", "chmod", "EPERM", lambda: os.chmod("locked/f", 0))
provoke("stranger", "chown", "EPERM", lambda: os.chown("locked/f", NOBODY, NOBODY))
provoke("stranger", "setxattr", "EACCES", lambda: os.setxattr("locked/f", "user.x", b"1"))
provoke("stranger", "removexattr", "EACCES", lambda: os.removexattr("locked/f", "user.x"))
provoke("stranger", "unlink", "EPERM", lambda: os.unlink("sticky/f"))
provoke("stranger", "rmdir", "EPERM", lambda: os.rmdir("sticky/d"))
provoke("stranger", "rename", "EPERM", lambda: os.rename("sticky/f", "sticky/new"))
provoke("stranger", "mknod", "EPERM", lambda: os.mknod("device", 0o20644, os.makedev(1, 3)))

provoke("immutable", "open", "EPERM", lambda: _fd("f", os.O_RDWR), flags=os.O_RDWR)
provoke("immutable", "unlink", "EPERM", lambda: os.unlink("f"))
provoke("immutable", "rename", "EPERM", lambda: os.rename("f", "new"))
provoke("immutable", "link", "EPERM", lambda: os.link("f", "new"))
provoke("immutable", "truncate", "EPERM", lambda: os.truncate("f", 0), syscall="truncate")
provoke("immutable", "fallocate", "EPERM", lambda: _libc("fallocate64", held, 0, _offset(0), _offset(9)))
provoke("immutable", "chmod", "EPERM", lambda: os.chmod("f", 0))
provoke("immutable", "chown", "EPERM", lambda: os.chown("f", 1, 1))
provoke("immutable", "utimens", "EPERM", lambda: os.utime("f", (1, 1)))
provoke("immutable", "setxattr", "EPERM", lambda: os.setxattr("f", "user.x", b"1"))
provoke("immutable", "removexattr", "EPERM", lambda: os.removexattr("f", "user.x"))

provoke("quota", "write", "EDQUOT", lambda: _fill(_fd("f", os.O_WRONLY)))
provoke("quota", "fallocate", "EDQUOT", lambda: os.posix_fallocate(_fd("f"), 0, 1 << 20))
provoke("quota", "open", "EDQUOT", lambda: _fd("new"), flags=_CREATE, created=True)
provoke("quota", "mkdir", "EDQUOT", lambda: os.mkdir("new"))
provoke("quota", "symlink", "EDQUOT", lambda: os.symlink("f", "new"))
provoke("quota", "mknod", "EDQUOT", lambda: os.mkfifo("new"))

# Which of both depends on whether the kernel wrote data or metadata back first.
provoke("bad_disk", "fsync", "ENOSPC or EIO", lambda: _write_much("fsync"))
provoke("bad_disk", "fdatasync", "ENOSPC or EIO", lambda: _write_much("fdatasync"))
provoke("bad_disk", "syncfs", "ENOSPC or EIO", lambda: _write_much("syncfs"))

provoke("anywhere", "open", "ENOENT", lambda: _fd("none", os.O_RDONLY))
provoke("anywhere", "open", "ENOENT", lambda: _fd("none/new"), flags=_CREATE)
provoke("anywhere", "open", "EEXIST", lambda: _fd("f", _CREATE | os.O_EXCL), flags=_CREATE | os.O_EXCL)
provoke("anywhere", "rmdir", "ENOTEMPTY", lambda: os.rmdir("d"))
provoke(
    "anywhere",
    "open",
    "ELOOP",
    lambda: _fd("link", os.O_RDWR | os.O_NOFOLLOW),
    flags=os.O_RDWR | os.O_NOFOLLOW,
)
provoke("anywhere", "open", "ENOTDIR", lambda: _fd("way", _REAL_DIRECTORY), flags=_REAL_DIRECTORY)
provoke("anywhere", "rename", "ENOENT", lambda: os.rename("none", "new"), second="new")
provoke("anywhere", "rename", "ENOENT", lambda: os.rename("f", "none/new"), second="none/new")
provoke(
    "anywhere",
    "rename",
    "EEXIST",
    lambda: _libc("renameat2", _CWD, b"f", _CWD, b"e", _NOREPLACE),
    second="e",
    flags=_NOREPLACE,
)
provoke("anywhere", "rename", "ENOTEMPTY", lambda: os.rename("empty", "d"), second="d", directory=True)
provoke("anywhere", "link", "ENOENT", lambda: os.link("none", "new"), second="new")
provoke("anywhere", "link", "EEXIST", lambda: os.link("f", "e"), second="e")
provoke("anywhere", "symlink", "ENOENT", lambda: os.symlink("f", "none/new"))
provoke("anywhere", "symlink", "EEXIST", lambda: os.symlink("f", "e"))
provoke("anywhere", "mkdir", "ENOENT", lambda: os.mkdir("none/new"))
provoke("anywhere", "mknod", "ENOENT", lambda: os.mkfifo("none/new"))
provoke("anywhere", "mknod", "EEXIST", lambda: os.mkfifo("e"))
provoke("anywhere", "truncate", "ENOENT", lambda: os.truncate("none", 0), syscall="truncate")
provoke("anywhere", "chmod", "ENOENT", lambda: os.chmod("none", 0), syscall="chmod")
provoke("anywhere", "chown", "ENOENT", lambda: os.chown("none", 0, 0), syscall="chown")
provoke("anywhere", "utimens", "ENOENT", lambda: os.utime("none"), syscall="utimensat")
provoke("anywhere", "setxattr", "ENOENT", lambda: os.setxattr("none", "user.x", b"1"), syscall="setxattr")
provoke("anywhere", "removexattr", "ENOENT", lambda: os.removexattr("none", "user.x"), syscall="removexattr")
provoke(
    "anywhere",
    "lock",
    "EWOULDBLOCK",
    lambda: _lock_twice(fcntl.LOCK_EX | fcntl.LOCK_NB),
    syscall="flock",
    flags=6,
)
provoke("anywhere", "lock", "EINTR", lambda: _lock_twice(fcntl.LOCK_EX), syscall="flock", flags=2)
provoke("anywhere", "lock", "EAGAIN", lambda: _lockf(fcntl.LOCK_EX | fcntl.LOCK_NB), syscall="fcntl", flags=6)
provoke("anywhere", "mmap", "ENODEV", lambda: _map(_fd("/proc/self/comm"), 1))
provoke("anywhere", "mmap", "ENOMEM", lambda: _map_too_much())
provoke("anywhere", "read", "EIO", lambda: os.read(_fd("/proc/self/mem", os.O_RDONLY), 1))
provoke(
    "anywhere", "sendfile", "EINVAL", lambda: os.sendfile(_fd("f", os.O_WRONLY | os.O_APPEND), _fd("f"), 0, 1)
)
provoke("anywhere", "splice", "EINVAL", lambda: _splice(_fd("f", os.O_WRONLY | os.O_APPEND)))

provoke("two_disks", "clone", "EOPNOTSUPP", lambda: fcntl.ioctl(_fd("a/f"), FICLONE, _fd("a/g")))
provoke(
    "two_disks",
    "fallocate",
    "EOPNOTSUPP",
    lambda: _libc("fallocate64", _fd("a/f"), 8, _offset(0), _offset(4096)),
)
provoke("poor", "setxattr", "EOPNOTSUPP", lambda: os.setxattr("f", "user.x", b"1"))
provoke("poor", "removexattr", "EOPNOTSUPP", lambda: os.removexattr("f", "user.x"))

provoke("mounted", "rmdir", "EBUSY", lambda: os.rmdir("d"))
provoke("mounted", "unlink", "EBUSY", lambda: os.unlink("f"))
provoke("mounted", "rename", "EBUSY", lambda: os.rename("d", "new"), directory=True)


def _splice(out: int) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"x" * 4096)
    size = ctypes.c_size_t(4096)
    _libc("splice", reader, None, out, None, size, 0)


def _write_much(then: str) -> None:
    """More than the image's own disk has; the page cache takes it all, so the write succeeds."""
    fd = _fd("big")
    for _ in range(16):
        os.write(fd, b"x" * (1 << 20))
    _libc(then, fd)


def _lock_twice(operation: int) -> None:
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.siginterrupt(signal.SIGALRM, True)
    signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
    fcntl.flock(_fd("f"), fcntl.LOCK_EX)
    _libc("flock", _fd("f"), operation)


def _lockf(operation: int) -> None:
    """Our own locks of this kind never conflict, so a child holds one."""
    mine, its = os.pipe()
    if os.fork() == 0:
        fcntl.lockf(_fd("f"), fcntl.LOCK_EX)
        os.write(its, b"!")
        signal.pause()
    os.read(mine, 1)
    fcntl.lockf(_fd("f"), operation)


def _map(fd: int, length: int) -> None:
    LIBC.mmap.restype = ctypes.c_long
    _libc("mmap", None, ctypes.c_size_t(length), 3, 1, fd, _offset(0))


def _map_too_much() -> None:
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * 4096
    resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 20), -1))
    _map(_fd("f"), 1 << 24)


# --- running ------------------------------------------------------------------------------------------


def _outcome(provocation: Provocation) -> str:
    try:
        SETTINGS[provocation.setting]()
        provocation.act()
    except Skip as skip:
        return f"skipped: {skip}"
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "succeeded"


def _in_a_child(provocation: Provocation) -> str:
    """Each in a process group and a directory of its own, since it cannot be undone."""
    directory = tempfile.mkdtemp(dir=".")
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        os.chdir(directory)
        try:
            os.write(writer, _outcome(provocation).encode())
        except BaseException as error:
            os.write(writer, f"broke: {error!r}".encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(pid, 0)
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    with os.fdopen(reader) as file:
        return file.read()


if __name__ == "__main__":
    os.umask(0o022)
    os.chdir(sys.argv[1])
    print(json.dumps({p.name: _in_a_child(p) for p in ALL}))
