"""Stop counting references to objects that a worker and its workloads share for life.

Calling a function writes to it, since the object itself counts its references. After a fork each such write
copies a page, in the worker and in the workload, and that is most of the cost of a short case. CPython 3.12
and later have objects whose references are not counted (PEP 683). This module makes such objects of whatever
the modules of the harness, of pytest and of the standard library define, which lives as long as its module
anyway. Objects of the program under test are left alone: their references are counted, and they are freed as
usual.

The number that marks them is not part of an interface, so it is tried on an object of ours first.
"""

from __future__ import annotations

import ctypes
import enum
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from functools import cache
from types import (
    BuiltinFunctionType,
    CodeType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodDescriptorType,
    ModuleType,
    WrapperDescriptorType,
)

__all__ = ["immortalize"]

_PACKAGES = {"chaoskit", "pytest", "_pytest", "pluggy"} | sys.stdlib_module_names
_DESCRIPTORS = {GetSetDescriptorType, MemberDescriptorType, MethodDescriptorType, WrapperDescriptorType}
_BUILTIN = _DESCRIPTORS | {BuiltinFunctionType}
_CONSTANTS = {tuple, bytes, float, int, frozenset}
_COUNT = {(3, 12): 0xFFFFFFFF, (3, 13): 0xFFFFFFFF, (3, 14): 3 << 30, (3, 15): 3 << 30}
"""The count of an immortal object by version: ``_Py_IMMORTAL_REFCNT`` and ``_Py_IMMORTAL_INITIAL_REFCNT`` of
refcount.h and object.h, of which the low half is enough."""


@cache
def immortalize() -> bool:
    """Make immortal what this process keeps for life; return False if this Python cannot.

    It takes some 60 ms, and saves each case one or two.
    """
    count = _COUNT.get(sys.version_info[:2])
    # A debug build adds up all counts, and one without the GIL has two for each object.
    if count is None or hasattr(sys, "gettotalrefcount") or sysconfig.get_config_var("Py_GIL_DISABLED"):
        return False
    if sys.byteorder != "little" or ctypes.sizeof(ctypes.c_void_p) != 8 or not _holds(count):
        return False
    # An object found twice is written twice: remembering all of them would take longer.
    for one in _shared():
        ctypes.c_uint32.from_address(id(one)).value = count
    return True


def _holds(count: int) -> bool:
    """True if the references to an object of ours with this count are not counted."""
    trial = object()
    before = sys.getrefcount(trial)
    written = ctypes.c_uint32.from_address(id(trial))
    if written.value not in (before, before - 1):
        return False
    written.value = count
    marked = sys.getrefcount(trial)
    more = [trial] * 10
    return marked == sys.getrefcount(more[0]) > before


def _shared() -> Iterator[object]:
    """What the modules of known packages define, with whatever is reachable only through that."""
    known = {
        name: module
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] in _PACKAGES and isinstance(module, ModuleType)
    }
    yield from known.values()
    for name, module in known.items():
        for value in list(vars(module).values()):
            if not issubclass(type(value), type):
                yield from _functions(value, known)
            # A class imported by a module belongs to another module, which may be the program under test.
            elif vars(value).get("__module__", name) == name:
                yield value
                for inner in list(vars(value).values()):
                    yield from _functions(inner, known)


def _functions(value: object, known: Mapping[str, ModuleType]) -> Iterator[object]:
    """A function, method or property of a known module, with its code and the constants of that.

    A replacement by the program belongs to the program, whatever its name. Checks the type rather than the
    object, which might create itself when first used.
    """
    kind = type(value)
    if kind is FunctionType:
        module = known.get(value.__module__)
        if module is not None and value.__globals__ is vars(module):  # type: ignore[attr-defined]
            yield value
            yield from _code(value.__code__)  # type: ignore[attr-defined]
    elif kind is property:
        yield value
        for one in (value.fget, value.fset, value.fdel):  # type: ignore[attr-defined]
            yield from _functions(one, known)
    elif kind in (staticmethod, classmethod):
        yield value
        yield from _functions(value.__func__, known)  # type: ignore[attr-defined]
    elif kind in _BUILTIN or issubclass(kind, enum.Enum):
        yield value


def _code(code: CodeType) -> Iterator[object]:
    yield code
    for one in code.co_consts:
        if isinstance(one, CodeType):
            yield from _code(one)
        elif type(one) in _CONSTANTS:
            yield one
