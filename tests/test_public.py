"""One address for users: what the documents import is promised, and so is every error that they can meet."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import chaoskit.runtime
from chaoskit.core.errors import ChaoskitError

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
LISTED = (ROOT / "tests/snapshots/public_surface.txt").read_text("utf-8").splitlines()
NAMES = {re.split(r"[(:]", line)[0] for line in LISTED}


def imported(text: str) -> Iterator[tuple[str, str]]:
    """Module and name of every import of ours in the code of a document, in whatever fence or string."""
    statement = r"^[ ]*((?:from chaoskit[\w.]* import (?:\([^)]*\)|[\w, ]+))|import chaoskit[\w.]*)"
    for found in re.findall(statement, text, re.MULTILINE):
        for node in ast.walk(ast.parse(found)):
            if isinstance(node, ast.ImportFrom):
                yield from ((node.module or "", alias.name) for alias in node.names)
            elif isinstance(node, ast.Import):
                yield from ((alias.name, "") for alias in node.names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_document_imports_is_promised(page):
    """A reader who copies an import gets a name that is on the list, at the address that is on the list."""
    found = {f"{module}.{name}".rstrip(".") for module, name in imported(page.read_text("utf-8"))}
    spaces = {"chaoskit", *(".".join(name.split(".")[:-1]) for name in NAMES)}
    assert {one for one in found if one not in NAMES and one not in spaces} == set()


def test_a_planted_import_is_found():
    """An import from the depths is seen at the margin, indented, and of the bare module."""
    text = "from chaoskit.runtime.calling.timeout import (\n Timeout,\n TimedOut\n)\n  import chaoskit.core\n"
    assert list(imported(text)) == [
        ("chaoskit.runtime.calling.timeout", "Timeout"),
        ("chaoskit.runtime.calling.timeout", "TimedOut"),
        ("chaoskit.core", ""),
    ]


def test_every_error_of_the_runtime_is_importable_where_the_calls_are():
    """No ``except`` needs an address other than ``chaoskit.runtime``, whichever module raises."""
    missing = []
    for path in sorted((ROOT / "chaoskit/runtime").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for cls in vars(import_module(name)).values():
            public = inspect.isclass(cls) and issubclass(cls, ChaoskitError) and cls.__module__ == name
            if public and not cls.__name__.startswith(("_", "Also", "KnowsWhen", "ReadLate")):
                where = chaoskit.runtime.config if ".config" in name else chaoskit.runtime
                if getattr(where, cls.__name__, None) is not cls:
                    missing.append(f"{name}.{cls.__name__}")
    assert missing == []


@pytest.mark.parametrize("name", sorted(chaoskit.runtime.__all__))
def test_every_export_is_on_the_list(name):
    """What can be imported from ``chaoskit.runtime`` is promised: there is no third kind of name."""
    assert f"chaoskit.runtime.{name}" in NAMES
