"""The page of traps names tests that exist, and each planted bug that it speaks of."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PAGE = (HERE.parent / "docs" / "reference" / "traps.md").read_text(encoding="utf-8")
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and "---" not in line]
NAMED = re.findall(r"`([\w/.]+\.py)::(\w+)`(?:: `(\w+)`)?", PAGE)


@cache
def functions(path: str) -> frozenset[str]:
    """The functions that a file of the repository defines."""
    tree = ast.parse((HERE.parent / path).read_text(encoding="utf-8"))
    return frozenset(one.name for one in ast.walk(tree) if isinstance(one, ast.FunctionDef))


@pytest.mark.parametrize(("path", "name", "planted"), NAMED, ids=[f"{n}-{b}" for _, n, b in NAMED])
def test_a_trap_is_held_by_a_test_that_exists(path: str, name: str, planted: str) -> None:
    """A test that was renamed or taken away leaves its trap open, and the page wrong."""
    assert name in functions(path)
    if planted:
        assert f'"{planted}":' in (HERE / "plugin" / "planted_inner_bugs.py").read_text(encoding="utf-8")


def test_every_row_names_a_test() -> None:
    """A trap without one is only an intention."""
    heads = {"| trap | covered by |"}
    assert len(ROWS) - PAGE.count("| trap | covered by |") >= 35
    assert [row for row in ROWS if row not in heads and "::" not in row] == []
