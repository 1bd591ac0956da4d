"""Runs many mutants in forks of one process that has collected its tests: no start for each of them.

Functions get the code of the mutant in place (``__code__``). What a mutant changes at import, such as a
default or a table, cannot be reached that way; it is told as *at import*, for the caller to run otherwise.
"""

from __future__ import annotations

import ast
import contextlib
import gc
import importlib
import inspect
import json
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import pytest
from mutants import Mutant

__all__ = ["AT_IMPORT", "KILLED", "SURVIVED", "TIMED_OUT", "UNREACHED", "Forked"]

KILLED, SURVIVED, TIMED_OUT, AT_IMPORT, UNREACHED = (
    "killed",
    "survived",
    "timed out",
    "at import",
    "unreached",
)

Place = tuple[str, str, int]
"""File, qualified name and first line of a function."""


def place_of(code: CodeType) -> Place:
    return code.co_filename, code.co_qualname, code.co_firstlineno


class Forked:
    """A pytest plugin: takes the loop over the tests, learns what each of them reaches, and runs the mutants.

    ``results`` gets a line of JSON for each mutant.
    """

    def __init__(self, root: Path, todo: Sequence[Mutant], results: Path) -> None:
        self._root, self._todo, self._results = root, todo, results
        self._failed = False
        self._reached: dict[str, set[Place]] = {}
        self._seconds: dict[str, float] = {}
        self._files = {str(root / mutant.module) for mutant in todo}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._failed = self._failed or report.failed

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = {item.nodeid: item for item in session.items}
        for file in self._files:
            # What is loaded when it is first used would not be there yet for its functions to be found.
            dotted = ".".join(Path(file).relative_to(self._root.parents[1]).with_suffix("").parts)
            with contextlib.suppress(ImportError):
                importlib.import_module(dotted)
        self._learn(session.items)
        functions = self._functions()
        with self._results.open("a") as results:
            for file in self._files:
                # For those that have to be run otherwise: the files with a test that reaches the module.
                tests = {
                    items[name].path
                    for name, seen in self._reached.items()
                    if any(p[0] == file for p in seen)
                }
                module = str(Path(file).relative_to(self._root))
                json.dump({"module": module, "tests": sorted(map(str, tests))}, results)
                results.write("\n")
            for mutant in self._todo:
                verdict, by = self._verdict(mutant, items, functions)
                json.dump({"key": mutant.key, "line": mutant.line, "verdict": verdict, "by": by}, results)
                results.write("\n")
                results.flush()
        return True

    def _functions(self) -> dict[Place, list[FunctionType]]:
        found: dict[Place, list[FunctionType]] = {}
        for one in gc.get_objects():
            if isinstance(one, FunctionType) and one.__code__.co_filename in self._files:
                found.setdefault(place_of(one.__code__), []).append(one)
        return found

    def _learn(self, items: Iterable[pytest.Item]) -> None:
        """Run each test once, in a child, without a mutant: what it reaches, for how long, if it holds."""
        read, write = os.pipe()
        child = os.fork()
        if not child:
            os.close(read)
            self._tell_all(items, write)
            os._exit(0)
        os.close(write)
        with os.fdopen(read) as lines:
            for line in lines:
                name, seconds, reached = json.loads(line)
                if reached is not None:
                    self._reached[name] = {(file, qualname, first) for file, qualname, first in reached}
                    self._seconds[name] = seconds
        os.waitpid(child, 0)

    def _tell_all(self, items: Iterable[pytest.Item], write: int) -> None:
        with os.fdopen(write, "w") as lines:
            for item in items:
                seen: set[CodeType] = set()

                def note(frame: Any, event: str, value: Any, seen: set[CodeType] = seen) -> None:
                    seen.add(frame.f_code)

                self._failed, started = False, time.monotonic()
                threading.setprofile(note)
                sys.setprofile(note)
                try:
                    item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
                finally:
                    sys.setprofile(None)
                    threading.setprofile(None)
                reached = [place_of(code) for code in seen if code.co_filename in self._files]
                told = None if self._failed else reached
                json.dump([item.nodeid, time.monotonic() - started, told], lines)
                lines.write("\n")
                lines.flush()

    def _verdict(
        self, mutant: Mutant, items: dict[str, pytest.Item], functions: dict[Place, list[FunctionType]]
    ) -> tuple[str, str]:
        swaps = list(self._swaps(mutant, str(self._root / mutant.module), functions))
        if not swaps:
            return AT_IMPORT, ""
        places = {place_of(code) for _, code in swaps}
        names = [name for name, reached in self._reached.items() if reached & places]
        names.sort(key=lambda name: self._seconds[name])
        if not names:
            return UNREACHED, ""
        return self._run([items[name] for name in names], swaps, sum(self._seconds[name] for name in names))

    def _swaps(
        self, mutant: Mutant, file: str, functions: dict[Place, list[FunctionType]]
    ) -> Iterator[tuple[FunctionType, CodeType]]:
        """Each function that lives and is changed, with its new code."""
        # Against the original compiled in the same way, since pytest has rewritten the one that runs.
        before = {place_of(code): code for code in _codes(_compiled(ast.parse(mutant.source), file))}
        for code in _codes(_compiled(mutant.tree(), file)):
            if code != before.get(place_of(code)):
                for function in functions.get(place_of(code), ()):
                    # ``types.coroutine`` marks the code of what it decorates.
                    marks = function.__code__.co_flags & inspect.CO_ITERABLE_COROUTINE
                    yield function, code.replace(co_flags=code.co_flags | marks)

    def _run(
        self, tests: Sequence[pytest.Item], swaps: Sequence[tuple[FunctionType, CodeType]], seconds: float
    ) -> tuple[str, str]:
        read, write = os.pipe()
        child = os.fork()
        if not child:
            os.close(read)
            os.setpgid(0, 0)
            # Processor time, since the machine may be busy.
            resource.setrlimit(resource.RLIMIT_CPU, (int(5 + 3 * seconds),) * 2)
            try:
                for function, code in swaps:
                    function.__code__ = code
            except ValueError:
                os.write(write, AT_IMPORT.encode())
                os._exit(0)
            for item in tests:
                self._failed = False
                try:
                    item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
                except BaseException:
                    self._failed = True
                if self._failed:
                    os.write(write, item.nodeid.encode())
                    os._exit(1)
            os._exit(0)
        os.close(write)
        return self._ended(child, read, 20 + 5 * seconds)

    def _ended(self, child: int, read: int, limit: float) -> tuple[str, str]:
        end = time.monotonic() + limit
        status = 0
        while time.monotonic() < end:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                break
            time.sleep(0.005)
        else:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            status = -1
        with os.fdopen(read) as told:
            by = told.read()
        try:
            # What a test has left behind, such as a worker.
            os.killpg(child, signal.SIGKILL)
        except ProcessLookupError:
            pass
        if by == AT_IMPORT:
            return AT_IMPORT, ""
        if status == -1 or (
            os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL)
        ):
            return TIMED_OUT, by
        return (SURVIVED, "") if status == 0 else (KILLED, by)


def _compiled(tree: ast.Module, file: str) -> CodeType:
    return compile(tree, file, "exec", dont_inherit=True)


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for one in code.co_consts:
        if isinstance(one, CodeType):
            yield from _codes(one)
