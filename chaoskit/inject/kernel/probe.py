"""What the kernel backend needs of a machine, tried out for real."""

from __future__ import annotations

import os
import platform
import re
import signal
import sys
from dataclasses import dataclass

from chaoskit.inject.kernel.seccomp import abi

MINIMUM = (5, 19)
"""The first Linux with ``SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV`` (seccomp(2))."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was tried: what, whether it works, what was seen, what would help."""

    name: str
    ok: bool
    detail: str
    hint: str = ""
    needed: bool = True
    """Whether the backend cannot work without it."""


def probe() -> tuple[Check, ...]:
    """Try everything, cheapest first; later checks are left out once a needed one has failed."""
    done: list[Check] = []
    for check in (_system, _architecture, _release, _proc, _memory, _descriptors, _filter, _stacks):
        done.append(check())
        if not done[-1].ok and done[-1].needed:
            break
    return tuple(done)


def _system() -> Check:
    good = sys.platform == "linux"
    return Check(
        "Linux", good, platform.system(), "" if good else "Use the in-process backend on this system."
    )


def _architecture() -> Check:
    name = abi.machine()
    good = name in abi.AUDIT_ARCH
    hint = "" if good else f"Only {' and '.join(abi.AUDIT_ARCH)} are known."
    return Check("architecture", good, name, hint)


def _release() -> Check:
    text = os.uname().release
    match = re.match(r"(\d+)\.(\d+)", text)
    good = match is not None and (int(match[1]), int(match[2])) >= MINIMUM
    hint = "" if good else f"Linux {MINIMUM[0]}.{MINIMUM[1]} or newer is needed."
    return Check("kernel release", good, text, hint)


def _proc() -> Check:
    path = f"/proc/self/task/{os.getpid()}/children"
    good = os.path.exists(path)
    hint = "" if good else "Mount /proc; the kernel needs CONFIG_PROC_CHILDREN."
    return Check("/proc", good, "complete" if good else f"{path} does not exist", hint)


def _in_stopped_child() -> int:
    """A child that waits to be killed."""
    pid = os.fork()
    if pid == 0:
        try:
            abi.libc().prctl(abi.PR_SET_PDEATHSIG, signal.SIGKILL)
            while True:
                signal.pause()
        finally:
            os._exit(0)
    return pid


def _end(pid: int) -> None:
    os.kill(pid, 9)
    os.waitpid(pid, 0)


def _memory() -> Check:
    pid = _in_stopped_child()
    try:
        fd = os.open(f"/proc/{pid}/mem", os.O_RDWR | os.O_CLOEXEC)
        try:
            mark = b"chaoskit"
            good = os.pread(fd, 8, id(mark) + bytes.__basicsize__ - 1) == mark
        finally:
            os.close(fd)
        detail = "readable" if good else "reads something else than is there"
    except OSError as error:
        good, detail = False, str(error)
    finally:
        _end(pid)
    hint = "" if good else "Yama's ptrace_scope must be 0 or 1; in a container allow ptrace of own children."
    return Check("memory of a child", good, detail, hint)


def _descriptors() -> Check:
    from chaoskit.inject.kernel.seccomp.syscalls import number_of

    pid = _in_stopped_child()
    pidfd = -1
    try:
        pidfd = os.pidfd_open(pid)
        result = abi.libc().syscall(number_of("pidfd_getfd", abi.machine()), pidfd, 0, 0)
        if result >= 0:
            os.close(result)
        good = result >= 0 or result == -9  # EBADF: nothing there to copy, but we may.
        detail = "pidfd_getfd works" if good else os.strerror(-result)
    except OSError as error:
        good, detail = False, str(error)
    finally:
        if pidfd >= 0:
            os.close(pidfd)
        _end(pid)
    hint = "" if good else "A container's seccomp profile may forbid pidfd_getfd; allow it."
    return Check("descriptors of a child", good, detail, hint)


def _filter() -> Check:
    """Run a workload that makes one watched call, and see that it is notified."""
    from chaoskit.core.errors import ChaoskitError
    from chaoskit.inject.kernel import trial

    try:
        detail = trial.one_call()
    except (OSError, ChaoskitError) as error:
        hint = "Another filter may forbid seccomp here (a container's profile), or its listener is taken."
        return Check("seccomp notification", False, str(error), hint)
    return Check("seccomp notification", True, detail)


def _stacks() -> Check:
    from chaoskit.inject.kernel.workload.stack import calibrate

    missing = calibrate().missing
    hint = "Reports will not name the Python line of a call." if missing else ""
    return Check("Python stacks", not missing, missing or platform.python_version(), hint, needed=False)
