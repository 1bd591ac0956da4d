"""How the package reads: one noun for each concept, comments that argue, and no habits of speech.

The floors are those of the code as it is. They are raised when the code has become better, never lowered.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import budgets

import chaoskit

pytestmark = budgets.once

PACKAGE = Path(chaoskit.__file__).parent
ROOT = PACKAGE.parent

HABITS = re.compile(
    r"\b(?<!instead )(nobody|somebody|anybody|whoever|whom|anew|a word on|such a thing|undisturbed"
    r"|power cuts?|as far as|of its own|of their own|again is fine"
    r"|(?:that|what|which) (?:is|are|was|were) (?:no (?!longer|more|larger|other)|(?-i:none)))\b",
    re.IGNORECASE,
)
"""Words that a native engineer would not use here, and the losing half of "one noun for each concept".

"That is no file" is translated: English says "that is not a file", and mostly "anything but a file".
"""

HOMONYMS: Mapping[str, str] = {
    "Row": "a row of a contract, and one of a table that a program reads: both public, never together",
}
"""Class names that stand in several modules for good, and why."""

COMMENTS = 5.0
"""Lines with a comment for each 100 lines of code, at least: the models have 6 to 24."""

SPLINTERS = 0.13
"""Private functions of at most four lines with one use, as a share of all: the models have 0 to 0.07."""

RAISES = 0.82
"""Public functions that raise and say so in their docstring, as a share of those that raise, at least."""


@cache
def sources() -> dict[str, str]:
    """The text of every module, by its path in the repository."""
    return {str(path.relative_to(ROOT)): path.read_text("utf-8") for path in sorted(PACKAGE.rglob("*.py"))}


def prose() -> dict[str, str]:
    """Everything that users and contributors read, by its path in the repository."""
    found = dict(sources())
    for folder in ("docs", "scenarios"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".md", ".py") and "_build" not in path.parts:
                found[str(path.relative_to(ROOT))] = path.read_text("utf-8")
    for name in ("README.md", "CHANGELOG.md"):
        found[name] = (ROOT / name).read_text("utf-8")
    # The word list quotes what it refuses.
    found["CONTRIBUTING.md"] = re.sub(r"`[^`\n]+`", "", (ROOT / "CONTRIBUTING.md").read_text("utf-8"))
    return found


def habits(texts: Mapping[str, str]) -> Iterator[str]:
    """Each place where a habit word stands."""
    for name, text in texts.items():
        for number, line in enumerate(text.splitlines(), 1):
            yield from (f"{name}:{number}: {found[0]}" for found in HABITS.finditer(line))


@cache
def _tree(text: str) -> ast.Module:
    return ast.parse(text)


def homonyms(texts: Mapping[str, str]) -> dict[str, set[str]]:
    """The class names that stand in more than one module, with a leading underscore ignored."""
    places: defaultdict[str, set[str]] = defaultdict(set)
    for name, text in texts.items():
        for node in ast.walk(_tree(text)):
            if isinstance(node, ast.ClassDef):
                places[node.name.lstrip("_")].add(name)
    return {name: where for name, where in places.items() if len(where) > 1}


def density(texts: Mapping[str, str]) -> float:
    """Comment lines for each 100 lines of code. Docstrings, blank lines and the comments are no code.

    A line ``why=…`` in a table of rules counts as a comment.
    """
    comments = code = 0
    for text in texts.values():
        strings = {
            line
            for node in ast.walk(_tree(text))
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            if isinstance(node.value.value, str)
            for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
        }
        lines: set[int] = set()
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if re.match(r"\s*why=", token.line) and token.type != tokenize.COMMENT:
                # The reason that a row of a table carries is a comment that can be printed.
                comments += token.string == "why"
            elif token.type == tokenize.COMMENT:
                # A marker for a tool says nothing to a reader.
                comments += not re.match(r"#\s*(type:|noqa|pragma)", token.string)
            elif token.string.strip():
                lines.update(range(token.start[0], token.end[0] + 1))
        code += len(lines - strings)
    return 100 * comments / code


def splinters(texts: Mapping[str, str]) -> tuple[list[str], int]:
    """Private functions of at most four lines that are used once; and how many are private at all."""
    found, private = [], 0
    for name, text in texts.items():
        # Not by tokens: before Python 3.12 what stands within an f-string is none.
        tree = _tree(text)
        uses = Counter(getattr(node, "id", None) or getattr(node, "attr", None) for node in ast.walk(tree))
        for node in ast.walk(tree):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if node.name.startswith("_") and not node.name.startswith("__"):
                private += 1
                if _lines(node) <= 4 and uses[node.name] == 1:
                    found.append(f"{name}:{node.lineno} {node.name}")
    return found, private


def _lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """The lines of a function without its docstring."""
    first = node.body[0]
    said = (first.end_lineno or 0) - first.lineno + 1 if ast.get_docstring(node) is not None else 0
    return (node.end_lineno or node.lineno) - node.lineno + 1 - said


def raising(texts: Mapping[str, str]) -> tuple[list[str], int]:
    """Public functions that raise without a word about it in their docstring; and all that raise."""
    silent, total = [], 0
    for name, text in texts.items():
        for node, said in _public(_tree(text)):
            if any(_raised(node.body)):
                total += 1
                if "raises" not in said.lower():
                    silent.append(f"{name}:{node.lineno} {node.name}")
    return silent, total


def _public(
    tree: ast.Module | ast.ClassDef, said: str = ""
) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, str]]:
    """Public functions and methods with their docstrings; ``__init__`` has that of its class as well."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from _public(node, ast.get_docstring(node) or "")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            own = ast.get_docstring(node) or ""
            if node.name in ("__init__", "__post_init__"):
                yield node, own + said
            elif not node.name.startswith("_"):
                yield node, own


def _raised(body: list[ast.stmt]) -> Iterator[ast.Raise]:
    """The errors that these statements make and raise, without those of a function defined within."""
    for node in body:
        if isinstance(node, ast.Raise) and node.exc is not None and not isinstance(node.exc, ast.Name):
            yield node
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            for field in ("body", "orelse", "finalbody", "handlers", "cases"):
                for part in getattr(node, field, ()):
                    yield from _raised(part.body if hasattr(part, "body") and field in _PARTS else [part])


_PARTS = ("handlers", "cases")


def test_habits_of_speech_do_not_come_back():
    """No habit word stands in code, documents or scenarios."""
    assert list(habits(prose())) == []


def test_a_class_name_stands_in_one_module():
    """One noun for each concept, and one concept for each noun."""
    found = homonyms(sources())
    assert {name: where for name, where in found.items() if name not in HOMONYMS} == {}
    assert set(HOMONYMS) <= set(found), "a name that has but one meaning left is no exception"


def test_comments_are_not_sparse():
    """A reader finds the reason beside the line at which they would stop and ask."""
    assert density(sources()) >= COMMENTS


def test_private_functions_are_no_splinters():
    """A function of four lines with one use is rare: the line itself mostly says more than its name."""
    found, private = splinters(sources())
    assert len(found) <= SPLINTERS * private, "\n".join(found)


def test_what_is_raised_is_said():
    """A public function that raises names the error in its docstring."""
    silent, total = raising(sources())
    assert total - len(silent) >= RAISES * total, "\n".join(silent)


def test_planted_faults_are_found():
    """Each of the five measures sees what it is for."""
    planted = {
        "a.py": "class _Store: ...\n# Nobody knows what is no file, what is no longer one or is None.\n"
        "def f():\n    return _g()\ndef _g():\n    return 1\n",
        "b.py": 'class Store:\n    def m(self):\n        """Act."""\n        if x:\n            raise E()\n',
    }
    assert list(habits(planted)) == ["a.py:2: Nobody", "a.py:2: what is no "]
    assert homonyms(planted) == {"Store": {"a.py", "b.py"}}
    assert density({"a.py": "x = 1\ny = 2  # noqa\n# Why.\nz = 3\nv = 4\n"}) == 25
    assert density({"a.py": "x = f(\n    a,\n    why='so',\n)\n"}) == 100 / 3
    assert splinters(planted) == (["a.py:5 _g"], 1)
    assert raising(planted) == (["b.py:2 m"], 1)
