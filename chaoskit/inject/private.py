"""What a workload does not inherit: descriptors and memory through which it could speak for the harness.

A workload is a fork of the process that runs the test, and has all that this has. What the harness's own
processes tell each other is trusted, and some of it is a pickle. So its ends are let go in each workload
before that begins: no write that goes astray is taken for a word of ours.
"""

from __future__ import annotations

import os
from collections.abc import Callable

_descriptors: set[int] = set()
_memory: list[Callable[[], object]] = []


def withhold(fd: int) -> None:
    """Close ``fd`` in each workload that is forked from this process from now on."""
    _descriptors.add(fd)


def give_back(fd: int) -> None:
    """Take back a :func:`withhold`: the descriptor is about to be closed, and its number may mean another."""
    _descriptors.discard(fd)


def withhold_memory(release: Callable[[], object]) -> None:
    """Call ``release`` in each workload from now on: it unmaps what other processes read."""
    _memory.append(release)


def inherit_again(release: Callable[[], object]) -> None:
    """Take back a :func:`withhold_memory`: what it was about is gone."""
    _memory.remove(release)


def descriptors() -> frozenset[int]:
    """The descriptors that a workload does not have, though this process has."""
    return frozenset(_descriptors)


def let_go() -> None:
    """In a workload: let everything go that is withheld from it."""
    for fd in _descriptors:
        try:
            os.close(fd)
        except OSError:  # The workload's set-up has closed it.
            pass
    for release in _memory:
        release()
    # Its own children have nothing more to let go, and these numbers may be theirs by then.
    _descriptors.clear()
    _memory.clear()
