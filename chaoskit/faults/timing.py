"""What can happen to clocks and waits, as shapes: see :mod:`chaoskit.faults.shapes`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stepped:
    """The wall clock is set ahead by ``nanoseconds``, or back if that is negative."""

    nanoseconds: int


@dataclass(frozen=True, slots=True)
class Set:
    """The wall clock is set to ``nanoseconds`` since 1970."""

    nanoseconds: int


@dataclass(frozen=True, slots=True)
class Frozen:
    """The wall clock stands still until the run is over."""


@dataclass(frozen=True, slots=True)
class Drifting:
    """From here on the wall clock is fast by ``rate`` parts per million, or slow if that is negative."""

    rate: int


@dataclass(frozen=True, slots=True)
class Repeated:
    """A read shows the same time as the previous one."""


@dataclass(frozen=True, slots=True)
class Suspended:
    """The machine sleeps during a wait: the wall clock goes on, the monotonic clock does not."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Late:
    """A wait takes ``seconds`` longer."""

    seconds: float


OfTime = Stepped | Set | Drifting | Frozen | Repeated | Suspended | Late
"""Faults of clocks and sleeps; they need a run with virtual time."""
