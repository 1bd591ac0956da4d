"""The names of the crashes that a write survives, once its call has returned.

=================  ========================================================================
``power-loss``     the power goes, the kernel panics. Everything is synced. The default
``process-crash``  the process is killed, the kernel lives on. Nothing is synced
``memory``         none of that is promised: for what may be computed again
=================  ========================================================================

A weaker level never costs atomicity: at each of them a reader sees the old content or the new.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from chaoskit.core.errors import wrong

__all__ = ["DEFAULT_DURABILITY", "LEVELS", "Durability", "check_durability"]

Durability: TypeAlias = Literal["power-loss", "process-crash", "memory"]

LEVELS: tuple[Durability, ...] = get_args(Durability)

# Written once, here: a program that says nothing about durability gets what it believes that it has.
DEFAULT_DURABILITY: Durability = "power-loss"


def check_durability(level: str) -> Durability:
    """The level of this name.

    Raises:
        UsageError: if there is none.
    """
    for known in LEVELS:
        if level == known:
            return known
    raise wrong("durability", level, f"one of {', '.join(map(repr, LEVELS))}", "The default is 'power-loss'.")
