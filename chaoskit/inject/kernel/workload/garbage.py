"""What a workload leaves to the garbage collector to close: Python warns of it, and shows that to few.

Descriptors are counted when the workload is over, and by then the frames that held a forgotten file are gone
and it was closed. A file that only a variable of a frame had is gone with it wherever that runs. One that is
an object's stays open as long as a caller keeps the object, so whether it leaks is up to strangers.
"""

from __future__ import annotations

import gc
import io
import sys
import types
import warnings
from typing import Any

MOST = 100
"""Texts that are kept: a loop may leave a thousand files, and one says as much."""
_TOO_MANY = 200_000
"""Objects of a workload at which files are no longer looked for: a case must not take longer for it."""
_File: type[io.IOBase] = io.IOBase.__mro__[1]
"""The class in C that every file has for a base. It is not abstract: to ask whether something is a file
then takes no look into tables, each of which is a page that is copied in the forked process."""
_heard: list[str] = []


def listen() -> None:
    """Keep what ResourceWarning says in this process from now on; other warnings go their way."""
    shown: Any = warnings.showwarning

    def show(message: Any, category: type[Warning], *place: Any, **more: Any) -> None:
        if not issubclass(category, ResourceWarning):
            shown(message, category, *place, **more)
        # The others are about processes and directories, which are looked for in other ways.
        elif str(message).startswith("unclosed") and len(_heard) < MOST:
            _heard.append(str(message))

    warnings.showwarning = show
    # Ignored by default, and an error in a destructor is heard by nothing at all.
    warnings.simplefilter("always", ResourceWarning)


def held_by_objects() -> set[str]:
    """What will be said of those files that something else than a frame holds: asked when an error came out.

    Only of what was made since the fork: all else was frozen.
    """
    objects = gc.get_objects()
    if len(objects) > _TOO_MANY:
        return set()
    files = [one for one in objects if isinstance(one, _File) and not one.closed]
    ours = {id(objects), id(files)}
    return {f"unclosed file {file!r}" for file in files if _is_held(file, ours)}


def _is_held(file: io.IOBase, ours: set[int]) -> bool:
    holders = (one for one in gc.get_referrers(file) if id(one) not in ours)
    # A buffer holds its raw file, and a text its buffer: of these the outermost counts.
    return any(not isinstance(one, (types.FrameType, _File, types.GeneratorType)) for one in holders)


def forget_records() -> None:
    """Empty the lists of log records that pytest keeps: the workload is over, and the test has lists apart.

    A record keeps the error that it tells of, an error its frames, and those all that the program had open
    in them. Alone, where the record is written and forgotten, it would be closed by now.
    """
    logging = sys.modules.get("logging")
    for handler in logging.getLogger().handlers if logging is not None else ():
        records = getattr(handler, "records", None)
        if type(handler).__module__.startswith("_pytest.") and isinstance(records, list):
            records.clear()


def unclosed(held: set[str]) -> tuple[list[str], list[str]]:
    """What was closed by the collector alone, in Python's words: of objects, and of frames."""
    return [text for text in _heard if text in held], [text for text in _heard if text not in held]
