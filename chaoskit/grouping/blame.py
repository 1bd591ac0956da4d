"""Finds the world that explains each broken case: the one with the fewest parts missing."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Protocol


class Lacking(Protocol):
    """The properties of a world by which it is compared."""

    @property
    def run(self) -> int: ...

    @property
    def missing(self) -> frozenset[Hashable]: ...

    @property
    def operation(self) -> Hashable: ...


def simpler_of(harms: Mapping[int, Hashable], worlds: Mapping[int, Lacking]) -> dict[int, int]:
    """Map each case with a world to the case whose world explains it, often the same one; both are indices.

    ``harms`` says how each case broke. If a world with fewer parts missing breaks the test in the same way,
    the other missing parts are not to blame.
    """
    found: dict[int, int] = {}
    reduced: dict[Hashable, list[int]] = {}
    missing = {index: worlds[index].missing for index in worlds}
    for index in sorted(harms.keys() & worlds.keys(), key=lambda i: (len(missing[i]), i)):
        simpler = reduced.setdefault(harms[index], [])
        same = next((one for one in simpler if _explains(one, index, worlds, missing)), None)
        if same is None:
            simpler.append(index)
        found[index] = index if same is None else same
    return found


def _explains(
    one: int, other: int, worlds: Mapping[int, Lacking], missing: Mapping[int, frozenset[Hashable]]
) -> bool:
    simpler, world = worlds[one], worlds[other]
    if simpler.run != world.run or not missing[one] <= missing[other]:
        return False
    # A world with nothing missing would explain all others, so it explains only those at its operation.
    return bool(missing[one]) or simpler.operation == world.operation
