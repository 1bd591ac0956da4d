"""Imports only point down, within functions too; the runtime and the harness are strangers."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import chaoskit
import chaoskit.runtime

ROOT = Path(chaoskit.__file__).parent

# What each layer may import, beside itself. What is not listed is the front: it may import everything.
BELOW = {
    "core": set(),
    "runtime": {"core"},
    "faults": {"core"},
    "inject": {"core", "faults"},
    "explore": {"core", "faults", "inject"},
}
HARNESS = {
    "faults",
    "inject",
    "explore",
    "report",
    "plugin",
    "chaos",
    "contracts",
    "strategies",
    "invariants",
}


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imported(name: str, path: Path, *, at_import_only: bool = False) -> Iterator[tuple[str, int]]:
    """The modules of ours that ``path`` imports anywhere, types included, and in which line."""
    tree = ast.parse(path.read_text("utf-8"))
    nodes = _at_import(tree) if at_import_only else ast.walk(tree)
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in nodes:
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join(
                    [*package.split(".")[: len(package.split(".")) - node.level + 1], base]
                ).strip(".")
            found = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        else:
            continue
        yield from ((one, node.lineno) for one in found if one.split(".")[0] == "chaoskit")


def _at_import(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run when the module is imported."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from _at_import(node)


def layer(module: str) -> str:
    parts = module.split(".")
    # The object that tests work with runs the cases: it is of the explorer, under a name for users.
    return {"chaos": "explore"}.get(parts[1], parts[1]) if len(parts) > 1 else ""


@pytest.mark.parametrize("below", BELOW)
def test_imports_point_down(below):
    """No module of a layer names one of a layer that is not below it, not even within a function."""
    known = {layer(name) for name, _ in modules()}
    wrong = [
        f"{path.relative_to(ROOT.parent)}:{line} imports {target}"
        for name, path in modules()
        if layer(name) == below
        for target, line in imported(name, path)
        if layer(target) in known - BELOW[below] - {below, ""}
    ]
    assert wrong == []


def test_a_wrong_import_would_be_seen(tmp_path):
    """The check finds imports of every form, wherever they hide."""
    file = tmp_path / "x.py"
    file.write_text(
        "import chaoskit.explore.engine\n"
        "from chaoskit import plugin\n"
        "def f():\n    from chaoskit.inject.kernel import filter\n"
        "from ..explore import job\n"
    )
    found = {layer(target) for target, _ in imported("chaoskit.runtime.x", file)} - {""}
    assert found == {"explore", "plugin", "inject"}


def test_there_is_no_cycle_among_the_modules_of_the_runtime_and_the_core():
    """Not at import, where a cycle breaks on the order of imports."""
    names = {name for name, _ in modules()}
    graph = {
        name: {
            target
            for target, _ in imported(name, path, at_import_only=True)
            if target in names and target != name
        }
        for name, path in modules()
        if layer(name) in ("runtime", "core")
    }
    # A package's __init__ is imported with each of its modules: that alone is no cycle.
    graph = {name: {t for t in targets if not name.startswith(f"{t}.")} for name, targets in graph.items()}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, f"cycle: {' -> '.join((*path[path.index(name) :], name))}"
        if name not in done:
            for target in sorted(graph.get(name, ())):
                visit(target, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_the_runtime_loads_nothing_of_the_harness():
    """With every name that it exports in use, in a fresh interpreter."""
    code = (
        "import sys, chaoskit.runtime as r\n"
        "for name in r.__all__: getattr(r, name)\n"
        f"bad = [m for m in sys.modules if m.split('.')[0] in ('pytest', '_pytest', 'hypothesis')\n"
        f"       or m.split('.')[0] == 'chaoskit' and m.split('.')[1:2] and m.split('.')[1] in {HARNESS!r}]\n"
        "print(bad)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_importing_the_runtime_is_cheap():
    """Neither asyncio nor anything else heavy is loaded, and the processor is busy for 40 ms at most."""
    code = (
        "import sys, time\nbefore = set(sys.modules)\nbegun = time.process_time()\nimport chaoskit.runtime\n"
        "print(time.process_time() - begun, 'asyncio' in sys.modules, 'logging' in sys.modules)"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()
        for _ in range(3)
    ]
    assert min(float(seconds) for seconds, *_ in runs) <= 0.040
    assert runs[0][1:] == ["False", "False"]


def test_the_exports_are_the_same_for_the_loader_and_for_type_checkers():
    """Each name stands in both tables, from the same module, and none is hidden by a module of that name."""
    tree = ast.parse(Path(chaoskit.runtime.__file__).read_text("utf-8"))
    block = next(n for n in tree.body if isinstance(n, ast.If))
    seen = {
        alias.name: node.module.removeprefix("chaoskit.runtime.")
        for node in block.body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }
    assert seen == chaoskit.runtime._HOMES
    children = {path.stem for path in Path(chaoskit.runtime.__file__).parent.iterdir()}
    assert children.isdisjoint(seen)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = chaoskit.runtime.nonsense
    assert set(seen) <= set(dir(chaoskit.runtime))
