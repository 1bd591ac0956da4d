"""All domains, listed in the order that the supervisor asks them. No other module names them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from chaoskit.faults.shapes import Shape
from chaoskit.inject.kernel.border import Around, Domain
from chaoskit.inject.kernel.clock import clockwork
from chaoskit.inject.kernel.clock.domain import Times
from chaoskit.inject.kernel.clock.table import OTHERS, TimeSpec
from chaoskit.inject.kernel.files.domain import Files
from chaoskit.inject.kernel.lookups import Lookups
from chaoskit.inject.kernel.network.domain import Network
from chaoskit.inject.kernel.seccomp import abi, bpf
from chaoskit.inject.kernel.seccomp.syscalls import Families, Spec

DOMAINS: tuple[type[Domain[Any]], ...] = (Files, Lookups, Network, Times)

SPECS: tuple[Spec, ...] = tuple(spec for domain in DOMAINS for spec in domain.specs)
"""The calls of all domains."""


class Domains(dict[int, Domain[Any]]):
    """The domains of one run, by their places in :data:`DOMAINS`.

    Each is made when it is first looked up, since a case seldom needs more than one. :meth:`values` makes
    none.
    """

    def __init__(self, around: Around) -> None:
        super().__init__()
        self._around = around
        if around.plan.record:
            # A recording includes what existed before the first call.
            self.update(enumerate(domain(around) for domain in DOMAINS))

    def __missing__(self, position: int) -> Domain[Any]:
        self[position] = domain = DOMAINS[position](self._around)
        return domain

    def of(self, family: str) -> Iterator[Domain[Any]]:
        """The domains that have calls of this family."""
        return map(self.__getitem__, _positions().get(family, ()))


@cache
def _positions() -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for position, domain in enumerate(DOMAINS):
        for family in dict.fromkeys(spec.family for spec in domain.specs):
            found[family] = (*found.get(family, ()), position)
    return found


def lasting(shape: Shape) -> frozenset[str]:
    """The families whose later calls a fault of this shape may answer once it has struck."""
    return frozenset().union(*(domain.lasting(shape) for domain in DOMAINS))


# A sweep has thousands of cases and a few dozen filters: assembling one costs as much as a small case.
@cache
def program(families: Families, timed: bool = False) -> bytes:
    """The filter that stops only calls of ``families``, of all operations.

    With ``timed`` it also stops all calls that deal with time.
    """
    if not timed:
        specs = tuple(spec for spec in SPECS if not isinstance(spec, TimeSpec))
        return bpf.program(abi.machine(), specs, families)
    if families is not None:
        families = families | {clockwork.LOOKS} | {spec.family for spec in clockwork.SPECS}
    return bpf.program(abi.machine(), (*SPECS, *OTHERS), families)


@cache
def by_number() -> dict[int, tuple[tuple[int, Spec], ...]]:
    """Maps each call number of this machine to its specs, each with the position of its domain."""
    table: dict[int, tuple[tuple[int, Spec], ...]] = {}
    for position, domain in enumerate(DOMAINS):
        for spec in domain.specs:
            number = spec.number(abi.machine())
            if number is not None:
                table[number] = (*table.get(number, ()), (position, spec))
    return table
