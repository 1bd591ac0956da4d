"""Notices operations that went around the interceptions, and names them.

A binding that was not found, a C library, a child process: their work is not seen as operations. The
interpreter's audit events (PEP 578) report most of it, so that it can be named. There are no events for
reads, writes and look-ups.
"""

from __future__ import annotations

import os
import sys
from typing import Any
from urllib.parse import unquote, urlsplit

from chaoskit.inject.inprocess import bindings
from chaoskit.inject.inprocess import run as runs
from chaoskit.inject.inprocess.run import WatchedRun

_NAMES: dict[str, tuple[int, ...]] = {
    "open": (0,),
    "os.rename": (0, 1),
    "os.link": (0, 1),
    "os.symlink": (1,),
    "os.remove": (0,),
    "os.rmdir": (0,),
    "os.mkdir": (0,),
    "os.truncate": (0,),
    "os.chmod": (0,),
    "os.chown": (0,),
    "os.utime": (0,),
    "os.listdir": (0,),
    "os.scandir": (0,),
    "os.setxattr": (0,),
    "os.removexattr": (0,),
    "sqlite3.connect": (0,),
}
"""The arguments of each event that are file names."""
_CHILDREN = frozenset(
    {"subprocess.Popen", "os.system", "os.posix_spawn", "os.exec", "os.fork", "os.forkpty", "os.spawn"}
)
_installed = False


def install() -> None:
    """Begin to listen. The audit hook stays until the interpreter ends, idle unless a run is armed."""
    global _installed
    if not _installed:
        _installed = True
        sys.addaudithook(_hear)


def _hear(event: str, args: tuple[Any, ...]) -> None:
    run = runs.current()
    if run is None or (event not in _NAMES and event not in _OTHERS) or run.passes():
        return
    with run.within():
        if event in _CHILDREN:
            run.caveat("child", event, f"{event}: what a child process does is not seen in this process")
        elif event == "mmap.__new__":
            _mapped(run, args)
        else:
            _named(run, event, args)


def _named(run: WatchedRun, event: str, args: tuple[Any, ...]) -> None:
    for place in _NAMES[event]:
        if place >= len(args) or isinstance(args[place], int):
            continue
        target = run.descriptors.below(run.descriptors.resolved(_path(args[place])))
        if target is not None:
            text = (
                f"{event} of {target} went around the interceptions, in {_caller()}: no fault could strike it"
            )
            run.caveat("went-around", f"{event}({target})", text)
            # The name may have been bound since the heap was searched.
            bindings.forget()


def _path(name: Any) -> Any:
    """The path in a name that SQLite may take for a URI (sqlite.org/uri.html)."""
    is_uri = isinstance(name, str) and name.startswith("file:")
    return unquote(urlsplit(name).path) if is_uri else name


def _mapped(run: WatchedRun, args: tuple[Any, ...]) -> None:
    file = run.descriptors.get(args[0]) if args else None
    if file is not None:
        text = f"{file.target} is mapped: what is stored into it is not seen"
        run.caveat("shared-mapping", file.target, text)


def _caller() -> str:
    frame = sys._getframe(1)
    ours = os.path.dirname(__file__)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(ours):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


_OTHERS = _CHILDREN | {"mmap.__new__"}
