"""A quality gate: checks that metrics are within bounds and stages agree, and names the route otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from chaoskit.core.errors import wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.calling.callables import answered, called, synchronous, synchronous_all
from chaoskit.runtime.clock import Clock, SystemClock
from chaoskit.runtime.guarding.gates.records import (
    CrossCheck,
    GateFinding,
    GateJudged,
    GateResult,
    Metrics,
    QualityMetric,
    Stages,
)
from chaoskit.runtime.observing.observers import Listener, emit, wanted
from chaoskit.runtime.retrying.history import shown

__all__ = ["QualityGate"]

T = TypeVar("T")


class QualityGate:
    """Judges the metrics of one stage. A gate that is not ``mandatory`` only advises.

    A judgement with findings is reported as an event (``GateJudged``). Raises UsageError for a gate that
    checks nothing, or in which two checks have the same name.
    """

    def __init__(
        self,
        name: str,
        metrics: Sequence[QualityMetric],
        *,
        across: Sequence[CrossCheck] = (),
        mandatory: bool = True,
        clock: Clock | None = None,
        listeners: Sequence[Listener] = (),
    ) -> None:
        self.metrics = _all_of(QualityMetric, f"the metrics of the gate {name!r}", metrics)
        self.across = _all_of(CrossCheck, f"the checks across stages of the gate {name!r}", across)
        names = [*(one.name for one in self.metrics), *(one.name for one in self.across)]
        if not names or len(set(names)) != len(names):
            raise wrong(f"what the gate {name!r} asks for", names, "at least one metric or check, each once")
        self.name, self.mandatory = kinds.text("name", name), kinds.switch("mandatory", mandatory)
        self._clock = kinds.clock(clock, optional=True) or SystemClock()
        self._listeners = synchronous_all("listener", listeners)

    def judge(self, metrics: Metrics, *, earlier: Stages | None = None) -> GateResult:
        """Judge ``metrics``; the checks across stages also get those of the ``earlier`` stages.

        A value that is not a number becomes a finding. Raises UsageError for anything but mappings.
        """
        if not isinstance(metrics, Mapping):
            raise wrong(f"the metrics of {self.name!r}", metrics, "a mapping of names to numbers")
        if not isinstance(earlier, Mapping | None):
            raise wrong("earlier", earlier, "a mapping of stages to their metrics, or None")
        found = [one for metric in self.metrics if (one := metric.judge(metrics)) is not None]
        stages = {**(earlier or {}), self.name: metrics}
        found += [one for check in self.across if (one := _crossed(check, stages)) is not None]
        result = GateResult(self.name, len(self.metrics) + len(self.across), tuple(found), self.mandatory)
        if found and wanted(self._listeners):
            event = GateJudged(
                at=self._clock.monotonic(),
                gate=self.name,
                passed=result.passed,
                route=result.route,
                findings=tuple(map(str, found)),
            )
            emit(self._listeners, event)
        return result

    def quality(self, of: Callable[[Any], Metrics]) -> Callable[[Any], float]:
        """A ``quality`` for the candidates of a fallback chain with ``minimum_quality=1.0``.

        ``of`` returns the metrics of a value. A quality of 1.0 means that the value passes. A lower one
        reflects the share of checks that hold, and the chain continues with the next candidate, or with the
        last good value. ``FallbackChain`` keeps only values that passed. The events say what was wrong with
        each value.
        """
        synchronous("of", of, optional=False)

        def quality(value: Any) -> float:
            result = self.judge(called("of", of, value))
            # A value that fails stays below 1, and with + 1 above 0, even if every check fails. Findings that
            # only advise do not count.
            return 1.0 if result.passed else 1 - len(result.failures) / (result.checked + 1)

        return quality


def _all_of(kind: type[T], what: str, given: Iterable[T]) -> tuple[T, ...]:
    found = tuple(given) if isinstance(given, Iterable) else (given,)
    # A string can be iterated over, and a lone metric cannot: both get the same message.
    if given is None or not isinstance(given, Iterable) or not all(isinstance(one, kind) for one in found):
        raise wrong(what, given, f"{kind.__name__}s in a list")
    return found


def _crossed(check: CrossCheck, stages: Stages) -> GateFinding | None:
    try:
        if answered("holds", check.holds, stages):
            return None
        detail = "the stages do not agree"
    # A check may raise, for example since a stage is missing. The result must not pass unchecked then.
    except Exception as error:
        detail = f"it cannot be checked: {type(error).__name__}: {shown(error)}"
    return GateFinding(check.name, None, detail, check.mandatory, check.route)
