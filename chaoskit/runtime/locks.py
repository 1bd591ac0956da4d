"""Releases a lock that this thread may or may not hold."""

from __future__ import annotations

from typing import Any

__all__ = ["let_go"]


def let_go(lock: Any) -> None:
    """Release ``lock``, a reentrant one, if this thread holds it.

    A signal handler may raise just before or after ``acquire`` or ``release``. From CPython 3.14 on it may
    also raise between the two steps in which a ``with`` statement is entered, so callers do without ``with``:
    they acquire the lock within a ``try``, and call this in its ``except`` clause.
    """
    try:
        lock.release()
    except RuntimeError:
        pass
