"""What a gate checks, and what it found."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from chaoskit.core.errors import wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.calling.callables import synchronous
from chaoskit.runtime.config import option
from chaoskit.runtime.failures.base import ValidationError
from chaoskit.runtime.numbers import is_number
from chaoskit.runtime.observing.events import Event

__all__ = ["CrossCheck", "GateFinding", "GateJudged", "GateResult", "QualityMetric"]

Metrics = Mapping[str, float]
Stages = Mapping[str, Metrics]
"""The metrics of each stage, by the stage's name."""


@dataclass(frozen=True, slots=True)
class QualityMetric:
    """A number that has to lie between ``minimum`` and ``maximum``, inclusive.

    A mandatory metric that is out of bounds, missing or not a number fails the gate; an advisory one is only
    reported. ``route`` names where to continue after a failure, for instance with other parameters.

    Raises:
        UsageError: it has no bound, or its minimum exceeds its maximum.
    """

    name: str
    minimum: float | None = option(default=None)
    maximum: float | None = option(default=None)
    mandatory: bool = True
    route: str | None = None

    def __post_init__(self) -> None:
        _check_outcome(self)
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
        """The finding about this metric, or None if it is within its bounds."""
        value = metrics.get(self.name)
        if value is None:
            return GateFinding(self.name, None, "it is missing", self.mandatory, self.route)
        read = _read(value)
        if isinstance(read, str):
            return GateFinding(self.name, None, read, self.mandatory, self.route)
        # With >= and <=, NaN is out of bounds, since it compares false with everything.
        above = self.minimum is None or read >= self.minimum
        below = self.maximum is None or read <= self.maximum
        if above and below:
            return None
        low = "" if self.minimum is None else f"at least {self.minimum:g}"
        high = "" if self.maximum is None else f"at most {self.maximum:g}"
        expected = " and ".join(filter(None, (low, high)))
        try:
            return GateFinding(self.name, read, f"{read:g}; expected {expected}", self.mandatory, self.route)
        except OverflowError:  # A whole number too large for a float.
            detail = f"it is beyond 1e308; expected {expected}"
            return GateFinding(self.name, None, detail, self.mandatory, self.route)


def _read(value: object) -> float | str:
    """The value as a number, or a text that says what is wrong. Never raises, so all metrics are judged.

    A NumPy number, a Decimal or a Fraction becomes a Python number, which a report and a flag can hold.
    """
    try:
        if isinstance(value, numbers.Integral):
            return int(value)
        # Text is refused even if it is numeric: text that was never parsed may come from any column.
        if not isinstance(value, str | bytes | bytearray):
            return float(value)  # type: ignore[arg-type]
    # The value may be of any class, and its own conversion may be broken.
    except Exception:
        pass
    try:
        return f"{value!r:.200} ({type(value).__name__}) is not a number"
    except Exception:
        return f"a value of {type(value).__name__} is not a number"


def _check_outcome(asked: QualityMetric | CrossCheck) -> None:
    kinds.text("the name of a metric or check", asked.name)
    kinds.switch("mandatory", asked.mandatory)
    kinds.text("route", asked.route, optional=True)


@dataclass(frozen=True, slots=True)
class CrossCheck:
    """Compares stages: ``holds`` gets the metrics of all stages by name, including this one.

    A false result counts as a failed metric. So does an error, for example since a stage is missing.

    Raises:
        UsageError: ``holds`` is an async function or otherwise does not return at once.
    """

    name: str
    holds: Callable[[Stages], bool]
    mandatory: bool = True
    route: str | None = None

    def __post_init__(self) -> None:
        _check_outcome(self)
        synchronous("holds", self.holds, optional=False)


@dataclass(frozen=True, slots=True)
class GateFinding:
    """One check that did not hold. ``value`` is None if there is no number to show."""

    name: str
    value: float | None
    detail: str
    mandatory: bool
    route: str | None = None

    def __str__(self) -> str:
        return f"{self.name}: {self.detail}"


@dataclass(frozen=True, slots=True)
class GateResult:
    """What a gate found. ``route`` says where to continue; None if no route was given."""

    gate: str
    checked: int
    findings: tuple[GateFinding, ...] = ()
    mandatory: bool = True

    @property
    def failures(self) -> tuple[GateFinding, ...]:
        """The findings that keep the input from passing; none if the gate as a whole is advisory."""
        return tuple(one for one in self.findings if one.mandatory and self.mandatory)

    @property
    def passed(self) -> bool:
        """True if the work may continue."""
        return not self.failures

    @property
    def route(self) -> str | None:
        """Where to continue: the first route of a failure, else the first route of any finding."""
        return next((one.route for one in (*self.failures, *self.findings) if one.route), None)

    def require(self) -> GateResult:
        """Return the result itself if it passed.

        Raises:
            ValidationError: it did not pass; the message lists every failure.
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
        """The result as JSON types; infinities and NaN become their names."""

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
    """A gate failed its input, or found something that it only advises about."""

    name: ClassVar[str] = "gate.judged"

    gate: str
    passed: bool
    route: str | None
    findings: tuple[str, ...]
