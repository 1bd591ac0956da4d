"""A switch for all retries of the process, for tests and for emergencies.

It is read only after a failure, so a successful call pays nothing for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from chaoskit.runtime.calling.blocks import block
from chaoskit.runtime.numbers import whole

__all__ = ["Switched", "retries_off", "retries_without_waits", "switched"]


class Switched(NamedTuple):
    """While in force, no policy waits, and ``attempts``, unless None, limits every policy further."""

    attempts: int | None


# The innermost is last. A list, not a context variable: retries in other threads must see it, too.
_IN_FORCE: list[Switched] = []


def switched() -> Switched | None:
    """The mode in force now; None if every policy applies as it is."""
    return _IN_FORCE[-1] if _IN_FORCE else None


@block
def retries_off() -> Iterator[None]:
    """Within the block no policy of the process makes a second attempt, in any thread or task.

    Nothing else changes: the error is the same, events are emitted, the loop form runs its block once.
    """
    yield from _in_force(Switched(1))


@block
def retries_without_waits(attempts: int | None = None) -> Iterator[None]:
    """Within the block no retry waits, in any thread or task; ``attempts`` limits all policies.

    It is meant for tests of what is retried: they take no time, and make as many attempts as in production,
    or fewer with ``attempts``.

    Raises:
        UsageError: ``attempts`` is not a whole number from 1.
    """
    yield from _in_force(Switched(whole("attempts", attempts, 1, none="each policy's own")))


def _in_force(mode: Switched) -> Iterator[Any]:
    _IN_FORCE.append(mode)
    try:
        yield
    finally:
        # By identity: the blocks of two threads may end in another order than they began.
        for place in reversed(range(len(_IN_FORCE))):
            if _IN_FORCE[place] is mode:
                del _IN_FORCE[place]
                break
