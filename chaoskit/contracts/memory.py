"""The memory that an object holds, without what the whole program shares."""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Iterable
from types import BuiltinFunctionType, CodeType, FrameType, FunctionType, ModuleType

# A logger refers to all other loggers and their handlers, and in a test run to every test.
_LOGGING = (logging.Logger, logging.Handler, logging.Manager)
_SHARED = (type, ModuleType, BuiltinFunctionType, CodeType, FrameType, *_LOGGING)


def deep_size(root: object) -> int:
    """The bytes of ``root`` and of everything that it refers to, except classes, modules, code and loggers.

    For a function these are its closure, defaults and attributes, but not its module.

    Only differences between two sizes mean something, since an object that several others share is counted
    for each ``root``.
    """
    seen = {id(root)}
    todo, total = [root], 0
    while todo:
        one = todo.pop()
        total += sys.getsizeof(one)
        for other in _referents(one):
            if id(other) not in seen and not isinstance(other, _SHARED):
                seen.add(id(other))
                todo.append(other)
    return total


def _referents(one: object) -> Iterable[object]:
    if isinstance(one, FunctionType):
        parts = (one.__closure__, one.__defaults__, one.__kwdefaults__, one.__dict__)
        return [part for part in parts if part is not None]
    return gc.get_referents(one)
