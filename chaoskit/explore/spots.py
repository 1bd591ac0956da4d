"""Where in the program an operation belongs, in words that survive moved lines and other machines.

Two operations belong together if the same function of the project makes them and they share a line or a kind
of file. Without a Python stack, the program stands for the function. What belongs together follows from the
recording alone, so it does not depend on the cases that a budget allows.
"""

from __future__ import annotations

import linecache
import os
import posixpath
import re
import sysconfig
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from chaoskit.core.operation import ROOT, Frame, Operation
from chaoskit.explore.align import Naming
from chaoskit.explore.border import Recording

# A bug is usually where the project calls a library, not within it.
_INSTALLED = tuple({os.path.join(sysconfig.get_path(name), "") for name in ("purelib", "platlib")})
_PYTHON = tuple({os.path.join(sysconfig.get_path(name), "") for name in ("stdlib", "platstdlib")})
_VARYING = re.compile(r"[0-9a-f]{8,}|\d+|\*+")
"""Parts of a name that are counters or random."""

_COMPREHENSION = re.compile(r"(?:^|\.<locals>\.|\.)<(?:list|set|dict)comp>")
_SIBLINGS = 3
"""From this many on, names that differ only before their extension are files of one kind."""
_NAMELESS = 8
"""The same for names without an extension: a few of these usually mean different things (HEAD, config)."""


class Spot(NamedTuple):
    """``owner``: the function, with its file, or the program; ``kind``: the kind of files concerned."""

    owner: str
    kind: str


class Spots:
    """The spots of the operations of one recording, and of later runs of its test (in the file ``test``)."""

    def __init__(self, recording: Recording, test: str = "") -> None:
        self._test = test
        self._naming = Naming(recording.patterns)
        self._kinds = _Kinds(name for one in recording.trace for name in self._names(one))
        self._direct = {
            (frame.file, function_of(frame), wildcarded(name))
            for operation in recording.trace
            if (frame := own_frame(operation, test)) is not None
            for name in self._names(operation)
        }
        self._parents: dict[tuple[str, str], tuple[str, str]] = {}
        for operation in recording.trace:
            self._join(operation)
        self._least: dict[tuple[str, str], str] = {}
        for node in list(self._parents):
            name, root = node[1], self._root(node)
            if not name.startswith(_LINE):
                self._least[root] = min(name, self._least.get(root, name))

    def spot(self, operation: Operation) -> Spot:
        """Where the operation belongs."""
        owner = self._owner(operation)
        nodes = list(self._nodes(operation))
        for node in nodes:
            if node in self._parents:
                return Spot(owner, self._least.get(self._root(node), ""))
        return Spot(owner, min((name for _, name in nodes if not name.startswith(_LINE)), default=""))

    def directory(self, operation: Operation) -> Spot:
        """Where a missing sync of its directory belongs: one call fixes it for all entries."""
        name = wildcarded(operation.second or operation.target)
        return Spot(self._owner(operation), f"{posixpath.dirname(name) or ROOT}/")

    def call(self, operation: Operation) -> Spot:
        """As :meth:`spot`, but with the call in the kind if no function is known."""
        spot = self.spot(operation)
        return spot if operation.stack else Spot(spot.owner, f"{operation.call} {spot.kind}")

    def _nodes(self, operation: Operation) -> Iterator[tuple[str, str]]:
        owner, frame = self._owner(operation), self._frame(operation)
        # Only Python shows which names one line uses; without it, similar names are the only clue.
        kind = self._kinds.of if frame is None else wildcarded
        for name in self._names(operation):
            yield owner, kind(name)
        if frame is not None:
            yield owner, f"{_LINE}{frame.line}"

    def _owner(self, operation: Operation) -> str:
        """The function or program that makes a call."""
        frame = self._frame(operation)
        if frame is None:
            # The ordinal distinguishes processes, not programs.
            return operation.place.process.partition("~")[0] or "program"
        return f"{os.path.basename(frame.file)}:{function_of(frame)}"

    def _frame(self, operation: Operation) -> Frame | None:
        """The frame of the function that a call belongs to.

        A function that opens a file and lets a helper write to it is responsible for both: of the functions
        on the stack that make calls on the same file themselves, it is the outermost.
        """
        own = own_frame(operation, self._test)
        if own is None or not _is_own(own):
            return own
        kinds = [wildcarded(name) for name in self._names(operation)]
        outwards = operation.stack[operation.stack.index(own) :]
        answerable = [
            frame
            for frame in outwards
            if _is_own(frame)
            and any((frame.file, function_of(frame), kind) in self._direct for kind in kinds)
        ]
        return answerable[-1] if answerable else own

    def _names(self, operation: Operation) -> Iterator[str]:
        for name in (operation.target, operation.second):
            if name and name != ROOT:
                # Without the directory: where the root is depends on the machine.
                yield self._naming.name(posixpath.basename(name) if name.startswith("/") else name)

    def _join(self, operation: Operation) -> None:
        nodes = list(self._nodes(operation))
        for node in nodes:
            self._parents.setdefault(node, node)
            self._parents[self._root(node)] = self._root(nodes[0])

    def _root(self, node: tuple[str, str]) -> tuple[str, str]:
        while self._parents[node] != node:
            # Halving the path keeps it short (Tarjan and van Leeuwen, 1984).
            self._parents[node] = self._parents[self._parents[node]]
            node = self._parents[node]
        return node


_LINE = "\n"
"""Marks a line among the names of files: :func:`wildcarded` leaves no line break in those."""


def own_frame(operation: Operation, test: str = "") -> Frame | None:
    """The innermost frame outside libraries; the innermost of all if every frame is in a library.

    If that frame is in the module of the ``test``, then what it calls is under test: the result is the
    innermost frame of an installed package, if there is one.
    """
    stack = operation.stack
    own = next(filter(_is_own, stack), None)
    if own is None or own.file == test:
        inner = stack[: stack.index(own)] if own is not None else stack
        installed = next((frame for frame in inner if frame.file.startswith(_INSTALLED)), None)
        return installed or own or next(iter(stack), None)
    return own


def _is_own(frame: Frame) -> bool:
    return not frame.file.startswith((*_PYTHON, *_INSTALLED, "<frozen"))


def function_of(frame: Frame) -> str:
    """The function of a frame; for a comprehension the one around it, which runs it from Python 3.12 on.

    PEP 709 made comprehensions part of that function, and an id must be the same on every Python.
    """
    return _COMPREHENSION.sub("", frame.function) or "<module>"


def text_of(frame: Frame) -> str:
    """The source line with whitespace normalised; its number if there is no source."""
    return " ".join(linecache.getline(frame.file, frame.line).split()) or f"line {frame.line}"


def wildcarded(name: str) -> str:
    """``name`` with a star for each counter and each random part."""
    return _VARYING.sub("*", name.replace(_LINE, "?"))


class _Kinds:
    """The kinds of files in a recording: many siblings share one pattern."""

    def __init__(self, names: Iterable[str]) -> None:
        paths = {tuple(name.split("/")) for name in names}
        self._many: set[tuple[str, str]] = set()
        # From the root downwards: which names are siblings depends on which directories are of one kind.
        for depth in range(max(map(len, paths), default=0)):
            siblings: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
            for parts in paths:
                if len(parts) > depth:
                    siblings[self._folder(parts[:depth]), _extension(parts[depth])].add(parts[depth])
            self._many |= {
                key for key, found in siblings.items() if len(found) >= (_SIBLINGS if key[1] else _NAMELESS)
            }

    def of(self, name: str) -> str:
        """The pattern for a name."""
        return self._folder(tuple(name.split("/")))

    def _folder(self, parts: tuple[str, ...]) -> str:
        folder = ""
        for part in parts:
            extension = _extension(part)
            base = f"*{extension}" if (folder, extension) in self._many else wildcarded(part)
            folder = posixpath.join(folder, base)
        return folder


def _extension(name: str) -> str:
    return posixpath.splitext(name)[1]
