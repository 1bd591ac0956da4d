"""The small changes that are planted in a module, each as a syntax tree with the old line numbers."""

from __future__ import annotations

import ast
import copy
import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

__all__ = ["Mutant", "mutants"]

Change = Callable[[ast.AST], None]

FLIPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.And: ast.Or,
    ast.Or: ast.And,
}


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change, at one node of the tree of a module."""

    module: str
    line: int
    change: str
    again: int
    """Which of the changes of the module that read the same."""
    source: str
    number: int
    apply: Change

    @property
    def key(self) -> str:
        """By the change and not by the line, which may move."""
        return f"{self.module}: {self.change}" + (f" ({self.again})" if self.again > 1 else "")

    def tree(self) -> ast.Module:
        """The changed module, with the line numbers of the original: functions are found by their lines."""
        tree = ast.parse(self.source)
        self.apply(next(itertools.islice(ast.walk(tree), self.number, None)))
        return ast.fix_missing_locations(tree)


def mutants(module: str, source: str) -> Iterator[Mutant]:
    """Every mutant of ``source``, in the order of the tree."""
    seen: Counter[str] = Counter()
    for number, node in enumerate(ast.walk(ast.parse(source))):
        for change in _changes(node):
            changed = copy.deepcopy(node)
            change(changed)
            text = f"{ast.unparse(node)}  ->  {ast.unparse(changed)}".replace("\n", " ")[:160]
            seen[text] += 1
            yield Mutant(module, getattr(node, "lineno", 0), text, seen[text], source, number, change)


def _changes(node: ast.AST) -> Iterator[Change]:
    """What can be changed at ``node`` itself; what is below it has its own turn."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in FLIPS:
        yield _flip_comparison
    elif isinstance(node, ast.BinOp | ast.BoolOp | ast.AugAssign) and type(node.op) in FLIPS:
        yield _flip_operator
    elif isinstance(node, ast.If | ast.IfExp | ast.While):
        yield _negate
    elif isinstance(node, ast.Return):
        if node.value is not None and not (isinstance(node.value, ast.Constant) and node.value.value is None):
            yield _return_nothing
    elif isinstance(node, ast.Constant):
        # Texts are left alone: a message is read by people, and a test of each letter tests nothing.
        if isinstance(node.value, bool):
            yield _other_boolean
        elif isinstance(node.value, int | float):
            yield _next_number
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield _drop_not
    elif isinstance(node, ast.Break | ast.Continue):
        yield _other_jump
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call | ast.Await):
        yield _call_nothing


def _flip_comparison(node: ast.AST) -> None:
    assert isinstance(node, ast.Compare)
    node.ops[0] = FLIPS[type(node.ops[0])]()  # type: ignore[call-overload]


def _flip_operator(node: ast.AST) -> None:
    node.op = FLIPS[type(node.op)]()  # type: ignore[attr-defined]


def _negate(node: ast.AST) -> None:
    node.test = ast.UnaryOp(ast.Not(), node.test)  # type: ignore[attr-defined]


def _return_nothing(node: ast.AST) -> None:
    node.value = ast.Constant(None)  # type: ignore[attr-defined]


def _other_boolean(node: ast.AST) -> None:
    node.value = not node.value  # type: ignore[attr-defined]


def _next_number(node: ast.AST) -> None:
    node.value += 1  # type: ignore[attr-defined]


def _drop_not(node: ast.AST) -> None:
    node.op, node.operand = ast.UAdd(), ast.Call(ast.Name("bool", ast.Load()), [node.operand], [])  # type: ignore[attr-defined]


def _other_jump(node: ast.AST) -> None:
    node.__class__ = ast.Continue if isinstance(node, ast.Break) else ast.Break  # type: ignore[assignment]


def _call_nothing(node: ast.AST) -> None:
    node.value = ast.Constant(None)  # type: ignore[attr-defined]
