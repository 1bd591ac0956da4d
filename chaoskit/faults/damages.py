"""Damage to a project's own file format.

:func:`register` adds a format; :func:`cuts`, :func:`flips`, :func:`made` and :func:`replaced` make damages::

    def damages(data):
        yield from cuts("record1", data, ("header", 8), ("payload", 12))
        yield from flips("record1", data, ("crc", 8))
        yield made("", "version.unknown", replaced(data, 4, b"\\xff"))

    take_back = register("journal", lambda data: data.startswith(b"JRNL"), damages)
"""

from __future__ import annotations

from chaoskit.faults.corrupt.damage import Damage, cuts, flips, made, replaced
from chaoskit.faults.corrupt.formats import format_of, names, register

__all__ = ["Damage", "cuts", "flips", "format_of", "made", "names", "register", "replaced"]
