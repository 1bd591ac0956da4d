"""Letting go of a lock that may or may not be held."""

from __future__ import annotations

from typing import Any

__all__ = ["let_go"]


def let_go(lock: Any) -> None:
    """Release ``lock``, a reentrant one, if this thread has it.

    What a signal handler raises may strike on either side of acquire and release. Between the two steps of a
    ``with`` statement's entry, too, from CPython 3.14 on: hence ``acquire`` within a ``try`` that ends here.
    """
    try:
        lock.release()
    except RuntimeError:
        pass
