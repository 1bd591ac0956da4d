"""Loading ahead of need: a module that is imported at the first failure may find no descriptor left."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module

__all__ = ["load_ahead"]


def load_ahead(module: str) -> None:
    """Load ``module`` now, if that works; its user must still cope with its absence.

    The runtime loads late what a program needs only once something has failed: the records of events and the
    rules of the classifier. An object that will use them calls this when it is made.
    """
    with suppress(Exception):
        import_module(module)
