"""Pickles: cut and changed at opcodes, and hostile ones, which no program should load."""

from __future__ import annotations

import pickletools
import struct

from chaoskit.faults.corrupt.damage import Damages, cuts, flips, made, replaced

_SHOWN = 40
"""The most opcodes that are damaged one by one: a large pickle repeats the same few."""
_PROTO = b"\x80"


def is_pickle(data: bytes) -> bool:
    """Return True for protocol 2 and later, which begin with a mark and end with a full stop."""
    return data[:1] == _PROTO and data[1:2] <= b"\x06" and data[-1:] == b"."


def is_sound(data: bytes) -> bool:
    """Return True if it can be disassembled to its end. What it would do is not examined."""
    try:
        for _, _, _ in pickletools.genops(data):
            pass
    # pickletools passes on whatever its argument readers raise.
    except Exception:
        return False
    return True


def damages(data: bytes) -> Damages:
    """Enumerate: hostile ones first, then each opcode."""
    # They only print a word, but they execute code: a program that loads them can be taken over.
    yield made("hostile", "code", b"cbuiltins\nprint\n(S'this pickle has run code'\ntR.")
    yield made("", "class-missing", b"\x80\x04c__main__\nGone\n)\x81.")
    yield made("", "module-missing", b"\x80\x04cno_such_module\nX\n)\x81.")
    yield made("", "protocol-99", replaced(data, 1, b"\x63"))
    yield made("", "frame.huge", b"\x80\x04\x95" + b"\xff" * 7 + b"\x7f" + data[11:])
    yield made("", "length.huge", b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b"x.")
    for number, (code, _, at) in enumerate(pickletools.genops(data), 1):
        if number > _SHOWN:
            return
        if at is not None:
            name = f"op{number}"
            yield from cuts(name, data, (f"before.{code.name.lower()}", at))
            yield from flips(name, data, (code.name.lower(), at))
