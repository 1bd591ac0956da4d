"""The kernel backend: what it needs, and whether it does."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Iterator

from chaoskit.doctor.diagnosis import Item, Status

AREA = "kernel backend"


def backend() -> Iterator[Item]:
    """Features of the kernel, then the backend's own probe."""
    if sys.platform != "linux":
        hint = "Use Linux, a container or WSL 2 for the harness; chaoskit.runtime works everywhere."
        yield Item(AREA, "Linux", "no", f"this is {sys.platform}", hint, needed=True)
        return
    from chaoskit.inject.kernel import probe
    from chaoskit.inject.kernel.seccomp import abi

    if abi.machine() in abi.AUDIT_ARCH:
        yield from _features()
    try:
        checks = probe.probe()
    except Exception as error:  # Whatever it is, it is what the user came to see.
        hint = "This is a defect of chaoskit; please report it with 'chaoskit doctor --json'."
        yield Item(AREA, "probe", "no", f"{type(error).__name__}: {error}", hint, needed=True)
        return
    for check in checks:
        status: Status = "ok" if check.ok else "no" if check.needed else "degraded"
        yield Item(AREA, check.name, status, check.detail, check.hint, needed=check.needed)


def _features() -> Iterator[Item]:
    """Ask seccomp(2) itself what it knows. None of these calls changes anything."""
    from chaoskit.inject.kernel.seccomp import abi
    from chaoskit.inject.kernel.seccomp.syscalls import WATCHED

    libc, number = abi.libc(), WATCHED["seccomp"][0 if abi.machine() == "x86_64" else 1] or 0
    action = ctypes.create_string_buffer(abi.SECCOMP_RET_USER_NOTIF.to_bytes(4, sys.byteorder))
    known = libc.syscall(number, abi.SECCOMP_GET_ACTION_AVAIL, 0, ctypes.addressof(action))
    yield _feature(
        "user notification", known == 0, known, "Linux 5.0 or newer, and no profile that hides it."
    )
    # With flags that it knows and no filter the kernel gets as far as EFAULT; others are EINVAL.
    flags = abi.SECCOMP_FILTER_FLAG_NEW_LISTENER | abi.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
    asked = libc.syscall(number, abi.SECCOMP_SET_MODE_FILTER, flags, 0)
    yield _feature(
        "killable wait", asked == -errno.EFAULT, asked, "Linux 5.19 or newer, and no profile that hides it."
    )


def _feature(name: str, known: bool, result: int, hint: str) -> Item:
    if known:
        return Item(AREA, name, "ok", "known to seccomp(2)", needed=True)
    return Item(AREA, name, "no", f"seccomp(2) answers {os.strerror(-result)}", hint, needed=True)
