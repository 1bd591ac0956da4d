"""Takes free memory out of a fork's heap, so that a limit on new memory limits all memory.

The C library keeps freed memory and reuses it without asking the kernel. A busy test process may keep
hundreds of MiB, and its forks inherit them: under a limit of 8 MiB a workload could get 64.
"""

from __future__ import annotations

import ctypes
import re
import threading
from contextlib import suppress
from functools import cache

_PIECE = 64 * 1024
"""Bytes of the smallest free piece that we take, and of the smallest block that is mapped from then on."""
_SMALLER = _PIECE - 4096
"""Bytes of a block that is not mapped but makes its heap grow."""
_LARGEST = 1 << 30
"""Bytes of the largest free piece that is looked for: the search halves the size down to ``_PIECE``."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""mallopt(3). Once one of them is set, glibc adapts neither of them (malloc/malloc.c, ``do_set_*``)."""
_IS_MAPPED, _OF_A_THREAD = 2, 4
"""Bits in the word before each block of glibc: the block was mapped and is in no heap (``IS_MMAPPED``); it is
in a thread's arena (``NON_MAIN_ARENA``)."""
_WORD = ctypes.sizeof(ctypes.c_size_t)
_ATTRIBUTES = 128
"""Enough bytes for a ``pthread_attr_t``, which has 56 on x86-64 and 64 on aarch64."""
_STACK = 512 * 1024
"""Bytes of a helper thread's stack: too small to be reused for threads of the program."""
_ARENA = re.compile(
    rb'<heap nr=.*?<total type="rest" count="\d+" size="(\d+)"/>'
    rb'.*?<aspace type="total" size="(\d+)"/>\s*<aspace type="mprotect" size="(\d+)"/>',
    re.DOTALL,
)
"""An arena as malloc_info(3) reports it: free, total and writable bytes."""


def settle() -> None:
    """In the fork: leave no free piece of 64 KiB or more in any heap, including those of threads.

    From now on such blocks come from the kernel and return to it as soon as they are freed. Smaller pieces
    that the workload frees are reused, as in every process. Does nothing without glibc.
    """
    library = _glibc()
    if library is None:
        return
    library.mallopt(_M_MMAP_THRESHOLD, _PIECE)
    library.mallopt(_M_TRIM_THRESHOLD, _PIECE)
    library.malloc_trim(0)
    _fill(library)
    arenas = [tuple(map(int, one)) for one in _ARENA.findall(_told(library))]
    if len(arenas) > 1:
        # A part of a thread's heap that was in use before is writable without asking the kernel again.
        ready = max(may_write - has for _, has, may_write in arenas)
        free = max(one[0] for one in arenas)
        growing = (ready + free) // _SMALLER if ready else 0
        _use_up(library, growing)
        _in_threads(library, len(arenas) - 1, growing)


def _in_threads(library: ctypes.PyDLL, number: int, growing: int) -> None:
    """Fill the other arenas, each by its own thread, all alive at once; see :func:`_use_up`.

    A fork lacks its parent's threads, and their arenas wait for new threads (malloc/arena.c,
    ``get_free_list``). They are not Python threads, which would change the names of the
    program's own, and pthread_join(3) leaves no trace of them.
    """
    everyone = threading.Barrier(number + 1)

    def work(_: object) -> None:
        # The first block assigns the arena, and no thread may end before all have theirs.
        library.malloc(_SMALLER)
        with suppress(threading.BrokenBarrierError):
            everyone.wait()
        _use_up(library, growing)

    start = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(work)
    attributes = ctypes.create_string_buffer(_ATTRIBUTES)
    library.pthread_attr_init(attributes)
    library.pthread_attr_setstacksize(attributes, ctypes.c_size_t(_STACK))
    threads = [ctypes.c_ulong() for _ in range(number)]
    begun = [one for one in threads if not library.pthread_create(ctypes.byref(one), attributes, start, None)]
    if len(begun) < number:
        everyone.abort()
    with suppress(threading.BrokenBarrierError):
        everyone.wait()
    for one in begun:
        # Use a handle that releases the GIL, which the thread needs.
        ctypes.CDLL(None).pthread_join(one, None)


def _use_up(library: ctypes.PyDLL, growing: int) -> None:
    """Empty this thread's arena. If it is not the main one, let it first grow by this many blocks."""
    _fill(library)
    if _bits(library.malloc(_SMALLER)) & _OF_A_THREAD:
        for _ in range(growing):
            library.malloc(_SMALLER)
        _fill(library)


def _fill(library: ctypes.PyDLL) -> None:
    """Take the free pieces of this thread's arena for good."""
    size = _LARGEST
    while size >= _PIECE:
        block = library.malloc(size)
        if not block or _bits(block) & _IS_MAPPED:
            library.free(block)
            size //= 2


def _bits(block: int | None) -> int:
    return ctypes.c_size_t.from_address(block - _WORD).value if block else 0


def _told(library: ctypes.PyDLL) -> bytes:
    """The report of malloc_info(3); empty if it fails."""
    text, length = ctypes.c_void_p(), ctypes.c_size_t()
    stream = library.open_memstream(ctypes.byref(text), ctypes.byref(length))
    if not stream:
        return b""
    library.malloc_info(0, stream)
    library.fclose(stream)
    told = ctypes.string_at(text.value or 0, length.value)
    library.free(text)
    return told


@cache
def _glibc() -> ctypes.PyDLL | None:
    """The C library, called without releasing the GIL; None if it is not glibc."""
    library = ctypes.PyDLL(None)
    if not hasattr(library, "gnu_get_libc_version") or not hasattr(library, "malloc_info"):
        return None
    library.malloc.restype = library.open_memstream.restype = ctypes.c_void_p
    library.malloc.argtypes = [ctypes.c_size_t]
    library.free.argtypes = library.fclose.argtypes = [ctypes.c_void_p]
    library.free.restype = None
    library.malloc_info.argtypes = [ctypes.c_int, ctypes.c_void_p]
    return library
