"""The READMEs of the pipelines name tests, twins and files that exist, and leave none out."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import budgets
import pytest

pytestmark = budgets.once

SCENARIOS = Path(__file__).parents[1] / "scenarios"
SYSTEMS = ["watcher", "neuro", "ingest", "imaging", "optimizer", "training"]


def functions(folder: Path, pattern: str) -> set[str]:
    """The functions of all files that match, by their names."""
    trees = [ast.parse(path.read_text("utf-8")) for path in folder.glob(pattern)]
    return {node.name for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_test_that_a_readme_names_exists(system: str) -> None:
    """A row of the table that names a scenario which is gone, or never was, promises nothing."""
    folder = SCENARIOS / system
    named = set(re.findall(r"`(test_\w+)`", (folder / "README.md").read_text("utf-8")))
    assert named <= functions(folder, "*.py")


@pytest.mark.parametrize("system", SYSTEMS[:-1])
def test_every_twin_has_its_row(system: str) -> None:
    """Each planted mistake stands beside the feature that it lacks."""
    folder = SCENARIOS / system
    twins = {name for name in functions(folder, "planted_*.py") if name.startswith("test_")}
    assert twins
    text = (folder / "README.md").read_text("utf-8")
    assert [twin for twin in sorted(twins) if f"`{twin}`" not in text] == []


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_file_is_introduced(system: str) -> None:
    """The first table of a README has all files of its folder, and no other."""
    folder = SCENARIOS / system
    table = (folder / "README.md").read_text("utf-8").split("\n## ")[0]
    rows = [line.split(" | ")[0] for line in table.splitlines() if line.startswith("| `")]
    named = {name.rstrip("/") for row in rows for name in re.findall(r"`([\w./]+)`", row)}
    hidden = {"__init__.py", "__pycache__", "README.md"}
    assert named == {path.name for path in folder.iterdir()} - hidden
