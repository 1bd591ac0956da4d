"""Files that a workload leaves to the garbage collector to close. Python's warnings of them are seldom shown.

Descriptors are counted when the workload is over. By then the frames that held a forgotten file are gone, and
it is closed. A file held only by a variable is closed with its frame wherever the function runs. A file held
by an object stays open as long as some caller keeps the object, so it may leak elsewhere.
"""

from __future__ import annotations

import gc
import io
import sys
import types
import warnings
from typing import Any

MOST = 100
"""How many warnings are kept: a loop may leave a thousand files, all with the same message."""
_TOO_MANY = 200_000
"""With this many objects no files are searched for, since it would slow a case down."""
_File: type[io.IOBase] = io.IOBase.__mro__[1]
"""The C base class of all files. It is not abstract: isinstance needs no tables, whose pages a forked process
would have to copy."""
_heard: list[str] = []


def listen() -> None:
    """From now on collect texts of ResourceWarning in this process; show other warnings as before."""
    shown: Any = warnings.showwarning

    def show(message: Any, category: type[Warning], *place: Any, **more: Any) -> None:
        if not issubclass(category, ResourceWarning):
            shown(message, category, *place, **more)
        # Other texts are about processes and directories, which are found in other ways.
        elif str(message).startswith("unclosed") and len(_heard) < MOST:
            _heard.append(str(message))

    warnings.showwarning = show
    # "always", since the default ignores them, and an error raised in a destructor is lost.
    warnings.simplefilter("always", ResourceWarning)


def held_by_objects() -> set[str]:
    """The future warnings about files that something other than a frame holds, after an error.

    This sees only objects made since the fork; older ones are frozen.
    """
    objects = gc.get_objects()
    if len(objects) > _TOO_MANY:
        return set()
    files = [one for one in objects if isinstance(one, _File) and not one.closed]
    ours = {id(objects), id(files)}
    return {f"unclosed file {file!r}" for file in files if _is_held(file, ours)}


def _is_held(file: io.IOBase, ours: set[int]) -> bool:
    holders = (one for one in gc.get_referrers(file) if id(one) not in ours)
    # A buffer holds its raw file, a text file its buffer: only the outermost counts.
    return any(not isinstance(one, (types.FrameType, _File, types.GeneratorType)) for one in holders)


def forget_records() -> None:
    """Empty pytest's lists of log records in this process: the test process has its own.

    A record keeps its error, the error its frames, and the frames the program's open files. Without pytest
    the record would be forgotten, and they would be closed by now.
    """
    logging = sys.modules.get("logging")
    for handler in logging.getLogger().handlers if logging is not None else ():
        records = getattr(handler, "records", None)
        if type(handler).__module__.startswith("_pytest.") and isinstance(records, list):
            records.clear()


def unclosed(held: set[str]) -> tuple[list[str], list[str]]:
    """Python's warnings about what only the collector closed: from objects, and from frames."""
    return [text for text in _heard if text in held], [text for text in _heard if text not in held]
