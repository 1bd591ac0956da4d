"""What is published about other libraries, and the reproductions that show it."""

from __future__ import annotations

import importlib.util
import inspect
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

Reproductions = Mapping[tuple[str, str], Callable[[], None]]
"""The program for each row that a library fails, by the library and the row."""


def cases(reproductions: Reproductions) -> list[Any]:
    """The library and the program of each reproduction, as parameters of a test.

    Where several parts of one library are examined, the first word of the name is the library.
    """
    return [
        pytest.param(library.partition(" ")[0], program, id=f"{library}-{row}")
        for (library, row), program in reproductions.items()
    ]


def show(library: str, program: Callable[[], None]) -> None:
    """Run a reproduction with the version that is installed; without one, skip the test."""
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed: pip install --group peers")
    program()


def check(page: Path, reproductions: Reproductions) -> None:
    """The page has every reproduction as it is, and no row fails without one."""
    text = page.read_text("utf-8")
    for (library, row), program in reproductions.items():
        assert f"### {library}, {row}\n" in text
        assert textwrap.dedent(inspect.getsource(program)).rstrip() in text
    assert text.count("**fails**") == len(reproductions)


def write(
    page: Path, text: str, found: Mapping[str, Mapping[str, str]], reproductions: Reproductions
) -> None:
    """Write the page, and say where what was found, by library and row, and the reproductions disagree."""
    failed = {
        (name, row) for name, rows in found.items() for row, outcome in rows.items() if outcome == "fails"
    }
    print(f"failing rows without a reproduction: {sorted(failed - set(reproductions))}")
    print(f"reproductions of rows that hold: {sorted(set(reproductions) - failed)}")
    page.write_text(text, "utf-8")
