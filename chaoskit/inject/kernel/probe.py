"""Tries out what the kernel backend needs of a machine."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator

from chaoskit.core.errors import BackendUnavailable, ChaoskitError
from chaoskit.inject import processes
from chaoskit.inject.base import Check, Plan, Ran, VirtualTime
from chaoskit.inject.kernel.clock import ability
from chaoskit.inject.kernel.seccomp import abi
from chaoskit.inject.kernel.seccomp.syscalls import number_of
from chaoskit.inject.kernel.workload.preconditions import undumpable
from chaoskit.inject.kernel.workload.stack import calibrate
from chaoskit.inject.leftovers import scratch

MINIMUM = (5, 19)
"""The first Linux with ``SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV`` (seccomp(2))."""


Runner = Callable[[Callable[[], None], Plan], Ran]
"""The backend's ``run``. It is an argument because the backend imports this module."""


def probe(run: Runner, *, whole: bool = True) -> tuple[Check, ...]:
    """Try everything, cheapest first; stop after a necessary check that failed.

    Without ``whole`` leave out the checks that take a run and say only how well the backend works.
    """
    done: list[Check] = []
    for check in _checks(run, whole):
        done.append(check)
        if not check.ok and check.needed:
            break
    return tuple(done)


def _checks(run: Runner, whole: bool) -> Iterator[Check]:
    yield _system()
    yield _architecture()
    yield _release()
    yield from _features()
    yield _proc()
    yield _memory()
    yield _descriptors()
    yield _filter(run)
    yield _stacks()
    if whole:
        yield _time(run)
        yield _reads()


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
    # Distributions append their own version to the numbers.
    match = re.match(r"(\d+)\.(\d+)", text)
    good = match is not None and (int(match[1]), int(match[2])) >= MINIMUM
    hint = "" if good else f"Linux {MINIMUM[0]}.{MINIMUM[1]} or newer is needed."
    return Check("kernel release", good, text, hint)


def _features() -> Iterator[Check]:
    """Ask seccomp(2) which features it has. None of these calls changes anything."""
    libc, number = abi.libc(), number_of("seccomp", abi.machine())
    action = ctypes.create_string_buffer(abi.SECCOMP_RET_USER_NOTIF.to_bytes(4, sys.byteorder))
    known = libc.syscall(number, abi.SECCOMP_GET_ACTION_AVAIL, 0, ctypes.addressof(action))
    yield _feature(
        "user notification", known == 0, known, "Linux 5.0 or newer, and no profile that hides it."
    )
    # If the kernel knows the flags it fails at the missing filter with EFAULT, else with EINVAL.
    flags = abi.SECCOMP_FILTER_FLAG_NEW_LISTENER | abi.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
    asked = libc.syscall(number, abi.SECCOMP_SET_MODE_FILTER, flags, 0)
    yield _feature(
        "killable wait", asked == -errno.EFAULT, asked, "Linux 5.19 or newer, and no profile that hides it."
    )


def _feature(name: str, known: bool, result: int, hint: str) -> Check:
    if known:
        return Check(name, True, "known to seccomp(2)")
    return Check(name, False, f"seccomp(2) answers {os.strerror(-result)}", hint)


def _proc() -> Check:
    path = f"/proc/self/task/{os.getpid()}/children"
    # In containers parts of /proc may be missing.
    good = os.path.exists(path)
    hint = "" if good else "Mount /proc; the kernel needs CONFIG_PROC_CHILDREN."
    return Check("/proc", good, "complete" if good else f"{path} does not exist", hint)


def _in_stopped_child() -> int:
    """Fork a child that waits to be killed."""
    pid = processes.fork()
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


_PTRACE = "Yama's ptrace_scope must be 0 or 1; in a container allow ptrace of own children."


def _memory() -> Check:
    pid = _in_stopped_child()
    try:
        fd = os.open(f"/proc/{pid}/mem", os.O_RDWR | os.O_CLOEXEC)
        try:
            mark = b"chaoskit"
            # A fork has the same object at the same address, so we know what to expect.
            good = os.pread(fd, 8, id(mark) + bytes.__basicsize__ - 1) == mark
        finally:
            os.close(fd)
        detail = "readable" if good else "reads something else than is there"
    except OSError as error:
        good, detail = False, str(error)
    finally:
        _end(pid)
    hint = "" if good else undumpable() or _PTRACE
    return Check("memory of a child", good, detail, hint)


def _descriptors() -> Check:
    pid = _in_stopped_child()
    pidfd = -1
    try:
        pidfd = os.pidfd_open(pid)
        # Descriptor 0 may be closed; only a refusal counts as a failure.
        result = abi.libc().syscall(number_of("pidfd_getfd", abi.machine()), pidfd, 0, 0)
        if result >= 0:
            os.close(result)
        good = result >= 0 or result == -9  # EBADF: there is nothing to copy, but copying is allowed.
        detail = "pidfd_getfd works" if good else os.strerror(-result)
    except OSError as error:
        good, detail = False, str(error)
    finally:
        if pidfd >= 0:
            os.close(pidfd)
        _end(pid)
    hint = "" if good else "A container's seccomp profile may forbid pidfd_getfd; allow it."
    return Check("descriptors of a child", good, detail, hint)


def _filter(run: Runner) -> Check:
    """Run a workload that makes one watched call, and check that we are notified."""
    try:
        detail = one_call(run)
    except (OSError, ChaoskitError) as error:
        hint = "Another filter may forbid seccomp here (a container's profile), or its listener is taken."
        return Check("seccomp notification", False, str(error), hint)
    return Check("seccomp notification", True, detail)


def one_call(run: Runner) -> str:
    """Record one ``mkdir`` with ``run``; return what was seen.

    Raises:
        BackendUnavailable: if it was not seen, or had no effect.
    """
    with scratch() as root:
        ran = run(lambda: os.mkdir(f"{root}/seen"), Plan(root, record=True, timeout=10.0))
        seen = [str(operation) for operation in ran.trace]
        # The call must have been seen and have taken effect.
        if seen[:1] != ["mkdir(seen)#1 = 0"] or not os.path.isdir(f"{root}/seen"):
            raise BackendUnavailable(f"a directory was made, but what was seen is {seen}")
    return "a call was seen, made and answered"


_LONG = 100.0
"""Seconds that the trial of virtual time sleeps, far more than the trial may take."""


def _time(run: Runner) -> Check:
    """Let a workload sleep: that must take no real time, and its clock must show it."""
    name, why = "virtual time", ability.unavailable()
    if why is None:
        began = time.monotonic()
        slept: list[float] = []
        try:
            slept = _slept(run)
        except (OSError, ChaoskitError) as error:
            why = str(error)
        if why is None and not (slept and slept[0] >= _LONG and time.monotonic() - began < _LONG / 2):
            why = f"a sleep of {_LONG:g} s took {time.monotonic() - began:.1f} s, and its clock shows {slept}"
    if why is None:
        return Check(name, True, f"a sleep of {_LONG:g} s cost nothing", needed=False)
    reason, _, hint = why.partition(". ")
    return Check(name, False, reason, hint or "Waits in workloads take real time.", needed=False)


def _slept(run: Runner) -> list[float]:
    with scratch() as root:
        shown = f"{root}/shown"

        def sleep() -> None:
            before = time.monotonic()
            time.sleep(_LONG)
            with open(shown, "w") as file:
                file.write(str(time.monotonic() - before))

        run(sleep, Plan(root, timeout=10.0, time=VirtualTime()))
        with open(shown) as file:
            return [float(file.read())]


def _reads() -> Check:
    why = ability.reads_cost()
    hint = "" if why is None else "A read of a clock takes some 15 µs in a workload with virtual time."
    return Check("clock reads", why is None, why or "cost no more than without chaoskit", hint, needed=False)


def _stacks() -> Check:
    missing = calibrate().missing
    hint = "Reports will not name the Python line of a call." if missing else ""
    return Check("Python stacks", not missing, missing or platform.python_version(), hint, needed=False)
