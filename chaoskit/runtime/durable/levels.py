"""The names of the crashes that a write survives, once its call has returned.

=================  ============================================================================
``power-loss``     the power fails, or the kernel panics. Everything is synced. The default
``process-crash``  the process is killed, and the kernel lives on. Nothing is synced
``memory``         it may survive neither: for data that can be computed again
=================  ============================================================================

Atomicity does not depend on the level: at each of them a reader sees the old content or the new.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from chaoskit.core.errors import wrong

__all__ = ["DEFAULT_DURABILITY", "LEVELS", "Durability", "check_durability"]

Durability: TypeAlias = Literal["power-loss", "process-crash", "memory"]

LEVELS: tuple[Durability, ...] = get_args(Durability)

# Written once, here: a program that does not name a level assumes the strongest, so it gets that one.
DEFAULT_DURABILITY: Durability = "power-loss"


def check_durability(level: str) -> Durability:
    """Return ``level``, checked.

    Raises:
        UsageError: it is not one of the three names.
    """
    for known in LEVELS:
        if level == known:
            return known
    raise wrong("durability", level, f"one of {', '.join(map(repr, LEVELS))}", "The default is 'power-loss'.")
