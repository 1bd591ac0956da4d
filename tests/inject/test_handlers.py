"""Which handlers of exceptions have run, found out within the process."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chaoskit.inject.handlers import RAN, Handlers, HandlerWatch, Marks, scan

SOURCE = """
import contextlib

def boom(kind):
    if kind:
        raise kind

def clauses(kind):
    try:
        boom(kind)
    except ValueError: pass  # (clauses, ValueError)
    except (KeyError, OSError) as error:  # (clauses, OSError)
        str(error)
    except:  # (clauses, TypeError)
        return 1
    finally:
        str(2)  # (clauses, ValueError, OSError, TypeError)

def passing(kind):
    with contextlib.suppress(ValueError):  # (passing, ValueError, OSError, TypeError)
        boom(kind)
    try:
        boom(kind)
    finally: str(1)  # (passing, ValueError)

def grouped(kind):
    try:
        boom(kind)
    except* ValueError:  # (grouped, ValueError)
        str(2)

async def waiting(kind):
    async with contextlib.AsyncExitStack():  # (waiting, ValueError, OSError, TypeError)
        boom(kind)

def generating(kind):
    try:
        yield 1
        boom(kind)
    except OSError:  # (generating, OSError)
        yield 2

def nested(kind):
    try:
        boom(kind)
    except OSError:  # (nested, OSError)
        try:
            boom(ValueError)
        except (  # (nested, OSError)
            ValueError
        ):
            str(5)
        finally:
            try:  # (nested, OSError)
                str(7)
            except OSError:
                str(8)
"""
"""Each handler says for which functions and exceptions it must run."""


@pytest.fixture
def module(tmp_path: Path) -> Iterator[types.ModuleType]:
    """The source above, loaded from a file of the project."""
    file = tmp_path / "handling_sample.py"
    file.write_text(SOURCE)
    made = types.ModuleType("handling_sample")
    made.__file__ = str(file)
    exec(compile(SOURCE, str(file), "exec"), made.__dict__)
    sys.modules[made.__name__] = made
    yield made
    del sys.modules[made.__name__]


def watched(handlers: Handlers, work: Callable[[], Any]) -> bytes:
    """What is marked when ``work`` is over."""
    marks = Marks(len(handlers))
    before = sys.gettrace()
    # Coverage and debuggers trace the tests; the watching leaves them alone, and would see nothing here.
    sys.settrace(None)
    watching = HandlerWatch(handlers, marks)
    watching.start()
    try:
        with contextlib.suppress(BaseException):
            work()
    finally:
        watching.stop()
        sys.settrace(before)
    return marks.taken()


CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "clauses": lambda module, kind: module.clauses(kind),
    "passing": lambda module, kind: module.passing(kind),
    "grouped": lambda module, kind: module.grouped(kind),
    "waiting": lambda module, kind: asyncio.run(module.waiting(kind)),
    "generating": lambda module, kind: list(module.generating(kind)),
    "nested": lambda module, kind: module.nested(kind),
}


@pytest.mark.parametrize("kind", [None, ValueError, OSError, TypeError])
@pytest.mark.parametrize("name", CALLS)
def test_exactly_the_handlers_that_an_exception_comes_to_have_run(
    module: types.ModuleType, name: str, kind: type[Exception] | None
) -> None:
    """Of every kind of handler, in functions, coroutines and generators, on every Python."""
    from chaoskit.explore.handled import ran

    handlers = scan()
    marks = watched(handlers, lambda: CALLS[name](module, kind))
    found = ran(handlers, {number: mark for number, mark in enumerate(marks) if mark})
    lines = {handlers.sites[number][0].line for number in found}
    expected = set()
    for number, line in enumerate(SOURCE.splitlines(), 1):
        _, _, said = line.partition("# (")
        function, *kinds = said.rstrip(")").split(", ")
        if kind is not None and function == name and kind.__name__ in kinds:
            expected.add(number)
    assert lines == expected


def test_lines_of_a_handler_are_marked_when_they_are_executed(module: types.ModuleType) -> None:
    """Those of the clause that caught the exception, and none of the others."""
    handlers = scan()
    marks = watched(handlers, lambda: module.clauses(OSError))
    lines = {line for (file, line), number in handlers.lines.items() if marks[number] == RAN}
    wanted = {n for n, text in enumerate(SOURCE.splitlines(), 1) if "str(error)" in text}
    assert wanted <= lines
    assert not lines & {n for n, text in enumerate(SOURCE.splitlines(), 1) if "return 1" in text}


def test_only_the_project_is_scanned() -> None:
    """Libraries and the harness itself are none of the project."""
    files = {frame.file for frame, _ in scan().sites}
    assert not [file for file in files if "site-packages" in file or "chaoskit/inject" in file]


def test_another_trace_function_is_left_alone(module: types.ModuleType) -> None:
    """A debugger's or coverage's stays as it is, where there can be one only."""
    if hasattr(sys, "monitoring"):
        pytest.skip("sys.monitoring has room for several tools")
    before = sys.gettrace()
    handlers = scan()
    watching = HandlerWatch(handlers, Marks(len(handlers)))
    other = lambda *_: None  # noqa: E731
    sys.settrace(other)
    try:
        watching.start()
        seen = sys.gettrace()
        watching.stop()
        assert seen is sys.gettrace() is other
    finally:
        sys.settrace(before)
