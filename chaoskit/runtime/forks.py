"""Locks across fork: a child never inherits a held lock or half-changed state.

Before a fork all registered locks are taken, so that no thread is inside; afterwards the parent releases them
and the child replaces them, as the standard library's ``logging`` does. It cannot deadlock because the locks
are leaves: code that holds one calls nothing and takes no other lock.
"""

from __future__ import annotations

import functools
import os
import threading
import weakref
from typing import Any, Protocol, Self

__all__ = ["Forkable", "Lasting", "survive_fork"]


class Forkable(Protocol):
    """An object with a reentrant leaf lock, which repairs its state in a forked child."""

    _lock: Any  # an RLock; the forking thread itself may be inside, in a signal handler

    def _after_fork(self) -> None:
        """Called in the child, with the new lock in place: drop what belongs to threads that are gone."""


class Lasting:
    """The base of objects that stand for a single thing, such as a limit: a copy is the object itself.

    Objects that refer to it, such as settings, can be copied; the copies share it.
    """

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


# Weak, so that short-lived objects, such as a breaker for each request, can be collected.
_registered: weakref.WeakSet[Any] = weakref.WeakSet()
_registry_lock = threading.RLock()
_taken: list[tuple[Any, Any]] = []


def survive_fork(owner: Forkable) -> None:
    """Take care of the lock of ``owner`` at every fork while it lives; its class needs ``__weakref__``."""
    _watch()
    with _registry_lock:
        _registered.add(owner)


@functools.cache
def _watch() -> None:
    """Hook into fork once, when the first lock is registered rather than at import."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)


def _before() -> None:
    # Taken first and held until the end: an owner registered in between would miss its release.
    _registry_lock.acquire()
    for owner in list(_registered):
        lock = owner._lock
        lock.acquire()
        _taken.append((owner, lock))


def _in_parent() -> None:
    while _taken:
        _taken.pop()[1].release()
    _registry_lock.release()


def _in_child() -> None:
    global _registry_lock
    _registry_lock = threading.RLock()
    while _taken:
        owner, _ = _taken.pop()
        # A new lock, as in ``logging``: the old one may still know threads that waited for it, and they do
        # not exist in the child.
        owner._lock = threading.RLock()
        owner._after_fork()
