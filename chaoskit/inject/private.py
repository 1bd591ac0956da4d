"""Descriptors and memory that a workload must not inherit, since it could speak for the harness with them.

A workload is a fork of the test process and has everything that this process has. Messages between the
harness's own processes are trusted, and some are pickles. So each workload closes their channels before it
begins: then no stray write is taken for a message of ours.
"""

from __future__ import annotations

import os
from collections.abc import Callable

_descriptors: set[int] = set()
_memory: list[Callable[[], object]] = []


def withhold(fd: int) -> None:
    """Close ``fd`` in each workload forked from this process from now on."""
    _descriptors.add(fd)


def give_back(fd: int) -> None:
    """Undo :func:`withhold`: the descriptor is about to be closed, and its number may be reused."""
    _descriptors.discard(fd)


def withhold_memory(release: Callable[[], object]) -> None:
    """Call ``release`` in each workload from now on, to unmap memory that other processes read."""
    _memory.append(release)


def inherit_again(release: Callable[[], object]) -> None:
    """Undo :func:`withhold_memory`: the memory is gone."""
    _memory.remove(release)


def descriptors() -> frozenset[int]:
    """The descriptors that a workload does not have, though this process has."""
    return frozenset(_descriptors)


def let_go() -> None:
    """In a workload: release everything that is withheld from it."""
    for fd in _descriptors:
        try:
            os.close(fd)
        except OSError:  # The workload's set-up has closed it.
            pass
    for release in _memory:
        release()
    # Its own children have nothing more to release, and these numbers may be theirs by then.
    _descriptors.clear()
    _memory.clear()
