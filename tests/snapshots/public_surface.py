"""The public surface of chaoskit as text, one promise a line.

Written by: python tests/snapshots/public_surface.py

What is not listed is not promised. A change of the file is a change of the surface: it belongs in the
CHANGELOG.
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import re
import typing
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import click

from chaoskit.runtime import Event

FILE = Path(__file__).with_suffix(".txt")

MODULES = (
    "chaoskit",
    "chaoskit.faults",
    "chaoskit.faults.damages",
    "chaoskit.invariants",
    "chaoskit.report",
    "chaoskit.contracts",
    "chaoskit.contracts.retry",
    "chaoskit.contracts.breaker",
    "chaoskit.contracts.store",
    "chaoskit.strategies",
    "chaoskit.runtime",
    "chaoskit.runtime.celery",
    "chaoskit.runtime.config",
    "chaoskit.runtime.context",
)
"""Where users import from, and nowhere else."""

MACHINERY = {
    "AdaptiveThrottle": {"admits", "refusal", "rejected"},
    "BreakerLink": {"join", "notice", "start", "sync"},
    "BreakerOptions": {"by_rate", "window"},
    "Chaos": {"close", "observed"},
    "Jitter": {"around"},
    "RetryBudget": {"give_back", "request", "roll", "take"},
    "Rule": {"matches"},
    "chaoskit.report": {"Collector", "Line", "summary_lines"},
}
"""What one module of ours needs of another, and so has no underscore. No user needs it, and it may change."""

RECEIVED = {
    "Attempt",
    "BreakerGuard",
    "Chaos",
    "Context",
    "FaultSet",
    "Injected",
    "LogGuard",
    "Subscription",
    "Ticket",
    "Worker",
}
"""Classes whose objects users are handed and never make: how they are made is not promised."""


KINDS = {
    "a Backoff": {"Constant", "Decorrelated", "Exponential", "Linear"},
    "a BreakerAdapter": {"ChaoskitBreaker"},
    "a Clock": {"RecordingClock", "SystemClock", "VirtualClock"},
    "a RetryAdapter": {"ChaoskitRetry"},
    "a StoreAdapter": {"ChaoskitStore"},
    "a StoreSubject": {"ChaoskitSubject"},
}
"""Classes that keep the promises of a protocol in this list, whose methods are not promised twice."""


def surface() -> str:
    """The whole text."""
    lines = [line for module in modules() for line in exports(module)]
    return "\n".join([*lines, *command_line(), *pytest_options()]) + "\n"


def modules() -> Iterator[ModuleType]:
    yield from map(import_module, MODULES)


def exports(module: ModuleType) -> Iterator[str]:
    for name in sorted(set(module.__all__) - MACHINERY.get(module.__name__, set())):
        value = getattr(module, name)
        yield from described(f"{module.__name__}.{name}", value)


def described(name: str, value: object) -> Iterator[str]:
    """A function with its signature; a record with its fields; a class with its bases; else the type.

    Of a class, what it defines follows, a line each.
    """
    if inspect.ismodule(value):
        yield f"{name}: module"
    elif inspect.isclass(value) and dataclasses.is_dataclass(value) and value.__name__ not in RECEIVED:
        yield f"{name}: {kind(value)}{signature(value).removesuffix(' -> None')}"
        yield from methods(name, value)
    elif inspect.isclass(value):
        bases = ", ".join(base.__name__ for base in value.__bases__ if base is not object)
        yield f"{name}: class({bases}){', ' if (keeps := _keeps(value)) else ''}{keeps}"
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
    elif (
        cls.__name__ not in RECEIVED
        and "__init__" in vars(cls)
        and not issubclass(cls, BaseException)
        and not _is_protocol(cls)
    ):
        yield f"{name}{signature(cls)}"
    yield from methods(name, cls)


def kind(cls: type) -> str:
    """``record`` for plain data, ``event`` and its promised name for what observers are told."""
    found = f"event {cls.name} " if issubclass(cls, Event) and cls is not Event else "record"
    return f"{found}, {keeps}, " if (keeps := _keeps(cls)) else found


def methods(name: str, cls: type) -> Iterator[str]:
    machinery = MACHINERY.get(cls.__name__, set())
    if keeps := _keeps(cls):
        machinery = machinery | _promised(keeps.removeprefix("a "))
    for member, value in sorted(vars(cls).items()):
        if member.startswith("_") or member in machinery:
            continue
        plain = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        if isinstance(plain, property):
            yield f"{name}.{member}: property"
        elif inspect.isfunction(plain):
            yield f"{name}.{member}{signature(plain)}"


def _keeps(cls: type) -> str:
    return next((kind for kind, names in KINDS.items() if cls.__name__ in names), "")


def _promised(protocol: str) -> set[str]:
    found = (getattr(module, protocol, None) for module in modules())
    return set(vars(next(one for one in found if one is not None)))


def _is_protocol(cls: type) -> bool:
    return bool(getattr(cls, "_is_protocol", False))


def signature(value: object) -> str:
    """The signature without what differs between Pythons: addresses, quotes of annotations, sentinels."""
    try:
        text = str(inspect.signature(value))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return "(…)"
    text = re.sub(r" at 0x[0-9a-f]+", "", text).replace("<dataclasses._MISSING_TYPE object>", "MISSING")
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
