"""The directive ``{public} MODULE``: every name that a module promises, from its docstrings.

What is promised is the list that a review reads, tests/snapshots/public_surface.txt, so that the reference
can neither forget a name nor show machinery. The many exports of the runtime are grouped by the folder that
defines them, because two hundred names in one list help no reader.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import chaoskit

SURFACE = Path(__file__).resolve().parents[2] / "tests" / "snapshots" / "public_surface.txt"
GROUPED = "chaoskit.runtime"


@cache
def surface() -> frozenset[str]:
    """The dotted name of everything that is promised, members of classes included."""
    lines = SURFACE.read_text("utf-8").splitlines()
    return frozenset(found[0] for line in lines if (found := re.match(r"chaoskit[\w.]*", line)))


@cache
def made() -> frozenset[str]:
    """The dotted names of the classes whose construction is promised."""
    return frozenset(
        re.findall(r"^(chaoskit[\w.]*)(?=\(|: .*\(.*: )", SURFACE.read_text("utf-8"), re.MULTILINE)
    )


def promised(module: ModuleType) -> dict[str, object]:
    """What the module exports and promises, by name; each module among it has a separate page."""
    exported = {name: getattr(module, name) for name in module.__all__}
    return {
        name: value
        for name, value in exported.items()
        if f"{module.__name__}.{name}" in surface() and not inspect.ismodule(value)
    }


def groups(module: ModuleType) -> dict[str, list[str]]:
    """The promised names by title, in the order of titles. A module without groups has one empty title."""
    found: dict[str, list[str]] = {}
    for name, value in promised(module).items():
        title = ""
        if module.__name__ == GROUPED:
            home: str = getattr(module, "_HOMES", {}).get(name) or getattr(value, "__module__", "")
            title = home.removeprefix(f"{GROUPED}.").removeprefix("chaoskit.").partition(".")[0].capitalize()
        found.setdefault(title, []).append(name)
    return dict(sorted(found.items()))


def machinery(path: str, cls: type) -> Iterator[str]:
    """The members without an underscore that a class has, from other libraries too, and does not promise."""
    for base in cls.__mro__:
        if base.__module__.partition(".")[0] not in ("chaoskit", "builtins"):
            yield from (
                name for name in vars(base) if not (name.startswith("_") or f"{path}.{name}" in surface())
            )
    for name, value in vars(cls).items():
        plain = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        if name.startswith("_") or f"{path}.{name}" in surface():
            continue
        if inspect.isfunction(plain) or isinstance(plain, property):
            yield name


def shown(path: str, value: object) -> Iterator[str]:
    """The directive of autodoc for one name, in reStructuredText."""
    if not inspect.isclass(value) or typing.get_origin(value):
        yield f".. {'autofunction' if inspect.isroutine(value) else 'autodata'}:: {path}"
        if not inspect.isroutine(value) and not isinstance(value, str | int):
            yield "   :no-value:"
    else:
        yield f".. {'autoexception' if issubclass(value, BaseException) else 'autoclass'}:: {path}"
        yield "   :members:"
        if hidden := ", ".join(machinery(path, value)):
            yield f"   :exclude-members: {hidden}"
        # Both libraries export the base of their errors; a link to it leads to one place.
        if path.startswith(GROUPED) and value.__name__ in chaoskit.__all__:
            yield "   :no-index:"
    yield ""


def lines(module: ModuleType) -> Iterator[str]:
    """The page's source, in Markdown."""
    for title, names in groups(module).items():
        if title:
            yield from (f"## {title}", "")
        yield from ("```{eval-rst}", f".. currentmodule:: {module.__name__}", "")
        for name in sorted(names, key=str.lower):
            yield from shown(f"{module.__name__}.{name}", getattr(module, name))
        yield from ("```", "")


class Public(SphinxDirective):
    """Every promised name of the module that is the argument."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(str(SURFACE))
        module = import_module(self.arguments[0])
        return self.parse_text_to_nodes("\n".join(lines(module)), allow_section_headings=True)


def readable(
    app: Sphinx,
    what: str,
    name: str,
    value: object,
    options: object,
    signature: str | None,
    returned: str | None,
) -> tuple[str | None, str | None]:
    """The signature as a reader would write it: no module before the names of types.

    A class that users do not make has none: a protocol, and what they are handed by another call.
    """
    if inspect.isclass(value) and not issubclass(value, BaseException) and name not in made():
        return "", returned
    shorter = [text and re.sub(r"~(?:\w+\.)*~?", "", text) for text in (signature, returned)]
    return shorter[0], shorter[1]


def own(app: Sphinx, what: str, name: str, value: object, options: object, text: list[str]) -> None:
    """Drop the docstring that a constant has from its type: it says what any ``str`` is."""
    if what == "data" and inspect.getdoc(value) == inspect.getdoc(type(value)):
        text.clear()


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("public", Public)
    app.connect("autodoc-process-signature", readable)
    app.connect("autodoc-process-docstring", own)
    return {"parallel_read_safe": True}
