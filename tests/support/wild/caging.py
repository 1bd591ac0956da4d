"""A process for wild programs that can do no harm: its own mounts and devices, and nothing inherited.

As root it sees the machine's files, but every file system is read-only in its view, except the directory for
the programs and ``/proc``, through which the harness writes to memory. Its ``/dev`` is its own: a wild number
can mean the null device, and a change of its mode would hit everyone.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct

_NEW_MOUNTS = 0x20000
_BIND, _RECURSIVE, _PRIVATE = 0x1000, 0x4000, 0x40000
_AT_RECURSIVE, _READ_ONLY = 0x8000, 1
_MOUNT_SETATTR = 442
_NODES = {"null": 3, "zero": 5, "full": 7, "random": 8, "urandom": 9}
"""Minor numbers below major number 1 (Documentation/admin-guide/devices.txt)."""
USER = 65534

_library = ctypes.CDLL(None, use_errno=True)


def enter(place: str, *, memory: bool, parent: int) -> str:
    """Put this process into a cage; return the directory below ``place`` where programs may be played.

    Without root there are no mounts, but no right to do harm either. ``memory`` asks for a file system in
    memory. The process dies with ``parent``.
    """
    _library.prctl(1, int(signal.SIGKILL))
    if os.getppid() != parent:
        os._exit(1)
    # Nothing that came from outside can be reached by a wild number.
    os.closerange(3, 1 << 16)
    if os.geteuid() == 0:
        _own_mounts(place, memory)
    for name in ("tmp", "stage"):
        os.makedirs(f"{place}/{name}", exist_ok=True)
        os.chmod(f"{place}/{name}", 0o777)
    os.environ["TMPDIR"] = f"{place}/tmp"
    os.chdir(place)
    return f"{place}/stage"


def become_user() -> None:
    """Give the rights of root up, if this process has them."""
    if os.geteuid() != 0:
        return
    os.setgroups([])
    os.setresgid(USER, USER, USER)
    os.setresuid(USER, USER, USER)
    # A process that has dropped its rights may not be read, not even by itself, until it says so.
    _library.prctl(4, 1)


def no_new_privileges() -> None:
    """Take from this process and its children the way to more rights (PR_SET_NO_NEW_PRIVS, prctl(2))."""
    _library.prctl(38, 1, 0, 0, 0)


def _own_mounts(place: str, memory: bool) -> None:
    _done(_library.unshare(_NEW_MOUNTS))
    _mount(None, "/", None, _RECURSIVE | _PRIVATE)
    if memory:
        _mount("tmpfs", place, "tmpfs", 0)
    else:
        _mount(place, place, None, _BIND)
    _own_devices()
    _set_read_only("/", True, _AT_RECURSIVE)
    for kept in (place, "/proc"):
        _set_read_only(kept, False, 0)


def _own_devices() -> None:
    _mount("tmpfs", "/dev", "tmpfs", 0)
    for name, minor in _NODES.items():
        os.mknod(f"/dev/{name}", 0o020666, os.makedev(1, minor))
        os.chmod(f"/dev/{name}", 0o666)
    os.symlink("/proc/self/fd", "/dev/fd")
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        os.symlink(f"/proc/self/fd/{number}", f"/dev/{name}")


def _set_read_only(place: str, value: bool, flags: int) -> None:
    attributes = struct.pack("=QQQQ", _READ_ONLY if value else 0, 0 if value else _READ_ONLY, 0, 0)
    name = ctypes.create_string_buffer(os.fsencode(place))
    _done(_library.syscall(ctypes.c_long(_MOUNT_SETATTR), -100, name, flags, attributes, ctypes.c_size_t(32)))


def _mount(source: str | None, target: str, kind: str | None, flags: int) -> None:
    encoded = [None if text is None else text.encode() for text in (source, target, kind)]
    _done(_library.mount(*encoded, ctypes.c_ulong(flags), None))


def _done(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
