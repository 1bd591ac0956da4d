"""Loading ahead of need: what waits for a first failure may find no descriptor left to be opened with."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module

__all__ = ["load_ahead"]


def load_ahead(module: str) -> None:
    """Load ``module`` now, if that can be done; its user has to cope with its absence all the same.

    The runtime loads late what a program needs only once something has failed: the records of events and the
    rules of the classifier. What is set up to use them loads them when it is set up.
    """
    with suppress(Exception):
        import_module(module)
