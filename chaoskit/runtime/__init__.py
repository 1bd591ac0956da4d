"""The resilience runtime: programs import everything from here.

It never loads the harness, pytest or Hypothesis. A name is loaded when it is first used, so that a program
pays only for what it needs: ``exports`` lists the module of each name, and ``__init__.pyi`` has them for type
checkers. ``chaoskit.runtime.config`` and ``chaoskit.runtime.context`` stay namespaces, because their names
say too little without the prefix: ``context.bind(...)``, ``config.load(...)``.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from chaoskit.runtime.exports import EXPORTS, OPTIONAL

_HOMES = {name: module for module, names in EXPORTS.items() for name in names.split()}
_SPACES = ("config", "context")


def __getattr__(name: str) -> object:
    if name == "__all__":
        return _importable()
    if name in _SPACES:
        return import_module(f"{__name__}.{name}")
    if (home := _HOMES.get(name)) is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    above = "chaoskit" if home.startswith("core.") else __name__
    value = getattr(import_module(f"{above}.{home}"), name)
    globals()[name] = value
    return value


def _importable() -> list[str]:
    """The names for ``from chaoskit.runtime import *``: all but those whose packages are not installed.

    Accessing one of those raises an error that names the extra. The list is made on demand, because looking
    for the packages costs more than loading this module.
    """
    absent = {home for home, package in OPTIONAL.items() if find_spec(package) is None}
    return [*(name for name, home in _HOMES.items() if home not in absent), *_SPACES]


def __dir__() -> list[str]:
    return sorted([*_HOMES, *_SPACES])
