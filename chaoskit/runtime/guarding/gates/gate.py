"""One gate: metrics within bounds, stages that agree, and where to go on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from chaoskit.core.errors import wrong
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

__all__ = ["QualityGate"]


class QualityGate:
    """Judges the metrics of one stage. A gate that is not ``mandatory`` only advises.

    What it finds is an event (``GateJudged``), unless there is nothing to find. Raises UsageError for a gate
    that asks for nothing, or for one name twice.
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
        if not all(isinstance(one, QualityMetric) for one in metrics):
            raise wrong(f"the metrics of the gate {name!r}", metrics, "QualityMetrics in a list")
        names = [*(one.name for one in metrics), *(one.name for one in across)]
        if not names or len(set(names)) != len(names):
            raise wrong(f"what the gate {name!r} asks for", names, "at least one metric or check, each once")
        self.name, self.metrics, self.across, self.mandatory = name, tuple(metrics), tuple(across), mandatory
        self._clock, self._listeners = clock or SystemClock(), synchronous_all("listener", listeners)

    def judge(self, metrics: Metrics, *, earlier: Stages | None = None) -> GateResult:
        """Judge ``metrics``; ``earlier`` are those of the stages before, for the checks across stages."""
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

        ``of`` gives the metrics of a value. 1.0 means that it passes; below that it is the share of what is
        right, and the chain goes to the next candidate, or to the last good value. ``FallbackChain`` keeps
        only what passed. The events tell what was wrong with each.
        """
        synchronous("of", of, optional=False)

        def quality(value: Any) -> float:
            result = self.judge(called("of", of, value))
            # Below 1 in any case: advice alone does not make it fail, and a failure must never round up.
            return 1.0 if result.passed else 1 - len(result.failures) / (result.checked + 1)

        return quality


def _crossed(check: CrossCheck, stages: Stages) -> GateFinding | None:
    try:
        if answered("holds", check.holds, stages):
            return None
        detail = "the stages do not agree"
    # A stage that is not there is no reason to let the rest pass unchecked.
    except Exception as error:
        detail = f"it cannot be checked: {type(error).__name__}: {error}"
    return GateFinding(check.name, None, detail, check.mandatory, check.route)
