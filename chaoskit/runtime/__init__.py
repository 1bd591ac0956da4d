"""The resilience runtime. Uses ``chaoskit.core`` only; never loads the harness, pytest or Hypothesis.

A name is loaded when it is first used, so that a program pays for what it needs. Each name stands
twice below, for the type checkers and for the loader; a test holds the two together.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chaoskit.runtime.breaker import CircuitBreaker as CircuitBreaker
    from chaoskit.runtime.classifying import Classifier as Classifier
    from chaoskit.runtime.classifying import classify as classify
    from chaoskit.runtime.retrying import RetryPolicy as RetryPolicy
    from chaoskit.runtime.retrying import retry as retry

# name: module that defines it. No module or folder here may have the name of an export: importing a
# submodule sets it as an attribute of this package, and would replace the function that users asked for.
_HOMES = {
    "CircuitBreaker": "breaker",
    "Classifier": "classifying",
    "classify": "classifying",
    "RetryPolicy": "retrying",
    "retry": "retrying",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> object:
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
