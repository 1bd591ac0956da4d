"""Loads modules early: an import at the first failure may find that no descriptor is left."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module

__all__ = ["load_ahead"]


def load_ahead(module: str) -> None:
    """Load ``module`` now if possible; its user must still cope with its absence.

    The runtime loads some modules only after a failure: the records of events and the rules of the
    classifier. An object that will need them calls this when it is made.
    """
    with suppress(Exception):
        import_module(module)
