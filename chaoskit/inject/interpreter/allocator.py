"""Allocations that fail on demand: a few bytes of machine code in front of CPython's allocators.

They are installed by ``PyMem_SetAllocator`` (https://docs.python.org/3/c-api/memory.html), for the domains of
memory and of objects. Not for the raw domain, which is called without the GIL, and which supplies large
objects, so that those would count twice. The code counts down with an atomic instruction; the allocation that
finds 1 returns NULL, and increments the word that proves it.

Python code cannot do this, since a ctypes callback allocates. The code is in a memfd that is mapped readable
and executable, and never writable at the same time.

While Python runs a trace function, or a callback of ``sys.monitoring``, nothing counts and nothing fails: the
code checks CPython's own counter for that, ``tracing`` in the thread state. That includes allocations on the
way into and out of such a function, where no Python code could switch the counting off. Only the thread that
made the :class:`Allocator` counts, recognised by its thread pointer: the allocations of others depend on
scheduling, and would differ in each run.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
import sys
import sysconfig
from collections.abc import Callable
from functools import cache

from chaoskit.core.errors import BackendUnavailable
from chaoskit.inject.interpreter.words import COUNTDOWN, HITS, LEAST

_MEMORY, _OBJECTS = 1, 2
"""``PYMEM_DOMAIN_MEM`` and ``PYMEM_DOMAIN_OBJ`` of CPython's pymem.h."""
_FUNCTIONS = ("malloc", "calloc", "realloc", "free")
_SHARED, _CONTEXT, _FIRST, _TRACING, _THREAD = 0, 8, 16, 48, 56
"""Offsets in the context of a domain: the shared words, the context of the original allocator, its four
functions, the address of the main thread's ``tracing``, and the main thread's pointer."""
_PROT_READ_EXEC, _MAP_PRIVATE = 5, 2
"""``PROT_READ | PROT_EXEC`` and ``MAP_PRIVATE`` of mmap(2)."""

assert (COUNTDOWN, LEAST, HITS) == (0, 1, 2), "the offsets below are 0, 8 and 16"


class _Allocator(ctypes.Structure):
    """``PyMemAllocatorEx``."""

    _fields_ = tuple((name, ctypes.c_void_p) for name in ("ctx", *_FUNCTIONS))


def x86_64(function: str) -> bytes:
    """The code of one function under the System V ABI: rdi is the context, sizes are in rsi and rdx."""
    offset = _FIRST + 8 * _FUNCTIONS.index(function)
    # mov rax,[rdi+offset]; mov rdi,[rdi+8]; jmp rax
    on = bytes.fromhex("488b47") + bytes([offset]) + bytes.fromhex("488b7f08ffe0")
    begin = bytes.fromhex("f30f1efa")  # endbr64
    if function == "free":
        return begin + on
    # cmp size,[r10+8], the size in rsi, rdx, or their product in r11.
    compare = {
        "malloc": bytes.fromhex("493b7208"),
        "realloc": bytes.fromhex("493b5208"),
        "calloc": bytes.fromhex("4989f34c0fafda4d3b5a08"),
    }[function]
    # lock inc qword [r10+16]; xor eax,eax; ret
    fail = bytes.fromhex("f049ff421031c0c3")
    # jb on
    large = compare + b"\x72" + bytes([len(fail)])
    # mov r10,[rdi]; mov rax,-1; lock xadd [r10],rax; cmp rax,1
    count = bytes.fromhex("4c8b1748c7c0fffffffff0490fc1024883f801")
    # jg on; je fail
    decide = b"\x7f" + bytes([2 + len(large) + len(fail)]) + b"\x74" + bytes([len(large)])
    counted = count + decide + large + fail
    # mov r10,[rdi+48]; cmp dword [r10],0; jne on
    gate = bytes.fromhex("4c8b5730") + bytes.fromhex("41833a00") + b"\x75" + bytes([len(counted)])
    # mov r10,fs:0; cmp r10,[rdi+56]; jne on
    mine = bytes.fromhex("644c8b142500000000") + bytes.fromhex("4c3b5738") + b"\x75"
    return begin + mine + bytes([len(gate + counted)]) + gate + counted + on


def aarch64(function: str) -> bytes:
    """The code of one function under AAPCS64: x0 is the context, sizes are in x1 and x2."""
    offset = _FIRST + 8 * _FUNCTIONS.index(function)
    begin = [0xD503245F]  # bti c
    # ldr x9,[x0,offset]; ldr x0,[x0,8]; br x9
    on = [0xF9400009 | offset // 8 << 10, 0xF9400400, 0xD61F0120]
    if function == "free":
        return _words(begin + on)
    # ldr x11,[x0]; 1: ldaxr x9,[x11]; sub x10,x9,1; stlxr w12,x10,[x11]; cbnz w12,1b; cmp x9,1
    count = [0xF940000B, 0xC85FFD69, 0xD100052A, 0xC80CFD6A, 0x35FFFFAC, 0xF100053F]
    # mov x13,x1; mov x13,x2; mul x13,x1,x2
    size = {"malloc": 0xAA0103ED, "realloc": 0xAA0203ED, "calloc": 0x9B027C2D}[function]
    # add x14,x11,16; 2: ldxr x10,[x14]; add x10,x10,1; stxr w12,x10,[x14]; cbnz w12,2b; mov x0,0; ret
    fail = [0x9100416E, 0xC85F7DCA, 0x9100054A, 0xC80C7DCA, 0x35FFFFAC, 0xD2800000, 0xD65F03C0]
    # ldr x10,[x11,8]; cmp x13,x10; b.lo on
    large = [size, 0xF940056A, 0xEB0A01BF, 0x54000003 | (1 + len(fail)) << 5]
    # b.gt on; b.eq fail
    decide = [0x5400000C | (2 + len(large) + len(fail)) << 5, 0x54000000 | (1 + len(large)) << 5]
    counted = count + decide + large + fail
    # ldr x9,[x0,48]; ldr w9,[x9]; cbnz w9,on
    gate = [0xF9401809, 0xB9400129, 0x35000009 | (1 + len(counted)) << 5]
    # mrs x9,tpidr_el0; ldr x10,[x0,56]; cmp x9,x10; b.ne on
    mine = [0xD53BD049, 0xF9401C0A, 0xEB0A013F, 0x54000001 | (1 + len(gate + counted)) << 5]
    return _words(begin + mine + gate + counted + on)


def _words(instructions: list[int]) -> bytes:
    return struct.pack(f"<{len(instructions)}I", *instructions)


CODE: dict[str, Callable[[str], bytes]] = {"x86_64": x86_64, "aarch64": aarch64}
"""The machine code, by architecture."""
_POINTER = "thread pointer"
_READ_POINTER = {
    # endbr64; mov rax,fs:0; ret
    "x86_64": bytes.fromhex("f30f1efa") + bytes.fromhex("64488b042500000000c3"),
    # bti c; mrs x0,tpidr_el0; ret
    "aarch64": struct.pack("<3I", 0xD503245F, 0xD53BD040, 0xD65F03C0),
}
"""Returns the thread pointer: on aarch64 the C library's thread id is a different number."""


@cache
def prepare() -> dict[str, int]:
    """Map the code; return the address of each function. Costs nothing when called again.

    Raises:
        BackendUnavailable: if allocations cannot be made to fail, naming the setting in the way.
    """
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        raise BackendUnavailable(
            "this Python is built without the GIL, and its allocators cannot be replaced while it runs. "
            "Use a build with the GIL for faults.memory()."
        )
    machine = os.uname().machine
    if machine not in CODE:
        raise BackendUnavailable(
            f"allocations fail on {' and '.join(CODE)} only, and this is {machine}. "
            "Leave faults.memory() out, or use .limited() alone."
        )
    body, at = b"", {}
    for name, code in (
        *((function, CODE[machine](function)) for function in _FUNCTIONS),
        (_POINTER, _READ_POINTER[machine]),
    ):
        at[name] = len(body)
        body += code + b"\0" * (-len(code) % 16)
    _interface()
    start = _executable(body)
    return {function: start + offset for function, offset in at.items()}


class _Interface:
    """CPython's functions that an :class:`Allocator` calls, and the layout of a thread state.

    Made once, before a fork: the objects that ctypes makes for a function would cost each case as much as its
    allocator.
    """

    def __init__(self) -> None:
        """Look everything up; change nothing.

        Raises:
        BackendUnavailable: if the field of the thread state is not found.
        """
        api = ctypes.pythonapi
        self.state = ctypes.PYFUNCTYPE(ctypes.c_void_p)(("PyThreadState_Get", api))
        self.get, self.set = api.PyMem_GetAllocator, api.PyMem_SetAllocator
        for one in (self.get, self.set):
            one.argtypes, one.restype = [ctypes.c_int, ctypes.POINTER(_Allocator)], None
        self._tracing = self._offset_of_tracing()

    def tracing(self) -> int:
        """The address of the counter of trace functions running in this thread."""
        return int(self.state()) + self._tracing

    def _offset_of_tracing(self) -> int:
        """The offset of that counter in a thread state.

        The field is not part of an interface, but two functions that increment and decrement it are
        (https://docs.python.org/3/c-api/init.html#c.PyThreadState_EnterTracing).
        """
        state = self.state()
        enter, leave = (
            ctypes.PYFUNCTYPE(None, ctypes.c_void_p)((f"PyThreadState_{name}Tracing", ctypes.pythonapi))
            for name in ("Enter", "Leave")
        )
        fields = (ctypes.c_int * _STATE_FIELDS).from_address(state)
        before = list(fields)
        enter(state)
        during = list(fields)
        leave(state)
        counted = (at for at in range(_STATE_FIELDS) if during[at] == before[at] + 1)
        found = [at for at in counted if fields[at] == before[at]]
        if len(found) != 1:
            raise BackendUnavailable(
                f"the thread state of Python {sys.version.split()[0]} is laid out in a way that is not "
                "known; expected one number that PyThreadState_EnterTracing changes. Leave faults.memory() "
                "out, and please report it."
            )
        return found[0] * ctypes.sizeof(ctypes.c_int)


@cache
def _interface() -> _Interface:
    return _Interface()


_READING = ctypes.CFUNCTYPE(ctypes.c_uint64)
"""The type of the function that reads the thread pointer."""
_STATE_FIELDS = 48
"""Words of a thread state to search. It is longer in every Python, and the field is near its beginning: at
byte 44 in 3.11, at byte 64 in 3.15."""


def _executable(code: bytes) -> int:
    """The address of a page with ``code`` that is never writable."""
    fd = os.memfd_create("chaoskit-allocator")
    try:
        os.write(fd, code.ljust(mmap.PAGESIZE, b"\0"))
        map_memory = ctypes.CDLL(None, use_errno=True).mmap
        map_memory.restype = ctypes.c_void_p
        map_memory.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
        address = map_memory(None, mmap.PAGESIZE, _PROT_READ_EXEC, _MAP_PRIVATE, fd, 0)
    finally:
        os.close(fd)
    if address is None or address == ctypes.c_void_p(-1).value:
        raise BackendUnavailable(
            f"memory that holds code could not be mapped ({os.strerror(ctypes.get_errno())}). In the way may "
            "be the sysctl vm.memfd_noexec=2, or SELinux (execmem)."
        )
    return int(address)


class Allocator:
    """The code in front of this process's allocators, counting in words that another process may read.

    Only the thread that makes this object counts.
    """

    def __init__(self, words: int) -> None:
        """``words`` is the address of the shared words. Nothing is changed before :meth:`install`.

        Raises:
            BackendUnavailable: as :func:`prepare`.
        """
        functions, api = prepare(), _interface()
        self._set = api.set
        tracing = api.tracing()
        thread = _READING(functions[_POINTER])()
        self._before: dict[int, _Allocator] = {}
        self._ours: dict[int, _Allocator] = {}
        self._contexts: list[object] = []
        for domain in (_MEMORY, _OBJECTS):
            before = _Allocator()
            api.get(domain, ctypes.byref(before))
            behind = [getattr(before, name) or 0 for name in ("ctx", *_FUNCTIONS)]
            context = (ctypes.c_uint64 * 8)(words, *behind, tracing, thread)
            # Kept for as long as the code may be called: until the process ends.
            self._contexts.append(context)
            self._before[domain] = before
            ours = (functions[name] for name in _FUNCTIONS)
            self._ours[domain] = _Allocator(ctypes.addressof(context), *ours)

    def install(self) -> None:
        """Put the code in front."""
        for domain, ours in self._ours.items():
            self._set(domain, ctypes.byref(ours))

    def remove(self) -> None:
        """Restore the original allocators, whose functions also free memory allocated in between."""
        for domain, before in self._before.items():
            self._set(domain, ctypes.byref(before))
