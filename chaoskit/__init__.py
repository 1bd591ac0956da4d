"""chaoskit: find out, in plain pytest, whether a program survives the faults of the real world.

Importing this package is cheap: the harness is loaded when one of its names is first used, and
``chaoskit.runtime`` never loads any of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaoskit.core.version import __version__ as __version__

if TYPE_CHECKING:
    from chaoskit import faults as faults
    from chaoskit import invariants as invariants
    from chaoskit.core.errors import ChaoskitError as ChaoskitError
    from chaoskit.core.errors import UsageError as UsageError
    from chaoskit.explore.errors import ScenarioViolated as ScenarioViolated
    from chaoskit.session.chaos import Chaos as Chaos
    from chaoskit.session.decorator import scenario as scenario
    from chaoskit.session.injecting import Injected as Injected
    from chaoskit.session.injecting import NotInjected as NotInjected
    from chaoskit.session.injecting import injecting as injecting
    from chaoskit.session.outcomes import Outcome as Outcome

__all__ = [
    "Chaos",
    "ChaoskitError",
    "Injected",
    "NotInjected",
    "Outcome",
    "ScenarioViolated",
    "UsageError",
    "faults",
    "injecting",
    "invariants",
    "scenario",
]

_HOMES = {
    "Chaos": "chaoskit.session.chaos",
    "ChaoskitError": "chaoskit.core.errors",
    "Injected": "chaoskit.session.injecting",
    "NotInjected": "chaoskit.session.injecting",
    "Outcome": "chaoskit.session.outcomes",
    "ScenarioViolated": "chaoskit.explore.errors",
    "UsageError": "chaoskit.core.errors",
    "injecting": "chaoskit.session.injecting",
    "scenario": "chaoskit.session.decorator",
}
_MODULES = ("faults", "invariants")


def __getattr__(name: str) -> object:
    import importlib

    if name in _MODULES:
        return importlib.import_module(f"chaoskit.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
