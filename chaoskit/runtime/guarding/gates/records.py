"""What a gate asks for, and what it found."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from chaoskit.core.errors import wrong
from chaoskit.runtime.calling.callables import synchronous
from chaoskit.runtime.config import option
from chaoskit.runtime.failures.base import ValidationError
from chaoskit.runtime.numbers import is_number
from chaoskit.runtime.observing.events import Event

__all__ = ["CrossCheck", "GateFinding", "GateJudged", "GateResult", "QualityMetric"]

Metrics = Mapping[str, float]
Stages = Mapping[str, Metrics]
"""The metrics of each stage, by its name."""


@dataclass(frozen=True, slots=True)
class QualityMetric:
    """One number that has to lie between ``minimum`` and ``maximum``, both allowed.

    A mandatory one that does not, is missing, or is not a number fails the gate; an advisory one is told. At
    ``route`` what fails by it goes on, for instance with other parameters.

    Raises:
        UsageError: it has no bound, or a minimum above its maximum.
    """

    name: str
    minimum: float | None = option(default=None)
    maximum: float | None = option(default=None)
    mandatory: bool = True
    route: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise wrong("the name of a metric", self.name, "a text")
        bounds = [one for one in (self.minimum, self.maximum) if one is not None]
        if not bounds or not all(map(is_number, bounds)):
            raise wrong(
                f"the bounds of {self.name!r}",
                (self.minimum, self.maximum),
                "a minimum or a maximum, each a number",
            )
        if bounds != sorted(bounds):
            raise wrong(
                f"the minimum of {self.name!r}", self.minimum, f"at most its maximum, {self.maximum:g}"
            )

    def judge(self, metrics: Metrics) -> GateFinding | None:
        """What is wrong with it, or None."""
        value = metrics.get(self.name)
        if value is None:
            return GateFinding(self.name, None, "it is missing", self.mandatory, self.route)
        read = _read(value)
        if isinstance(read, str):
            return GateFinding(self.name, None, read, self.mandatory, self.route)
        # Written so that NaN, which compares false with everything, is outside.
        above = self.minimum is None or read >= self.minimum
        below = self.maximum is None or read <= self.maximum
        if above and below:
            return None
        low = "" if self.minimum is None else f"at least {self.minimum:g}"
        high = "" if self.maximum is None else f"at most {self.maximum:g}"
        expected = " and ".join(filter(None, (low, high)))
        try:
            return GateFinding(self.name, read, f"{read:g}; expected {expected}", self.mandatory, self.route)
        except OverflowError:  # Of a whole number that no float can hold.
            detail = f"it is beyond 1e308; expected {expected}"
            return GateFinding(self.name, None, detail, self.mandatory, self.route)


def _read(value: object) -> float | str:
    """The number that a tool has written, or what is wrong with it: the other metrics are to be judged.

    A number of NumPy, a Decimal or a Fraction becomes one of Python's, which a report and a flag can hold.
    """
    try:
        if isinstance(value, numbers.Integral):
            return int(value)
        # A text could be read as a number, and is none: one that was never parsed may be any column.
        if not isinstance(value, str | bytes | bytearray):
            return float(value)  # type: ignore[arg-type]
    # Of a value of any class, also of one whose own conversion is broken.
    except Exception:
        pass
    try:
        return f"{value!r:.200} ({type(value).__name__}) is no number"
    except Exception:
        return f"a value of {type(value).__name__} is no number"


@dataclass(frozen=True, slots=True)
class CrossCheck:
    """Stages held against each other: ``holds`` gets the metrics of all stages by name, this one included.

    One that answers no or raises, say for a stage that is not there, counts as a metric out of its bounds.

    Raises:
        UsageError: ``holds`` does not answer at once.
    """

    name: str
    holds: Callable[[Stages], bool]
    mandatory: bool = True
    route: str | None = None

    def __post_init__(self) -> None:
        synchronous("holds", self.holds, optional=False)


@dataclass(frozen=True, slots=True)
class GateFinding:
    """One thing that is not as it should be. ``value`` None: there is none."""

    name: str
    value: float | None
    detail: str
    mandatory: bool
    route: str | None = None

    def __str__(self) -> str:
        return f"{self.name}: {self.detail}"


@dataclass(frozen=True, slots=True)
class GateResult:
    """What a gate found. ``route`` says where to go on, if the gate says so; None: go on, or stop."""

    gate: str
    checked: int
    findings: tuple[GateFinding, ...] = ()
    mandatory: bool = True

    @property
    def failures(self) -> tuple[GateFinding, ...]:
        """What keeps it from passing: nothing, if the gate as a whole is advisory."""
        return tuple(one for one in self.findings if one.mandatory and self.mandatory)

    @property
    def passed(self) -> bool:
        """True if it may go on."""
        return not self.failures

    @property
    def route(self) -> str | None:
        """Where to go on: of the first failure that has one, else of the first finding that has one."""
        return next((one.route for one in (*self.failures, *self.findings) if one.route), None)

    def require(self) -> GateResult:
        """Itself, if it passed.

        Raises:
            ValidationError: it did not; the message has every failure.
        """
        if self.passed:
            return self
        told = "; ".join(map(str, self.failures))
        raise ValidationError(
            f"{self.gate}: not good enough: {told}. Skip this item, or make it again with other parameters.",
            stage=self.gate,
            context={"failures": [str(one) for one in self.failures], "route": self.route},
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it; infinities and NaN are given by name."""

        def plain(one: GateFinding) -> dict[str, Any]:
            finite = one.value is None or math.isfinite(one.value)
            value = one.value if finite else str(one.value)
            return {"name": one.name, "value": value, "detail": one.detail, "mandatory": one.mandatory}

        return {
            "gate": self.gate,
            "passed": self.passed,
            "checked": self.checked,
            "route": self.route,
            "findings": [plain(one) for one in self.findings],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class GateJudged(Event):
    """A gate has failed something, or has advice about it."""

    name: ClassVar[str] = "gate.judged"

    gate: str
    passed: bool
    route: str | None
    findings: tuple[str, ...]
