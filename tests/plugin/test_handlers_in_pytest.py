"""Which handlers of exceptions ran under faults, noted while a scenario is explored."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import inner
import pytest

from chaoskit.report import Report, read
from chaoskit.report.handling import never_ran

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel backend is for Linux")

PROGRAM = """
import contextlib
import errno
import os

@contextlib.contextmanager
def opened(path, flags):
    fd = os.open(path, flags, 0o600)
    try:
        yield fd
    finally:
        os.close(fd)  # 1: ran

def save(path, text):
    temporary = path + ".new"
    try:
        with opened(temporary, os.O_CREAT | os.O_WRONLY | os.O_TRUNC) as fd:  # 2: ran
            try:
                while text:
                    text = text[os.write(fd, text):]
            except InterruptedError:  # 3: never, since Python tries again by itself
                return save(path, text)
            os.fsync(fd)
        os.rename(temporary, path)
    except PermissionError:  # 4: ran
        raise
    except OSError as error:  # 5: ran
        forget(temporary)
        if error.errno == errno.ENOSPC:
            raise SystemExit("disk full")
        raise
    except ValueError:  # 6: never
        forget(temporary)

def forget(path):
    try:
        os.unlink(path)
    except FileNotFoundError:  # 7: ran
        pass

def load(path):
    try:
        fd = os.open(path, os.O_RDONLY)
    except FileNotFoundError:  # 8: ran, without faults as well
        return b""
    except OSError:  # 9: ran
        return b""
    try:
        return os.read(fd, 100)
    except OSError:  # 10: ran
        return b""
    finally:
        os.close(fd)  # 11: ran, since a clause of the same statement did

def migrate(path):
    try:
        os.rename(path + ".old", path)
    except OSError:  # 12: never called
        pass

def work(path):
    load(path)
    with contextlib.suppress(UnicodeError):  # 13: ran
        load(path + ".0")
        save(path, b"new")
    try:
        int("1")
    except ValueError:  # 14: never
        pass
"""
"""Each handler says what is true of it."""

TEST = """
import program
from chaoskit import faults, scenario

@scenario(faults.disk() | faults.kill())
def test_save(chaos):
    path = str(chaos.path / "a")
    (chaos.path / "a.0").write_text("0")
    try:
        chaos.run(program.work, path)
    except AssertionError:
        raise
"""

SHORT = """
import os
from chaoskit import faults, scenario

def work(path):
    try:
        os.mkdir(path)
    except FileExistsError:
        return "never"
    except OSError:
        return "ran"

@scenario(faults.disk())
def test_short(chaos):
    chaos.run(work, str(chaos.path / "a"))
"""


def explored(directory: Path, source: str, *options: str) -> Report:
    """The report of a run with these options."""
    inner.write(directory, source)
    (directory / "program.py").write_text(PROGRAM)
    ran = inner.run(directory, *options)
    assert ran.status == 0, ran.output
    return read(directory / "report")


def test_exactly_the_handlers_that_never_ran_are_told(tmp_path: Path) -> None:
    """Of fourteen handlers four; none of the test's own, which stands around the run and not within it."""
    found = never_ran(explored(tmp_path, TEST, "--chaoskit-handlers", "on").entries)
    lines = PROGRAM.splitlines()
    assert sorted((one.site.file, one.site.line) for one in found) == [
        ("program.py", number) for number, text in enumerate(lines, 1) if ": never" in text
    ]
    assert len([text for text in lines if "  # " in text]) == 14
    assert len(found) == 4


def test_the_default_is_what_costs_nothing(tmp_path: Path) -> None:
    """On with ``sys.monitoring``; off where a trace function would be needed."""
    made = explored(tmp_path, SHORT)
    assert (made.entries[0].result.handlers is not None) is hasattr(sys, "monitoring")
    # Of handlers that were not watched it is not said that they never ran.
    assert bool(never_ran(made.entries)) is hasattr(sys, "monitoring")


def test_a_wrong_word_is_refused(tmp_path: Path) -> None:
    """The message has the option, the value and what it may be."""
    inner.write(tmp_path, SHORT)
    output = inner.run(tmp_path, "--chaoskit-handlers", "maybe").output
    assert re.search("--chaoskit-handlers.*maybe.*on or off", output), output


@pytest.mark.parametrize("branches", [False, True])
def test_handlers_that_ran_are_in_coverages_data_as_a_context(
    pytester: pytest.Pytester, branches: bool
) -> None:
    """``coverage html --show-contexts`` shows them: the lines of handlers, and none of other lines."""
    coverage = pytest.importorskip("coverage")
    (pytester.path / ".coveragerc").write_text(f"[run]\nbranch = {branches}\nsource = .\n")
    (pytester.path / "test_short.py").write_text(SHORT)
    command = ("-m", "coverage", "run", "-m", "pytest", "-p", "no:randomly", "--chaoskit-handlers", "on")
    result = pytester.run(sys.executable, *command)
    assert result.ret == 0, result.stdout.str()
    data = coverage.CoverageData(str(pytester.path / ".coverage"))
    data.read()
    name = "test_short.py::test_short under faults"
    by_line = data.contexts_by_lineno(str(pytester.path / "test_short.py"))
    text = SHORT.splitlines()
    lines = {text[line - 1].strip() for line, names in by_line.items() if name in names}
    assert lines == {"except OSError:", 'return "ran"'}
