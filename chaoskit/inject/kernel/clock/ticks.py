"""The processor's time stamp counter, the basis of the workload's clock reads.

Python cannot read it, so a page holds ten bytes of machine code. If the counter is unfit for a clock, or such
a page is forbidden, clock reads are answered one by one.
"""

from __future__ import annotations

import ctypes
import mmap
import re
import time
from collections.abc import Callable
from functools import cache

from chaoskit.inject.kernel.seccomp import abi

# lfence; rdtsc; shl rdx, 32; or rax, rdx; ret
_CODE = bytes.fromhex("0faee8 0f31 48c1e220 4809d0 c3")
_FIT = ("constant_tsc", "nonstop_tsc")
_LEAST = 10_000_000
"""Nanoseconds of the first comparison with the system's clock. Its reads vary by some 100 ns, so the rate is
then precise to 1 in 100,000, and improves with every run."""
_SAMPLES = 5
"""Pairs of reads from which the fastest is taken: an interruption between the two makes a pair useless."""


class Ticks:
    """The counter of this machine and its rate against the monotonic clock."""

    def __init__(self, read: Callable[[], int]) -> None:
        self.read = read
        self._began = self._pair()

    def _pair(self) -> tuple[int, int]:
        """Counter and monotonic clock at one moment: the fastest of several samples."""
        best = (1 << 63, 0, 0)
        for _ in range(_SAMPLES):
            before, now, after = self.read(), time.monotonic_ns(), self.read()
            best = min(best, (after - before, (before + after) // 2, now))
        return best[1:]

    def scale(self) -> int:
        """Nanoseconds per step of the counter, times 2**32."""
        then = self._began
        while True:
            ticks, now = self._pair()
            if now - then[1] >= _LEAST:
                return ((now - then[1]) << 32) // (ticks - then[0])


@cache
def counter() -> Ticks | str:
    """The counter, or why it cannot be used."""
    if abi.machine() != "x86_64":
        return f"no machine code for {abi.machine()}"
    with open("/proc/cpuinfo") as file:
        flags = re.search(r"^flags\s*:(.*)$", file.read(), re.MULTILINE)
    missing = [flag for flag in _FIT if flags is None or flag not in flags[1].split()]
    if missing:
        names = " and ".join(missing)
        return f"this processor's counter is not fit for a clock ({names} missing in /proc/cpuinfo)"
    try:
        return Ticks(_function())
    except OSError as why:
        return f"no page for machine code ({why})"


def _function() -> Callable[[], int]:
    # Never writable and executable at once, which many systems forbid.
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    page.write(_CODE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    library = ctypes.CDLL(None, use_errno=True)
    if library.mprotect(
        ctypes.c_void_p(address), ctypes.c_size_t(mmap.PAGESIZE), mmap.PROT_READ | mmap.PROT_EXEC
    ):
        number = ctypes.get_errno()
        raise OSError(number, "mprotect to executable was refused")
    function = ctypes.CFUNCTYPE(ctypes.c_uint64)(address)
    _KEPT.append(page)
    return function


_KEPT: list[mmap.mmap] = []
"""Pages of machine code, which must live as long as the functions in them."""
