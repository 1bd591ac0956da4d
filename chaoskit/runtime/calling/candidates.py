"""The candidates of a fallback chain, its choices, and its events."""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar, cast

from chaoskit.core.errors import wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.calling.callables import protectable, synchronous
from chaoskit.runtime.numbers import is_number, whole
from chaoskit.runtime.observing.events import Event

__all__ = ["Candidate", "CandidateRejected", "Choice", "ChoiceMade", "LastGood", "Rejection", "Why"]

T = TypeVar("T")


class Why(enum.StrEnum):
    """Why a candidate was rejected."""

    UNAVAILABLE = "not available"
    NOT_YET_VALID = "not yet valid"
    EXPIRED = "expired"
    FAILED = "failed"
    TOO_POOR = "not good enough"
    NO_LAST_GOOD = "no last known good value"
    LAST_GOOD_TOO_OLD = "last known good value is too old"


@dataclass(frozen=True, slots=True)
class Candidate(Generic[T]):
    """One way to get the value; ``get`` is called with the arguments of the call, sync or async.

    ``available`` is asked first; an exception means no. The candidate is valid from ``valid_from`` up to, but
    not including, ``valid_until`` (seconds since the epoch; None: no bound). ``quality`` of the value, a
    number or a function of it, must reach the chain's ``minimum_quality``. A candidate with ``last_resort``,
    such as a constant, is tried only if there is no last known good value either, and is never kept as one.

    Raises ``UsageError`` for functions of the wrong kind, for times that are not numbers, and for an interval
    that ends before it begins.
    """

    name: str
    get: Callable[..., Any]
    available: Callable[[], bool] | None = None
    valid_from: float | None = None
    valid_until: float | None = None
    quality: float | Callable[[T], float] | None = None
    last_resort: bool = False

    def __post_init__(self) -> None:
        kinds.text("the name of a candidate", self.name)
        kinds.switch("last_resort", self.last_resort)
        protectable("a candidate", self.get)
        synchronous("available", self.available)
        quality: object = self.quality
        if callable(quality):
            synchronous("quality", quality)
        # NaN is allowed: a failed measurement gives it, and it means a quality that is not good enough.
        elif not (quality is None or isinstance(quality, float) or is_number(quality)):
            raise wrong("quality", quality, "a number, a function of the value, or None")
        for name in ("valid_from", "valid_until"):
            at = getattr(self, name)
            if at is not None and not is_number(at):
                raise wrong(name, at, "seconds since the epoch, or None", "A datetime has timestamp().")
        bounded = self.valid_from is not None and self.valid_until is not None
        if bounded and not cast(float, self.valid_from) < cast(float, self.valid_until):
            raise wrong("valid_until", self.valid_until, f"a time after valid_from, {self.valid_from}")


@dataclass(frozen=True, slots=True)
class LastGood:
    """Keep the last acceptable value for ``max_age`` seconds, and offer it when all candidates fail.

    A value is only offered to calls with the same key as the call that it was made for; ``key`` computes it
    from the arguments. Without ``key``, calls must have no arguments. At most ``size`` values are kept.
    Raises ``UsageError`` for an age or a size that is not above zero.
    """

    max_age: float
    key: Callable[..., Hashable] | None = None
    size: int = 1024

    def __post_init__(self) -> None:
        if not (is_number(self.max_age) and self.max_age > 0):
            raise wrong("max_age", self.max_age, "seconds, more than zero")
        whole("size", self.size, 1)
        synchronous("key", self.key)


@dataclass(frozen=True, slots=True)
class Rejection:
    """A candidate that was not chosen: ``detail`` is for people, ``error`` is what it raised, if anything."""

    candidate: str
    why: Why
    detail: str = ""
    error: BaseException | None = None

    def __str__(self) -> str:
        return f"{self.candidate}: {self.why}{f' ({self.detail})' if self.detail else ''}"


@dataclass(frozen=True, slots=True)
class Choice(Generic[T]):
    """The value, its candidate, and what was rejected before it.

    ``quality`` is None if the candidate has none; ``age`` is the age in seconds of a last known good value,
    and None for a fresh one.
    """

    value: T
    candidate: str
    quality: float | None = None
    age: float | None = None
    rejections: tuple[Rejection, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateRejected(Event):
    """A candidate was not chosen."""

    name: ClassVar[str] = "fallback.rejected"

    chain: str
    candidate: str
    why: Why
    detail: str
    error: BaseException | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceMade(Event):
    """A candidate other than the first was chosen, or (``age``) the last known good value."""

    name: ClassVar[str] = "fallback.chosen"
    level: ClassVar[int | None] = logging.WARNING

    chain: str
    candidate: str
    rejected: int
    age: float | None
