"""The public surface of chaoskit as text, one promise a line.

Written by: python tests/snapshots/public_surface.py

What is not listed is not promised. A change of the file is a change of the surface: it belongs in the
CHANGELOG.
"""

from __future__ import annotations

import enum
import inspect
import pkgutil
import re
import typing
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import click

FILE = Path(__file__).with_suffix(".txt")

MODULES = ("chaoskit", "chaoskit.faults", "chaoskit.invariants", "chaoskit.report", "chaoskit.doctor")
LATER = ("chaoskit.contracts", "chaoskit.strategies")
"""The same, as far as they are there."""

PACKAGES = ("chaoskit.runtime",)
"""Of these every module counts that names its exports in ``__all__``."""


def surface() -> str:
    """The whole text."""
    lines = [line for module in modules() for line in exports(module)]
    return "\n".join([*lines, *command_line(), *pytest_options()]) + "\n"


def modules() -> Iterator[ModuleType]:
    yield from map(import_module, MODULES)
    yield from (module for module in map(_if_there, LATER) if hasattr(module, "__all__"))
    for package in map(import_module, PACKAGES):
        yield package
        for found in sorted(pkgutil.iter_modules(package.__path__), key=lambda info: info.name):
            module = import_module(f"{package.__name__}.{found.name}")
            if not found.name.startswith("_") and hasattr(module, "__all__"):
                yield module


def _if_there(name: str) -> ModuleType | None:
    try:
        return import_module(name)
    except ModuleNotFoundError:
        return None


def exports(module: ModuleType) -> Iterator[str]:
    for name in sorted(module.__all__):
        value = getattr(module, name)
        yield from described(f"{module.__name__}.{name}", value)


def described(name: str, value: object) -> Iterator[str]:
    """A function with its signature; a class with its bases and what it defines; else the type."""
    if inspect.ismodule(value):
        yield f"{name}: module"
    elif inspect.isclass(value):
        bases = ", ".join(base.__name__ for base in value.__bases__ if base is not object)
        yield f"{name}: class({bases})"
        yield from members(name, value)
    elif typing.get_origin(value) is not None:
        yield f"{name}: type alias"
    elif callable(value):
        yield f"{name}{signature(value)}"
    else:
        yield f"{name}: {type(value).__name__}"


def members(name: str, cls: type) -> Iterator[str]:
    if issubclass(cls, enum.Enum):
        yield from (f"{name}.{member}" for member in cls.__members__)
    elif "__init__" in vars(cls) and not issubclass(cls, BaseException) and not _is_protocol(cls):
        yield f"{name}{signature(cls)}"
    for member, value in sorted(vars(cls).items()):
        if member.startswith("_"):
            continue
        plain = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        if isinstance(plain, property):
            yield f"{name}.{member}: property"
        elif inspect.isfunction(plain):
            yield f"{name}.{member}{signature(plain)}"


def _is_protocol(cls: type) -> bool:
    return bool(getattr(cls, "_is_protocol", False))


def signature(value: object) -> str:
    """The signature without what differs between Pythons: addresses, and the quotes of annotations."""
    try:
        text = str(inspect.signature(value))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return "(…)"
    text = re.sub(r" at 0x[0-9a-f]+", "", text)
    return re.sub(r"(: |-> )'([^']*)'", r"\1\2", text)


def command_line() -> Iterator[str]:
    from chaoskit.cli.group import chaoskit

    yield from commands("$ chaoskit", chaoskit, click.Context(chaoskit))


def commands(name: str, command: click.Command, context: click.Context) -> Iterator[str]:
    parameters = [_parameter(one) for one in command.params]
    yield " ".join([name, *sorted(filter(None, parameters))])
    if isinstance(command, click.Group):
        for sub in command.list_commands(context):
            found = command.get_command(context, sub)
            assert found is not None, sub
            yield from commands(f"{name} {sub}", found, click.Context(found, parent=context))


def _parameter(one: click.Parameter) -> str:
    if isinstance(one, click.Option):
        return "/".join([*one.opts, *one.secondary_opts])
    return (one.name or "").upper()


def pytest_options() -> Iterator[str]:
    """Options, ini keys, marker and fixture of the plugin."""
    options, keys = plugin_options()
    yield from (f"pytest {option}" for option in options)
    yield from (f"pytest.ini {key}" for key in keys)
    yield "pytest marker chaoskit"
    yield "pytest fixture chaos"


def plugin_options() -> tuple[list[str], list[str]]:
    """All options and ini keys that the plugin adds, sorted."""
    from chaoskit import plugin

    class Group:
        def __init__(self) -> None:
            self.options: list[str] = []

        def addoption(self, *names: str, **_: object) -> None:
            self.options += names

    class Parser:
        def __init__(self) -> None:
            self.group, self.keys = Group(), []

        def getgroup(self, *_: object) -> Group:
            return self.group

        def addini(self, name: str, *_: object, **__: object) -> None:
            self.keys.append(name)

    parser = Parser()
    plugin.pytest_addoption(parser)  # type: ignore[arg-type]
    return sorted(parser.group.options), sorted(parser.keys)


if __name__ == "__main__":
    FILE.write_text(surface(), "utf-8")
    print(f"wrote {FILE}")
