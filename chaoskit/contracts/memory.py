"""How much memory an object holds, without what the whole program shares."""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Iterable
from types import BuiltinFunctionType, CodeType, FrameType, FunctionType, ModuleType

# A logger leads to all other loggers and their handlers, and in a test run to every test that there is.
_LOGGING = (logging.Logger, logging.Handler, logging.Manager)
_SHARED = (type, ModuleType, BuiltinFunctionType, CodeType, FrameType, *_LOGGING)


def deep_size(root: object) -> int:
    """Bytes of ``root`` and of everything that it refers to, without classes, modules, code and logs.

    Of a function, that is what it is closed over, its defaults and attributes: not the module around it.

    Only differences mean something: what two objects share is counted for each of them.
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
