"""Mounts and loop devices by system call: what mount(8) and losetup(8) would do, without their processes.

All mounts are made in a mount namespace of this process alone (:func:`hide`), so that a run that is killed
leaves none behind. Loop devices outlive a namespace: :class:`Watchdog` detaches them.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import signal
import subprocess
import time
from pathlib import Path

libc = ctypes.CDLL(None, use_errno=True)

_SET_FD, _CLEAR_FD, _GET_FREE = 0x4C00, 0x4C01, 0x4C82
"""From linux/loop.h."""
_NEW_NAMESPACE, _RECURSIVE, _PRIVATE, _DETACH, _DEATH_SIGNAL = 0x20000, 0x4000, 0x40000, 2, 1
"""CLONE_NEWNS of linux/sched.h, MS_REC and MS_PRIVATE of linux/mount.h, MNT_DETACH, PR_SET_PDEATHSIG."""
_BLOCK_DEVICE, _LOOP_MAJOR, _TRIES, _PAUSE = 0o060660, 7, 100, 0.02


def _checked(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def hide() -> None:
    """Give this process a mount namespace that no other sees. Raises OSError without the right to."""
    _checked(libc.unshare(_NEW_NAMESPACE), "unshare")
    _checked(libc.mount(b"none", b"/", None, ctypes.c_ulong(_RECURSIVE | _PRIVATE), None), "mount /")


def mount(source: str, target: Path, system: str, options: str = "") -> None:
    """Raises OSError, with the name of the file system in its text."""
    arguments = (source.encode(), os.fsencode(target), system.encode())
    _checked(libc.mount(*arguments, ctypes.c_ulong(0), options.encode()), f"mount {system} {options}")


def unmount(target: Path, *, now: bool = False) -> None:
    """Unmount, waiting a while for what still uses it; with ``now`` detach it whatever uses it."""
    for _ in range(_TRIES):
        if not libc.umount2(os.fsencode(target), _DETACH if now else 0):
            return
        if ctypes.get_errno() != errno.EBUSY:
            break
        # The kernel's own workers hold a file system for a moment after the last file is closed.
        time.sleep(_PAUSE)
    _checked(-1, f"umount {target}")


class Loop:
    """A loop device on a file. ``name`` is its path; to be detached after use."""

    def __init__(self, path: Path) -> None:
        self.name, self._fd = _attached(path)

    def detach(self) -> None:
        """Give the device back."""
        try:
            fcntl.ioctl(self._fd, _CLEAR_FD, 0)
        finally:
            os.close(self._fd)


def _attached(path: Path) -> tuple[str, int]:
    control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    backing = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        for _ in range(_TRIES):
            number = fcntl.ioctl(control, _GET_FREE)
            name = f"/dev/loop{number}"
            if not os.path.exists(name):
                # No udev in a container makes the node.
                os.mknod(name, _BLOCK_DEVICE, os.makedev(_LOOP_MAJOR, number))
            fd = os.open(name, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.ioctl(fd, _SET_FD, backing)
                return name, fd
            except OSError as error:
                os.close(fd)
                # Another process was faster.
                if error.errno != errno.EBUSY:
                    raise
    finally:
        os.close(control)
        os.close(backing)
    raise OSError(errno.EBUSY, f"no free loop device after {_TRIES} tries")


class Watchdog:
    """A process that cleans up below ``place`` when this one ends without having done so.

    Mounted file systems go before the device below them: a loop device without its file makes
    every later ``mkfs.btrfs`` on the machine fail.
    """

    def __init__(self, place: Path) -> None:
        reading, self._writing = os.pipe2(os.O_CLOEXEC)
        self._pid = os.fork()
        if self._pid == 0:
            with contextlib.suppress(BaseException):
                os.close(self._writing)
                # A session apart, or Ctrl-C would end it first.
                os.setsid()
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                os.read(reading, 1)
                clean(place)
            os._exit(0)
        os.close(reading)

    def close(self) -> None:
        """Clean up now; nothing is left to do after :meth:`Bed.close`."""
        os.close(self._writing)
        os.waitpid(self._pid, 0)


def clean(place: Path) -> None:
    """Unmount all that is mounted below ``place`` in this namespace, and detach its loop devices."""
    with open("/proc/self/mounts") as mounts:
        points = [Path(line.split()[1]) for line in mounts]
    devices = _devices_on(place)
    # The last one first: it may lie on an earlier one.
    for point in reversed(points):
        if place in point.parents:
            with contextlib.suppress(OSError):
                unmount(point, now=True)
    for name in devices:
        with contextlib.suppress(OSError):
            fd = os.open(name, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.ioctl(fd, _CLEAR_FD, 0)
            finally:
                os.close(fd)
    subprocess.run(["rm", "-rf", os.fspath(place)], check=False)


def _devices_on(place: Path) -> list[str]:
    found = []
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):
            if backing.read_text().startswith(f"{place}/"):
                found.append(f"/dev/{backing.parts[3]}")
    return found


def die_with_parent() -> None:
    """Let the kernel kill this process when the one that forked it ends."""
    libc.prctl(_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
