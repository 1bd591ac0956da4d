"""The domains there are, in the order in which they are asked. This is the only place that names them."""

from __future__ import annotations

from functools import cache
from typing import Any

from chaoskit.faults.shapes import Shape
from chaoskit.inject.kernel.border import Domain
from chaoskit.inject.kernel.files.domain import Files
from chaoskit.inject.kernel.lookups import Lookups
from chaoskit.inject.kernel.seccomp import abi, bpf
from chaoskit.inject.kernel.seccomp.syscalls import Families, Spec

DOMAINS: tuple[type[Domain[Any]], ...] = (Files, Lookups)

SPECS: tuple[Spec, ...] = tuple(spec for domain in DOMAINS for spec in domain.specs)
"""Every call that can be an operation of some domain."""


def lasting(shape: Shape) -> frozenset[str]:
    """The families that a fault of this shape may go on to answer once it has struck."""
    return frozenset().union(*(domain.lasting(shape) for domain in DOMAINS))


# A sweep has thousands of cases and a few dozen filters: assembling one costs as much as a small case.
@cache
def program(families: Families) -> bytes:
    """The filter under which, of all operations, only calls of ``families`` stop."""
    return bpf.program(abi.machine(), SPECS, families)


@cache
def by_number() -> dict[int, tuple[tuple[int, Spec], ...]]:
    """For each number of this machine the calls that it is, with the position of the domain that wants it."""
    table: dict[int, tuple[tuple[int, Spec], ...]] = {}
    for position, domain in enumerate(DOMAINS):
        for spec in domain.specs:
            number = spec.number(abi.machine())
            if number is not None:
                table[number] = (*table.get(number, ()), (position, spec))
    return table
