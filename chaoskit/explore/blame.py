"""Which call is to blame where several worlds broke a test in the same way."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from chaoskit.core.operation import Operation
from chaoskit.explore.border import World


def blamed(
    broken: Mapping[int, Hashable], worlds: Mapping[int, World], struck: Mapping[int, tuple[Operation, ...]]
) -> dict[int, tuple[Operation, ...]]:
    """``struck``, with the calls to blame put right.

    ``broken`` has by a case's index how it broke, ``worlds`` has the worlds of those that have one. A
    broken one is looked at a second time. If a world with fewer parts missing breaks the test in the same
    way, what else is missing is not to blame: the case gets the calls of the simpler one, so that both
    become one finding.
    """
    result = dict(struck)
    reduced: dict[Hashable, list[int]] = {}
    for index in sorted(broken.keys() & worlds.keys(), key=lambda i: (len(worlds[i].missing), i)):
        simpler = reduced.setdefault(broken[index], [])
        same = next((other for other in simpler if _explains(worlds[other], worlds[index])), None)
        if same is None:
            simpler.append(index)
            # The second look is dear, so only the simplest of those that explain each other is worth it.
            first, second = worlds[index].blamed, worlds[index].guilty
            result[index] = tuple(second if one is first else one for one in struck[index])
        else:
            result[index] = result[same]
    return result


def _explains(simpler: World, world: World) -> bool:
    if simpler.run != world.run or not simpler.missing <= world.missing:
        return False
    # What breaks with nothing missing explains what is missing too, but only at the same operation.
    return bool(simpler.missing) or simpler.operation is world.operation
