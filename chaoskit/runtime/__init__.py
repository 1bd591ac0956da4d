"""The resilience runtime: everything that a program uses is imported from here.

It never loads the harness, pytest or Hypothesis. A name is loaded when it is first used, so that a
program pays for what it needs: ``exports`` says where each comes from, and ``__init__.pyi`` tells the type
checkers. ``chaoskit.runtime.config`` and ``chaoskit.runtime.context`` are namespaces, since their names
say too little without the dot: ``context.bind(...)``, ``config.load(...)``.
"""

from __future__ import annotations

from importlib import import_module

from chaoskit.runtime.exports import EXPORTS

_HOMES = {name: module for module, names in EXPORTS.items() for name in names.split()}
_SPACES = ("config", "context")
__all__ = [*_HOMES, *_SPACES]


def __getattr__(name: str) -> object:
    if name in _SPACES:
        return import_module(f"{__name__}.{name}")
    if (home := _HOMES.get(name)) is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    above = "chaoskit" if home.startswith("core.") else __name__
    value = getattr(import_module(f"{above}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
