"""What the backend says of the machine, and of wrong use."""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import threading
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from chaoskit.core.errors import BackendUnavailable, UsageError
from chaoskit.inject import processes
from chaoskit.inject.base import Check, Ran
from chaoskit.inject.kernel import KernelBackend, probe
from chaoskit.inject.kernel.seccomp import abi, syscalls
from chaoskit.inject.kernel.workload import child

Run = Callable[..., Ran]


def failed(name: str) -> Check:
    (check,) = [check for check in KernelBackend().examine() if check.name == name]
    assert not check.ok
    return check


def test_this_machine_has_all_of_it() -> None:
    """Every check works here, and so the backend is available."""
    checks = KernelBackend().examine()
    assert [check.name for check in checks if not check.ok] == []
    assert len(checks) == 12
    assert KernelBackend().unavailable() is None


@pytest.mark.parametrize(
    ("target", "attribute", "value", "name", "hint"),
    [
        (probe.sys, "platform", "darwin", "Linux", "in-process"),
        (probe.abi, "machine", lambda: "riscv64", "architecture", "x86_64 and aarch64"),
        (probe, "MINIMUM", (99, 0), "kernel release", "99.0 or newer"),
    ],
)
def test_what_is_missing_is_said_with_what_would_help(
    monkeypatch: pytest.MonkeyPatch, target: Any, attribute: str, value: Any, name: str, hint: str
) -> None:
    """Each failing check tells what was seen and the next step, and later ones are left out."""
    monkeypatch.setattr(target, attribute, value)
    check = failed(name)
    assert check.detail
    assert hint in check.hint
    assert KernelBackend().examine()[-1].name == name
    text = KernelBackend().unavailable()
    assert text is not None
    assert name in text
    assert check.hint in text


def test_a_proc_that_lacks_children_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without /proc/PID/task/TID/children nobody would know what is left of a workload."""
    exists = os.path.exists
    monkeypatch.setattr(os.path, "exists", lambda path: "children" not in str(path) and exists(path))
    assert "CONFIG_PROC_CHILDREN" in failed("/proc").hint


def test_memory_that_cannot_be_read_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Yama may forbid to look at a child."""
    real = os.open

    def refused(path: Any, *args: Any, **more: Any) -> int:
        if str(path).endswith("/mem"):
            raise PermissionError(13, "Permission denied", path)
        return real(path, *args, **more)

    monkeypatch.setattr(os, "open", refused)
    check = failed("memory of a child")
    assert "Permission denied" in check.detail
    assert "ptrace_scope" in check.hint


def test_descriptors_that_cannot_be_copied_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile may forbid pidfd_getfd."""
    real, forbidden = abi.libc().syscall, syscalls.number_of("pidfd_getfd", abi.machine())
    monkeypatch.setattr(abi.libc(), "syscall", lambda n, *a: -1 if n == forbidden else real(n, *a))
    assert "pidfd_getfd" in failed("descriptors of a child").hint


def test_a_filter_that_is_refused_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's profile may forbid the filter; then no run begins."""
    calls = child._calls
    monkeypatch.setattr(child, "_calls", lambda families: (calls(families)[0], lambda: -1))
    check = failed("seccomp notification")
    assert "Operation not permitted" in check.detail
    assert "profile" in check.hint


def test_a_call_that_is_not_seen_is_noticed() -> None:
    """The trial looks at what was seen, not only at whether it ran."""
    with pytest.raises(BackendUnavailable, match="what was seen is"):
        probe.one_call(lambda work, plan: Ran(ok=True))


def test_stacks_are_no_condition(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without stacks the backend works, and says what reports will lack."""
    from chaoskit.inject.kernel.workload import stack

    monkeypatch.setattr(stack, "_layout", stack.Layout(missing="planted"))
    check = failed("Python stacks")
    assert (check.needed, check.detail) == (False, "planted")
    assert KernelBackend().unavailable() is None


def test_a_probe_leaves_no_process_behind() -> None:
    """What is forked to look at is gone afterwards."""
    before = processes.children()
    KernelBackend().examine()
    assert processes.children() == before


def test_a_probe_beside_a_thread_leaves_no_process_behind() -> None:
    """Python warns of a fork beside threads once the child runs: as an error that would lose the child."""
    before = processes.children()
    release = threading.Event()
    thread = threading.Thread(target=release.wait)
    thread.start()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = KernelBackend().examine()
    finally:
        release.set()
        thread.join()
    assert {"memory of a child", "descriptors of a child"} <= {check.name for check in found if check.ok}
    assert processes.children() == before


def test_a_threaded_test_process_is_refused(run: Run) -> None:
    """The other threads are named; nothing is forked."""
    release = threading.Event()
    thread = threading.Thread(target=release.wait, name="some-worker")
    thread.start()
    try:
        with pytest.raises(UsageError, match=r"other threads \(some-worker\).*Stop them before run"):
            run(lambda: None)
    finally:
        release.set()
        thread.join()
    assert run(lambda: 1).value == 1


def test_a_thread_of_the_runtime_is_no_exception(run: Run) -> None:
    """What runs user code may hold a lock, even if it was started by this package."""
    release = threading.Event()
    space = {"__name__": "chaoskit.runtime.running.supervise", "wait": release.wait}
    exec("def loop():\n    wait()", space)
    thread = threading.Thread(target=space["loop"], name="supervised")  # type: ignore[arg-type]
    thread.start()
    try:
        with pytest.raises(UsageError, match="supervised"):
            run(lambda: None)
    finally:
        release.set()
        thread.join()


def test_a_descriptor_below_the_root_is_refused(run: Run, root: str) -> None:
    """It would survive the kill; the message names number and file, deleted or not."""
    with open(f"{root}/a", "w") as file:
        with pytest.raises(
            UsageError, match=rf"descriptor {file.fileno()} \(a\) is open in the test process"
        ):
            run(lambda: None)
        os.unlink(f"{root}/a")
        with pytest.raises(UsageError, match="is open in the test process"):
            run(lambda: None)
    assert run(lambda: None).ok


def test_a_mapping_below_the_root_is_refused_in_the_baseline(run: Run, root: str) -> None:
    """A mapping outlives its descriptor."""
    with open(f"{root}/a", "w+b") as file:
        file.write(b"x" * 4096)
        file.flush()
        # mmap.mmap keeps a descriptor of its own.
        library = ctypes.CDLL(None)
        library.mmap.restype = ctypes.c_void_p
        library.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
        address = library.mmap(None, 4096, mmap.PROT_READ, mmap.MAP_SHARED, file.fileno(), 0)
    try:
        with pytest.raises(UsageError, match="a is mapped into the test process"):
            run(lambda: None, record=True)
    finally:
        library.munmap(address, 4096)
    assert run(lambda: None, record=True).ok


def test_ignored_children_are_refused(run: Run) -> None:
    """With SIGCHLD ignored the kernel tells nobody how a child ended."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with pytest.raises(UsageError, match="SIGCHLD is ignored"):
            run(lambda: None)
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_a_run_inside_of_a_run_is_refused(run: Run) -> None:
    """Nested use is told in the workload, which may as well call the function itself."""
    ran = run(lambda: run(lambda: 1))
    assert isinstance(ran.error, UsageError)
    assert "inside a workload" in str(ran.error)
