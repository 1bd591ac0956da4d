"""Imports only point down, there is no cycle of any kind, and nothing grows beyond its budget.

Every import of every module counts: at the top, within a function, and for type checkers alone.
"""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import budgets
import pytest

import chaoskit
import chaoskit.runtime

pytestmark = budgets.once

ROOT = Path(chaoskit.__file__).parent

GROUND = frozenset({"chaoskit.core.errors", "chaoskit.core.extras", "chaoskit.core.version"})
"""What both halves stand on. The rest of ``core`` is the harness's own."""

BELOW: Mapping[str, frozenset[str]] = {
    "core": frozenset(),
    "runtime": frozenset(),
    "faults": frozenset({"core"}),
    "inject": frozenset({"core", "faults"}),
    "grouping": frozenset({"core", "faults"}),
    "explore": frozenset({"core", "faults", "grouping", "inject"}),
    "hosts": frozenset({"core", "explore", "inject"}),
    "invariants": frozenset({"core", "explore"}),
    "session": frozenset({"core", "faults", "inject", "explore", "invariants"}),
    "report": frozenset({"core", "grouping"}),
    "doctor": frozenset({"core", "faults", "inject"}),
    "contracts": frozenset({"core", "runtime"}),
    "strategies": frozenset({"core", "faults", "runtime", "contracts", "session"}),
    "plugin": frozenset({"core", "faults", "inject", "explore", "hosts", "invariants", "session", "report"}),
    "cli": frozenset({"core", "runtime", "faults", "inject", "explore", "session", "report", "doctor"}),
    "__main__": frozenset({"cli"}),
}
"""What each part may import beside itself, and the ground. A part that is not listed here fails the test."""

FILE, FUNCTION, CLASS = 400, 40, 25
"""Budgets: lines of a file, lines of a function, methods of a class."""


def modules(root: Path = ROOT) -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(name: str, path: Path, known: Mapping[str, Path]) -> Iterator[tuple[str, int]]:
    """The modules of ours that ``path`` imports, wherever the import stands, and in which line."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    trees = [ast.parse(one.read_text("utf-8")) for one in (path, path.with_suffix(".pyi")) if one.exists()]
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(package, node)
            # A name may be a module of that package, or something that the package itself defines.
            found = [one if (one := f"{base}.{alias.name}") in known else base for alias in node.names]
        else:
            continue
        yield from ((one, node.lineno) for one in dict.fromkeys(found) if one in known and one != name)


def _absolute(package: str, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    return ".".join([*parts[: len(parts) - node.level + 1], *([node.module] if node.module else [])])


def part(module: str) -> str:
    """The layer of a module: the second part of its name, empty for the package itself."""
    return module.split(".")[1] if "." in module else ""


def upward(known: Mapping[str, Path]) -> list[str]:
    """Every import that does not point down."""
    return [
        f"{name}:{line} imports {target}"
        for name, path in known.items()
        for target, line in imported(name, path, known)
        if part(name)  # The face of the package leads everywhere, and nothing within may go through it.
        and target not in GROUND
        and part(target) != part(name)
        and part(target) not in BELOW[part(name)]
    ]


def cycles(known: Mapping[str, Path]) -> list[list[str]]:
    """Every set of modules that import each other (Tarjan's strongly connected components)."""
    graph = {name: {target for target, _ in imported(name, path, known)} for name, path in known.items()}
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for target in sorted(graph[name]):
            if target not in index:
                visit(target)
                low[name] = min(low[name], low[target])
            elif target in stack:
                low[name] = min(low[name], index[target])
        if low[name] == index[name]:
            at = stack.index(name)
            component = stack[at:]
            del stack[at:]
            if len(component) > 1:
                found.append(sorted(component))

    for name in graph:
        if name not in index:
            visit(name)
    return found


def oversized(known: Mapping[str, Path]) -> list[str]:
    """Every file, function and class that is larger than its budget, as ``module`` or ``module:name``."""
    found = []
    for name, path in known.items():
        text = path.read_text("utf-8")
        if text.count("\n") > FILE:
            found.append(name)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                if _lines(node) > FUNCTION:
                    found.append(f"{name}:{node.name}")
            elif isinstance(node, ast.ClassDef):
                methods = [
                    one for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)
                ]
                if len(methods) > CLASS:
                    found.append(f"{name}:{node.name}")
    return found


def _lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """The lines of a function without its docstring: to say more must never cost a budget."""
    docstring = node.body[0] if ast.get_docstring(node) is not None else None
    said = docstring.end_lineno - docstring.lineno + 1 if docstring and docstring.end_lineno else 0
    return (node.end_lineno or node.lineno) - node.lineno + 1 - said


def test_imports_point_down():
    """No module names one of a part that is not below its own, in whatever form."""
    assert upward(modules()) == []


def test_there_is_no_cycle_of_any_kind():
    """Not at import, not through functions, not through imports for type checkers."""
    assert cycles(modules()) == []


def test_nothing_is_larger_than_its_budget():
    """Files, functions and classes keep within their budgets, without exception."""
    assert sorted(oversized(modules())) == [], "split it: a file has one reason to exist"


def test_every_part_has_its_place():
    """A new part of the package is put above or below the others before anything imports it."""
    assert {part(name) for name in modules()} - {""} == set(BELOW)


@pytest.fixture
def planted(tmp_path):
    """A function that makes a package like ours of some modules, and returns what ``modules`` finds in it."""

    def make(**files):
        for name, text in {"__init__": "", **files}.items():
            path = tmp_path / "chaoskit" / f"{name.replace('__in__', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return modules(tmp_path / "chaoskit")

    return make


@pytest.mark.parametrize(
    "text",
    [
        "import chaoskit.explore.engine",
        "from chaoskit.explore import engine",
        "def f():\n    from chaoskit.explore.engine import run",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..explore.engine import run",
    ],
)
def test_a_planted_upward_import_is_found(planted, text):
    """In whatever form it is written and wherever it hides."""
    known = planted(explore__in__engine="run = 1", inject__in__base=text)
    assert [one.split(":")[0] for one in upward(known)] == ["chaoskit.inject.base"]


def test_a_planted_cycle_is_found(planted):
    """One through a function and one for type checkers are cycles like any other."""
    known = planted(
        core__in__a="def f():\n    from chaoskit.core import b",
        core__in__b="TYPE_CHECKING = False\nif TYPE_CHECKING:\n    from chaoskit.core.a import f",
    )
    assert cycles(known) == [["chaoskit.core.a", "chaoskit.core.b"]]


def test_a_planted_giant_is_found(planted):
    """A file, a function and a class that outgrow their budgets are each named."""
    body = "\n".join(f"    def m{n}(self): ..." for n in range(CLASS + 1))
    long = "def long():\n" + "    x = 1\n" * FUNCTION
    known = planted(core__in__a=f"class C:\n{body}\n{long}", core__in__b="x = 1\n" * (FILE + 1))
    assert oversized(known) == ["chaoskit.core.a:C", "chaoskit.core.a:long", "chaoskit.core.b"]


def test_the_runtime_loads_nothing_of_the_harness():
    """With every name that it exports in use, in a fresh interpreter."""
    harness = set(BELOW) - {"core", "runtime"}
    code = (
        "import sys, chaoskit.runtime as r\n"
        "for name in r.__all__: getattr(r, name)\n"
        f"bad = [m for m in sys.modules if m.split('.')[0] in ('pytest', '_pytest', 'hypothesis')\n"
        f"       or m.split('.')[0] == 'chaoskit' and m.split('.')[1:2] and m.split('.')[1] in {harness!r}\n"
        f"       or m.startswith('chaoskit.core.') and m not in {set(GROUND)!r}]\n"
        "print(bad)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# What a program pays for only once something has failed, or when it asks for it. Together these took half of
# what the import took; what is left is measured by ``benchmarks/calls.py``.
LATE = {
    *("asyncio", "json", "logging", "traceback", "yaml"),
    *("context", "redact", "observing.events", "retrying.events", "retrying.backoffs", "retrying.registry"),
    *("breaker.events", "breaker.shared", "calling.pipeline"),
    *("failures.built_in", "failures.errnos", "failures.index", "failures.library", "failures.processes"),
    *("failures.rules", "failures.statuses", "failures.stored", "failures.words", "failures.amazon"),
}


@pytest.mark.parametrize(
    "then",
    [
        pytest.param("", id="imported"),
        pytest.param("retry(on=OSError)(CircuitBreaker()(lambda: 0))()", id="a first call that succeeds"),
    ],
)
def test_importing_the_runtime_is_cheap(then):
    """The five names that most programs use load no tables, no records of events, and nothing heavy."""
    code = (
        "import sys\nfrom chaoskit.runtime import retry, RetryPolicy, CircuitBreaker, BreakerOpen, classify\n"
        f"{then}\nprint(*(one.removeprefix('chaoskit.runtime.') for one in sys.modules))"
    )
    # Without the modules that a ``.pth`` file of this environment loads before anything else.
    command = [
        sys.executable,
        "-I",
        "-S",
        "-c",
        f"import sys\nsys.path.insert(0, {str(ROOT.parent)!r})\n{code}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not LATE & loaded
    assert {"retrying.policy", "breaker.breaker", "failures.classifier"} <= loaded


def test_what_is_loaded_late_exists():
    """A module that was renamed does not pass for one that is not loaded."""
    ours = {one for one in LATE if one not in sys.stdlib_module_names} - {"yaml"}
    assert {one for one in ours if importlib.util.find_spec(f"chaoskit.runtime.{one}") is None} == set()


def test_strategies_load_asyncio_only_for_coroutines():
    """A program without an event loop does not pay for one: not when it builds them, nor when it calls."""
    used = (
        "Bulkhead, Candidate, CircuitBreaker, Deadline, FallbackChain, Pipeline, RateLimiter, Timeout, retry"
    )
    code = (
        "import sys\n"
        f"from chaoskit.runtime import {used}\n"
        "made = [Bulkhead(1), RateLimiter(9), CircuitBreaker(), Timeout(9, abandon=1), Deadline(9)]\n"
        "made += [retry(on=OSError), FallbackChain(Candidate('a', int)), Pipeline(bulkhead=Bulkhead(1))]\n"
        "print(all(one(lambda: 0)() == 0 for one in made), 'asyncio' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]


def test_the_exports_are_the_same_for_the_loader_and_for_type_checkers():
    """Each name stands in both tables, from the same module, and none is hidden by a module of that name."""
    tree = ast.parse(Path(chaoskit.runtime.__file__).with_suffix(".pyi").read_text("utf-8"))
    seen = {
        alias.name: node.module.removeprefix("chaoskit.runtime.").removeprefix("chaoskit.")
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module and node.module != "chaoskit.runtime"
        for alias in node.names
    }
    assert seen == chaoskit.runtime._HOMES
    children = {path.stem for path in Path(chaoskit.runtime.__file__).parent.iterdir()}
    assert children.isdisjoint(seen)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = chaoskit.runtime.nonsense
    assert set(seen) <= set(dir(chaoskit.runtime))
