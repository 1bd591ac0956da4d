"""How much memory an object holds, without what the whole program shares."""

from __future__ import annotations

import gc
import sys
from types import BuiltinFunctionType, CodeType, FrameType, FunctionType, MethodType, ModuleType

_SHARED = (type, ModuleType, FunctionType, MethodType, BuiltinFunctionType, CodeType, FrameType)


def deep_size(root: object) -> int:
    """Bytes of ``root`` and of everything that it refers to, without classes, modules and code.

    Only differences mean something: what two objects share is counted for each of them.
    """
    seen = {id(root)}
    todo, total = [root], 0
    while todo:
        one = todo.pop()
        total += sys.getsizeof(one)
        for other in gc.get_referents(one):
            if id(other) not in seen and not isinstance(other, _SHARED):
                seen.add(id(other))
                todo.append(other)
    return total
