"""The handlers of a project, from its source: where each is, and which lines belong to it."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

from chaoskit.core.operation import Frame
from chaoskit.core.source import of_a_library

HandlerKind = Literal["except", "finally", "with"]

_PACKAGE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))) + os.sep
_RUNTIME = os.path.join(_PACKAGE, "runtime") + os.sep
"""The half of this package that programs use, and that may be under test."""

_Functions = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class HandlerSite:
    """One handler. ``line`` is that of an ``except`` or ``with``, or the first one in a ``finally``."""

    kind: HandlerKind
    line: int
    bare: bool = False
    """True for ``except:`` without a type."""
    body: tuple[int, ...] = ()
    """The lines of its statements; none for a ``with``, whose exit is elsewhere."""
    clauses: int = 0
    """How many handlers before this ``finally`` are clauses of the same statement."""


FunctionKey = tuple[str, int, str]
"""File, first line, and name of a function, as its code object has them."""


@dataclass(frozen=True, slots=True)
class Handlers:
    """The handlers of several files, numbered; the numbers of their lines follow.

    ``functions`` has the numbers of the handlers of each function, ``lines`` the numbers of the lines, by
    file.
    """

    sites: tuple[tuple[Frame, HandlerSite], ...] = ()
    functions: Mapping[FunctionKey, tuple[int, ...]] = field(default_factory=dict)
    lines: Mapping[tuple[str, int], int] = field(default_factory=dict)
    behind: Mapping[int, range] = field(default_factory=dict)
    """For the number of a ``finally``, those of the clauses before it."""

    def __len__(self) -> int:
        return len(self.sites) + len(self.lines)

    def tests(self, frame: Frame) -> bool:
        """True if a place is in a test file, by pytest's naming."""
        name = os.path.basename(frame.file)
        return name.startswith("test_") or name.endswith("_test.py") or name == "conftest.py"


def scan() -> Handlers:
    """The handlers of all loaded modules of the project.

    Modules that only a workload loads are unknown, since it is another process. Code that runs while a module
    or class is defined is left out, since it is over before any fault.
    """
    files = {str(getattr(module, "__file__", None) or "") for module in list(sys.modules.values())}
    return _numbered(tuple(sorted(file for file in files if _counts(file))))


def _counts(file: str) -> bool:
    if not file.endswith(".py") or of_a_library(file):
        return False
    return not file.startswith(_PACKAGE) or file.startswith(_RUNTIME)


@cache
def _numbered(files: tuple[str, ...]) -> Handlers:
    sites: list[tuple[Frame, HandlerSite]] = []
    functions: dict[FunctionKey, tuple[int, ...]] = {}
    for file in files:
        for first, name, found in _of_file(file):
            numbers = range(len(sites), len(sites) + len(found))
            functions[file, first, name.rpartition(".")[2]] = tuple(numbers)
            sites += [(Frame(file, one.line, name), one) for one in found]
    lines = dict.fromkeys((frame.file, line) for frame, site in sites for line in site.body)
    behind = {i: range(i - site.clauses, i) for i, (_, site) in enumerate(sites) if site.clauses}
    return Handlers(tuple(sites), functions, {line: len(sites) + i for i, line in enumerate(lines)}, behind)


@cache
def _of_file(file: str) -> tuple[tuple[int, str, tuple[HandlerSite, ...]], ...]:
    """For each function with handlers: its first line, its qualified name, and the handlers."""
    try:
        with open(file, "rb") as opened:
            tree = ast.parse(opened.read())
    except (OSError, SyntaxError, ValueError):
        return ()  # It was loaded, so it has been removed or changed since: nothing is known about it.
    return tuple(_functions(tree, ""))


def _functions(node: ast.AST, prefix: str) -> Iterator[tuple[int, str, tuple[HandlerSite, ...]]]:
    for child in ast.iter_child_nodes(node):
        inner = prefix
        if isinstance(child, _Functions):
            if found := tuple(_handlers(child.body)):
                first = min([child.lineno, *(one.lineno for one in child.decorator_list)])
                yield first, f"{prefix}{child.name}", found
            inner = f"{prefix}{child.name}.<locals>."
        elif isinstance(child, ast.ClassDef):
            inner = f"{prefix}{child.name}."
        yield from _functions(child, inner)


def _handlers(body: Iterable[ast.AST]) -> Iterator[HandlerSite]:
    """The handlers in these statements, those of inner functions left out."""
    for node in body:
        if isinstance(node, _Functions | ast.ClassDef | ast.Lambda):
            continue
        if isinstance(node, ast.With | ast.AsyncWith):
            yield HandlerSite("with", node.lineno)
        if isinstance(node, ast.Try | ast.TryStar):
            for handler in node.handlers:
                yield HandlerSite("except", handler.lineno, handler.type is None, _lines(handler.body))
            # "finally: pass" leaves nothing in the code.
            if any(not isinstance(one, ast.Pass) for one in node.finalbody):
                lines, clauses = _lines(node.finalbody), len(node.handlers)
                yield HandlerSite("finally", node.finalbody[0].lineno, body=lines, clauses=clauses)
        yield from _handlers(ast.iter_child_nodes(node))


def _lines(body: Iterable[ast.stmt]) -> tuple[int, ...]:
    found = {node.lineno for statement in body for node in ast.walk(statement) if isinstance(node, ast.stmt)}
    return tuple(sorted(found))
