"""Interceptions in the file system that pyfakefs keeps in memory.

Its modules and functions replace ``os`` and ``io`` in the program's modules; this module replaces those in
turn. Its own ``open`` is not used for files below the root: they are built on its descriptors, so that faults
strike where buffers are written, as with real files.
"""

from __future__ import annotations

import builtins
import io
import sys
from collections.abc import Callable, Mapping
from types import MethodType
from typing import Any

from chaoskit.core.operation import FileDetail
from chaoskit.inject.inprocess import opening
from chaoskit.inject.inprocess.call import PythonCall
from chaoskit.inject.inprocess.machine import FakeMachine
from chaoskit.inject.inprocess.run import WatchedRun
from chaoskit.inject.inprocess.wrapping import Interception, Understand

_SKIPPED_ARGUMENTS = 2
"""``fake_open`` takes the file system and a list of modules before the arguments of ``open``."""
_OF_PATHS = (
    "mkdir",
    "unlink",
    "rmdir",
    "rename",
    "replace",
    "symlink",
    "link",
    "chmod",
    "readlink",
    "listdir",
)
"""What the paths of pyfakefs call on their file system, bypassing its ``os``."""


def replaced(machine: FakeMachine, table: Mapping[str, Understand]) -> Callable[[], None]:
    """Replace the functions of pyfakefs by interceptions; return a function that undoes it."""
    undo: list[Callable[[], object]] = []
    fakes = machine.patcher.fake_modules
    for name, understand in table.items():
        if hasattr(type(machine.os), name) or name in ("kill", "abort", "_exit"):
            _put(undo, machine.os, name, Interception(getattr(machine.os, name), understand))
    _put(undo, machine.os, "fdopen", Interception(machine.os.fdopen, opening.understood))
    opened = Interception(builtins.open, opening.understood)
    for holder in (fakes["io"], fakes.get("_io")):
        if holder is not None:
            _put(undo, holder, "open", Interception(holder.open, opening.understood))
    _put_functions(undo, machine, opened)
    for module in ("pyfakefs.fake_pathlib", "pyfakefs.fake_io"):
        below = sys.modules[module]
        _put(undo, below, "fake_open", Interception(vars(below)["fake_open"], _of_its_own))

    def by_text(function: Callable[..., Any]) -> Callable[..., Any]:
        # Through os, so that it is seen; a method of a file system would get paths as text.
        return lambda *args, **words: function(
            *(str(a) if hasattr(a, "__fspath__") else a for a in args), **words
        )

    accessor = sys.modules["pyfakefs.fake_pathlib"]._fake_accessor
    for name in _OF_PATHS:
        if hasattr(accessor, name):
            _put(undo, accessor, name, by_text(getattr(machine.os, name)))

    def restore() -> None:
        while undo:
            undo.pop()()

    return restore


def _put_functions(undo: list[Callable[[], object]], machine: FakeMachine, opened: Interception) -> None:
    """Replace its functions where modules hold them: ``open``, and names from ``from os import …``."""
    for module, name, function in _bound(machine):
        instead = opened if function == "open" else vars(machine.os).get(function)
        if isinstance(instead, Interception):
            _put(undo, module, name, instead)


_known: tuple[Any, int, list[tuple[Any, str, str]]] = (None, 0, [])
"""The file system and the number of modules of the last search, and the places that it found."""


def _bound(machine: FakeMachine) -> list[tuple[Any, str, str]]:
    """Module, name in it, and function; searched once for each file system in memory.

    A property test arms faults a thousand times in one, and a search takes some milliseconds.
    """
    global _known
    if _known[0] is machine.files and _known[1] == len(sys.modules):
        return _known[2]
    fake_open, real_open = builtins.open, io.open
    found = []
    for module in list(sys.modules.values()):
        names = getattr(module, "__dict__", None)
        if not isinstance(names, dict) or names.get("__name__", "").startswith("pyfakefs"):
            continue
        for name, value in list(names.items()):
            if value is fake_open and value is not real_open:
                found.append((module, name, "open"))
            elif isinstance(value, MethodType) and value.__self__ is machine.os:
                found.append((module, name, value.__name__))
    _known = (machine.files, len(sys.modules), found)
    return found


def _put(undo: list[Callable[[], object]], holder: Any, name: str, value: Any) -> None:
    names = vars(holder)
    had, old = name in names, names.get(name)
    setattr(holder, name, value)
    undo.append((lambda: setattr(holder, name, old)) if had else (lambda: delattr(holder, name)))


def _of_its_own(run: WatchedRun, original: Any, args: Any, words: Any) -> PythonCall | None:
    """A call of ``fake_open``, which its ``pathlib`` and ``io`` use to open files."""
    call = opening.understood(run, original, args[_SKIPPED_ARGUMENTS:], words)
    return None if call is None else PythonCall("", "", "open", call.do, FileDetail)
