"""Try whether time can be virtual on this machine."""

from __future__ import annotations

import os
import signal
from functools import cache

from chaoskit.inject import processes
from chaoskit.inject.kernel.clock import ticks, vdso
from chaoskit.inject.kernel.seccomp import abi


@cache
def unavailable() -> str | None:
    """Why time cannot be virtual here, with what would help; None if it can be. Tries once."""
    patch = vdso.patch(False)
    if patch is None:
        return f"the functions that read clocks are not known on {abi.machine()}. Time is real here."
    if not os.path.exists("/proc/self/syscall"):
        return "/proc/PID/syscall does not exist. A container has to have all of /proc."
    return _unwritable(patch)


def reads_cost() -> str | None:
    """Why a clock read costs a workload a notified call; None if it costs no more than usual."""
    counter = ticks.counter()
    if isinstance(counter, str):
        return counter
    patch = vdso.patch(True)
    return None if patch is not None and patch.table is not None else "there is no room in the vDSO"


def _unwritable(patch: vdso.Patch) -> str | None:
    """Overwrite a child's vDSO with the same bytes; return the reason if that is refused, or None."""
    pid = processes.fork()
    if pid == 0:
        try:
            processes.die_with(os.getppid())
            while True:
                signal.pause()
        finally:
            os._exit(0)
    try:
        base = vdso.base(pid)
        if base is None:
            return (
                "a process has no vDSO (vdso=0 on the kernel's command line). Start the kernel without that."
            )
        offset, code = patch.writes[0]
        with open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
            memory.seek(base + offset)
            found = memory.read(len(code))
            memory.seek(base + offset)
            memory.write(found)
    except OSError as why:
        return (
            f"the code that reads clocks cannot be replaced in a child ({why}). Allow it: "
            "proc_mem.force_override=ptrace on the kernel's command line, kernel.yama.ptrace_scope at most 1."
        )
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return None
