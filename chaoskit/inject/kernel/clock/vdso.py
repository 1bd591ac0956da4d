"""The vDSO, where programs read clocks without a system call, and our code for it.

C libraries read clocks by functions of this page, which the kernel maps into each process at exec (vdso(7)).
We replace its code in the workload's processes alone: a write through ``/proc/PID/mem`` gives the process its
own copy of the page. There are two versions. One computes the time from a table that follows it and the
processor's counter; the other makes the system call, which stops like any other. The first switches to the
second at a negative entry in the table.
"""

from __future__ import annotations

import ctypes
import struct
from dataclasses import dataclass
from functools import cache

from chaoskit.inject import processes
from chaoskit.inject.kernel.seccomp import abi

CLOCKS = 12
"""How many clocks the table has, from ``CLOCK_REALTIME`` to ``CLOCK_TAI`` (linux/time.h)."""
TABLE = struct.Struct(f"={CLOCKS}qQQ")
"""Each clock's nanoseconds at a value of the counter; that value; nanoseconds times 2**32 per step."""

_AT_SYSINFO_EHDR = 33
_PT_LOAD, _PT_DYNAMIC = 1, 2
_DT_STRTAB, _DT_SYMTAB, _DT_HASH, _DT_GNU_HASH = 5, 6, 4, 0x6FFFFEF5
_FUNCTION = 2
_GETTIME, _TIMEOFDAY, _TIME = "__vdso_clock_gettime", "__vdso_gettimeofday", "__vdso_time"
_NUMBERS = {_GETTIME: 228, _TIMEOFDAY: 96, _TIME: 201}
_ENTRY = bytes.fromhex("f30f1efa")  # endbr64: where an indirect call may lead
_JUMP = 9


@dataclass(frozen=True, slots=True)
class Patch:
    """``writes`` are bytes and their offsets in the page; ``table`` is the offset of the table.

    Without a table all reads are system calls.
    """

    writes: tuple[tuple[int, bytes], ...]
    table: int | None


def base(pid: int | str) -> int | None:
    """The address of the page in a process; None if it has none, or is gone."""
    # It is a 64-bit process like ours: calls of others are refused.
    vector = processes.read(f"/proc/{pid}/auxv")
    pairs = struct.iter_unpack("=QQ", vector[: len(vector) // 16 * 16])
    return next((value for key, value in pairs if key == _AT_SYSINFO_EHDR), None)


@cache
def image() -> bytes:
    """The page of this process, which is the same in every process of this kernel."""
    start = base("self")
    with open("/proc/self/maps") as maps:
        for line in maps:
            if start is not None and line.endswith("[vdso]\n"):
                low, high = (int(part, 16) for part in line.split()[0].split("-"))
                return ctypes.string_at(low, high - low)
    return b""


@cache
def patch(counted: bool) -> Patch | None:
    """The patch for the page, with a table if ``counted`` and it fits; None if there is no such page."""
    if abi.machine() != "x86_64" or not image():
        return None
    functions = symbols(image())
    if _GETTIME not in functions:
        return None
    places = {name: functions[name] for name in _NUMBERS if name in functions}
    body, where = _body(places[_GETTIME][0])
    fits = len(body) <= places[_GETTIME][1] and all(size >= _JUMP for _, size in places.values())
    if not counted or not fits:
        return Patch(tuple((offset, _call(_NUMBERS[name])) for name, (offset, _) in places.items()), None)
    writes = [(places[_GETTIME][0], body)]
    for name in (_TIMEOFDAY, _TIME):
        if name in places:
            offset = places[name][0]
            jump = struct.pack("<i", where[name] - (offset + _JUMP))
            writes.append((offset, _ENTRY + b"\xe9" + jump))
    return Patch(tuple(writes), where["table"])


def _call(number: int) -> bytes:
    """Code of a function that makes a system call with its own arguments."""
    return _ENTRY + b"\xb8" + struct.pack("<I", number) + b"\x0f\x05\xc3"


def _body(start: int) -> tuple[bytes, dict[str, int]]:
    """The three functions and their table, placed at ``start``, and the addresses of the parts.

    Two rounds: the table comes last, so its address depends on the length of the functions.
    """
    table = start
    for _ in range(2):
        code, where = b"", {}
        for name, make in ((_GETTIME, _gettime), (_TIMEOFDAY, _timeofday), (_TIME, _time)):
            where[name] = start + len(code)
            code += make(start + len(code), table)
        code += bytes(-(start + len(code)) % 8)
        table = where["table"] = start + len(code)
    return code + bytes(TABLE.size), where


def _now(at: int, table: int, real: int) -> bytes:
    """Code at address ``at`` that puts the time of clock ``ecx`` into ``rax``.

    It jumps ``real`` bytes beyond its end if that clock's entry in the table is negative.
    """
    lea = b"\x4c\x8d\x05" + struct.pack("<i", table - (at + 7))  # lea r8, [rip + table]
    entry = bytes.fromhex("4d8b0cc8 4d85c9")  # mov r9, [r8 + rcx*8]; test r9, r9
    rest = bytes.fromhex(
        "0faee8 0f31 48c1e220 4809d0"  # lfence; rdtsc; shl rdx, 32; or rax, rdx
        "31c9 492b4060 480f42c1"  # xor ecx, ecx; sub rax, [r8 + 96]; cmovb rax, rcx
        "49f76068 480facd020 4c01c8"  # mul qword [r8 + 104]; shrd rax, rdx, 32; add rax, r9
    )
    return lea + entry + b"\x78" + bytes([len(rest) + real]) + rest  # js


_DIVIDE = bytes.fromhex("31d2 b900ca9a3b 48f7f1")  # xor edx, edx; mov ecx, 10**9; div rcx


def _gettime(at: int, table: int) -> bytes:
    """clock_gettime(edi, rsi)."""
    head = _ENTRY + bytes.fromhex("83ff0b")  # cmp edi, 11
    tail = _DIVIDE + bytes.fromhex("488906 48895608 31c0 c3")  # mov [rsi], rax; mov [rsi+8], rdx; return 0
    # Negative numbers, which are the clocks of processors, are above 11 without their sign.
    read = b"\x89\xf9" + _now(at + len(head) + 4, table, len(tail))  # mov ecx, edi
    return head + b"\x77" + bytes([len(read) + len(tail)]) + read + tail + _call(_NUMBERS[_GETTIME])


def _timeofday(at: int, table: int) -> bytes:
    """gettimeofday(rdi, rsi). With a time zone, or without a place for the time, it makes the system call."""
    tail = _DIVIDE + bytes.fromhex(
        "488907 89d0 31d2 b9e8030000 f7f1 48894708 31c0 c3"  # mov [rdi], rax; edx / 1000 to [rdi+8]; return 0
    )
    read = b"\x31\xc9" + _now(at + len(_ENTRY) + 12, table, len(tail))  # xor ecx, ecx
    size = len(read) + len(tail)
    head = bytes.fromhex("4885f6 75") + bytes([size + 5]) + bytes.fromhex("4885ff 74") + bytes([size])
    return _ENTRY + head + read + tail + _call(_NUMBERS[_TIMEOFDAY])


def _time(at: int, table: int) -> bytes:
    """time(rdi)."""
    tail = _DIVIDE + bytes.fromhex("4885ff 7403 488907 c3")  # if rdi is not 0: mov [rdi], rax
    read = b"\x31\xc9" + _now(at + len(_ENTRY) + 2, table, len(tail))
    return _ENTRY + read + tail + _call(_NUMBERS[_TIME])


def symbols(elf: bytes) -> dict[str, tuple[int, int]]:
    """The functions of a shared object in memory: name to offset and size (elf(5))."""
    (table,) = struct.unpack_from("<Q", elf, 32)
    width, count = struct.unpack_from("<HH", elf, 54)
    rows = [struct.unpack_from("<IIQQQQ", elf, table + width * i) for i in range(count)]
    shift = next(virtual - offset for kind, _, offset, virtual, *_ in rows if kind == _PT_LOAD)
    start, size = next((offset, size) for kind, _, offset, _, _, size in rows if kind == _PT_DYNAMIC)
    dynamic = dict(struct.iter_unpack("<QQ", elf[start : start + size // 16 * 16]))
    names, entries = dynamic[_DT_STRTAB] - shift, dynamic[_DT_SYMTAB] - shift
    found = {}
    for i in range(_how_many(elf, dynamic, shift)):
        name, info, _, _, value, length = struct.unpack_from("<IBBHQQ", elf, entries + 24 * i)
        if info & 15 == _FUNCTION:
            text = elf[names + name : elf.index(b"\0", names + name)].decode()
            found[text] = (value - shift, length)
    return found


def _how_many(elf: bytes, dynamic: dict[int, int], shift: int) -> int:
    """The number of symbols, which only the hash tables show."""
    if _DT_HASH in dynamic:
        return int(struct.unpack_from("<I", elf, dynamic[_DT_HASH] - shift + 4)[0])
    at = dynamic[_DT_GNU_HASH] - shift
    buckets, first, words, _ = struct.unpack_from("<IIII", elf, at)
    heads = at + 16 + 8 * words
    last = max(struct.unpack_from(f"<{buckets}I", elf, heads))
    # A chain ends with a hash whose lowest bit is set.
    while last >= first and not struct.unpack_from("<I", elf, heads + 4 * (buckets + last - first))[0] & 1:
        last += 1
    return int(last) + 1
