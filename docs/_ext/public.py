"""The directive ``{public} MODULE``: every name that a module promises, from its docstrings.

What is shown is ``__all__``, so a page cannot forget a name. The many exports of the runtime are grouped by
the folder that defines them, because forty names in one list help no reader.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


def promised(module: ModuleType) -> dict[str, object]:
    """What the module exports, by name; modules among it have pages of their own."""
    exported = {name: getattr(module, name) for name in module.__all__}
    return {name: value for name, value in exported.items() if not inspect.ismodule(value)}


def home(module: ModuleType, name: str, value: object) -> str:
    """The module that defines an export: the lazy table of the package, or what the object itself says."""
    table: dict[str, str] = getattr(module, "_HOMES", {})
    if name in table:
        place = table[name]
        return place if place.startswith("chaoskit.") else f"{module.__name__}.{place}"
    return getattr(value, "__module__", None) or module.__name__


def wings(module: ModuleType) -> dict[str, list[str]]:
    """The exports by the folder or module below ``module`` that they come from, in order of ``__all__``.

    The key is a title; it is empty for a module whose exports need no groups.
    """
    found: dict[str, list[str]] = {}
    for name, value in promised(module).items():
        if module.__name__ != "chaoskit.runtime":
            found.setdefault("", []).append(name)
            continue
        wing = home(module, name, value).removeprefix(f"{module.__name__}.").partition(".")[0]
        found.setdefault(wing.replace("_", " ").capitalize(), []).append(name)
    return dict(sorted(found.items()))


def directive(value: object) -> str:
    """Which directive of autodoc shows this kind of object."""
    if inspect.isclass(value) and not typing.get_origin(value):
        return "autoexception" if issubclass(value, BaseException) else "autoclass"
    return "autofunction" if inspect.isroutine(value) else "autodata"


def lines(module: ModuleType) -> Iterator[str]:
    """The page's source, in Markdown."""
    for title, names in wings(module).items():
        if title:
            yield from (f"## {title}", "")
        yield from ("```{eval-rst}", f".. currentmodule:: {module.__name__}", "")
        for name in sorted(names, key=str.lower):
            kind = directive(getattr(module, name))
            yield f".. {kind}:: {module.__name__}.{name}"
            if kind in ("autoclass", "autoexception"):
                yield "   :members:"
            if kind == "autodata":
                yield "   :no-value:"
            yield ""
        yield from ("```", "")


class Public(SphinxDirective):
    """Every export of the module that is the argument."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
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
    """The signature as a reader would write it: no module before the names of types, none for a protocol."""
    if inspect.isclass(value) and getattr(value, "_is_protocol", False):
        return "", returned
    shorter = [text and re.sub(r"~(?:\w+\.)*~?", "", text) for text in (signature, returned)]
    return shorter[0], shorter[1]


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("public", Public)
    app.connect("autodoc-process-signature", readable)
    return {"parallel_read_safe": True}
