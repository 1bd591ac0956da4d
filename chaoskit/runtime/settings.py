"""The runtime's configuration as a single record: all strategies' options, from files and the environment."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from chaoskit.core.errors import wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.breaker.breaker import CircuitBreaker
from chaoskit.runtime.breaker.options import BreakerOptions
from chaoskit.runtime.calling.candidates import Candidate
from chaoskit.runtime.calling.pipeline import Pipeline
from chaoskit.runtime.clock import Clock, SystemClock
from chaoskit.runtime.config import (
    Live,
    Loaded,
    from_environment,
    from_file,
    from_mapping,
    from_pyproject,
    load,
)
from chaoskit.runtime.config.made import check
from chaoskit.runtime.observing.anomaly import AnomalyOptions
from chaoskit.runtime.observing.details import DetailOptions
from chaoskit.runtime.observing.metrics import MetricsOptions
from chaoskit.runtime.observing.observers import Listener
from chaoskit.runtime.operations import (
    CelerySettings,
    DeadLetterSettings,
    GateSettings,
    HealthSettings,
    ManagerSettings,
    MemorySettings,
    MonitorSettings,
    NotificationSettings,
    PreflightSettings,
    QuotaSettings,
)
from chaoskit.runtime.retrying.budget import RetryBudget
from chaoskit.runtime.retrying.policy import RetryPolicy
from chaoskit.runtime.retrying.throttle import AdaptiveThrottle
from chaoskit.runtime.running.jobs import JobOptions
from chaoskit.runtime.running.queues import QueueOptions
from chaoskit.runtime.running.restarts import SupervisionOptions
from chaoskit.runtime.running.shutdown_records import ShutdownOptions
from chaoskit.runtime.strategy_settings import (
    BudgetSettings,
    BulkheadSettings,
    DeadlineSettings,
    FallbackSettings,
    RateSettings,
    RecoverySettings,
    RetrySettings,
    ThrottleSettings,
    TimeoutSettings,
)

__all__ = ["ConfiguredStrategies", "LogSettings", "RuntimeSettings", "live_settings", "read_settings"]


@dataclass(frozen=True, slots=True)
class LogSettings:
    """How the program logs; see :func:`chaoskit.runtime.observing.logs.log_to`."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"
    json_lines: bool = True

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, slots=True)
class RuntimeSettings:
    """All settings. In a group of named entries, all others inherit from the entry ``default``."""

    retry: dict[str, RetrySettings] = field(default_factory=dict)
    breakers: dict[str, BreakerOptions] = field(default_factory=dict)
    rate_limiters: dict[str, RateSettings] = field(default_factory=dict)
    bulkheads: dict[str, BulkheadSettings] = field(default_factory=dict)
    timeouts: dict[str, TimeoutSettings] = field(default_factory=dict)
    deadlines: dict[str, DeadlineSettings] = field(default_factory=dict)
    fallbacks: dict[str, FallbackSettings] = field(default_factory=dict)
    recoveries: dict[str, RecoverySettings] = field(default_factory=dict)
    budgets: dict[str, BudgetSettings] = field(default_factory=dict)
    throttles: dict[str, ThrottleSettings] = field(default_factory=dict)
    queues: dict[str, QueueOptions] = field(default_factory=dict)
    jobs: JobOptions = field(default_factory=JobOptions)
    metrics: MetricsOptions = field(default_factory=MetricsOptions)
    anomaly: AnomalyOptions = field(default_factory=AnomalyOptions)
    shutdown: ShutdownOptions = field(default_factory=ShutdownOptions)
    supervision: SupervisionOptions = field(default_factory=SupervisionOptions)
    logging: LogSettings = field(default_factory=LogSettings)
    preflight: dict[str, PreflightSettings] = field(default_factory=dict)
    resources: MonitorSettings = field(default_factory=MonitorSettings)
    quota: QuotaSettings | None = None
    gates: dict[str, GateSettings] = field(default_factory=dict)
    health: HealthSettings = field(default_factory=HealthSettings)
    dead_letters: DeadLetterSettings = field(default_factory=DeadLetterSettings)
    notifications: NotificationSettings = field(default_factory=NotificationSettings)
    error_details: DetailOptions | None = None
    memory: dict[str, MemorySettings] = field(default_factory=dict)
    recovery: ManagerSettings = field(default_factory=ManagerSettings)
    celery: CelerySettings = field(default_factory=CelerySettings)

    def __post_init__(self) -> None:
        check(self)
        for name, one in self.retry.items():
            for what, group in (("shared_budget", self.budgets), ("throttle", self.throttles)):
                if (said := getattr(one, what)) is not None and said not in group:
                    known = ", ".join(sorted(group)) or "none is configured"
                    raise wrong(f"retry.{name}.{what}", said, f"the name of one that is configured: {known}")

    def strategies(
        self,
        *,
        listeners: Sequence[Listener] = (),
        clock: Clock = SystemClock(),  # noqa: B008 - has no state
        wake: threading.Event | None = None,
    ) -> ConfiguredStrategies:
        """Return the maker of strategies by name; keep it, because its strategies share their budgets."""
        return ConfiguredStrategies(self, tuple(listeners), clock, wake)

    def policies(self, **code: Any) -> dict[str, RetryPolicy]:
        """All retry policies by name; ``code`` is passed to each (``wake``, ``listeners``, ``clock``).

        The policies that one call returns share their budgets. To share these with pipelines, use
        :meth:`strategies`.
        """
        shared = self.strategies()
        return {name: shared.policy(name, **code) for name in self.retry}

    def pipeline(
        self,
        name: str,
        *candidates: Candidate[Any],
        listeners: Sequence[Listener] = (),
        clock: Clock = SystemClock(),  # noqa: B008 - has no state
        wake: threading.Event | None = None,
    ) -> Pipeline:
        """The pipeline with that name; see :meth:`ConfiguredStrategies.pipeline`.

        Raises:
            UsageError: no group has the name.
        """
        return self.strategies(listeners=listeners, clock=clock, wake=wake).pipeline(name, *candidates)


class ConfiguredStrategies:
    """The strategies of one configuration; budgets and throttles are made once and shared by all users."""

    def __init__(
        self,
        settings: RuntimeSettings,
        listeners: tuple[Listener, ...],
        clock: Clock,
        wake: threading.Event | None,
    ) -> None:
        self._settings = settings
        self._common: dict[str, Any] = {"listeners": listeners, "clock": clock}
        self._waiting: dict[str, Any] = {**self._common, "wake": wake}
        self._budgets: dict[str, RetryBudget] = {
            name: one.budget(clock=clock) for name, one in settings.budgets.items()
        }
        self._throttles: dict[str, AdaptiveThrottle] = {
            name: one.throttle() for name, one in settings.throttles.items()
        }

    def policy(self, name: str, **code: Any) -> RetryPolicy:
        """The retry policy with that name; ``code`` replaces options of its settings.

        Raises:
            UsageError: there is no such policy.
        """
        if (said := self._settings.retry.get(name)) is None:
            known = ", ".join(sorted(self._settings.retry)) or "none is configured"
            raise wrong("policy", name, f"one of: {known}")
        shared: dict[str, Any] = {}
        if said.shared_budget is not None:
            shared["budget"] = self._budgets[said.shared_budget]
        if said.throttle is not None:
            shared["throttle"] = self._throttles[said.throttle]
        return said.policy(name, **{**self._waiting, **shared, **code})

    def pipeline(self, name: str, *candidates: Candidate[Any]) -> Pipeline:
        """Make a pipeline of the strategies that the groups have under ``name``, each of them new.

        ``candidates`` are those of its fallback. Make a pipeline once and keep it: its breaker counts only
        the calls that go through this pipeline.

        Raises:
            UsageError: no group has the name, or there are candidates but no fallback with the name.
        """
        has = self._settings
        groups: dict[str, Mapping[str, Any]] = {
            "retry": has.retry,
            "breaker": has.breakers,
            "rate_limiter": has.rate_limiters,
            "bulkhead": has.bulkheads,
            "timeout": has.timeouts,
            "deadline": has.deadlines,
            "fallback": has.fallbacks,
        }
        said = {place: group[name] for place, group in groups.items() if name in group}
        if not said:
            known = (
                ", ".join(sorted({one for group in groups.values() for one in group})) or "none is configured"
            )
            raise wrong("pipeline", name, f"a name that a group of strategies has: {known}")
        if candidates and "fallback" not in said:
            raise wrong("fallback", name, "a name in the group fallbacks, since candidates are given")
        return Pipeline(**{place: self._made(place, name, one, candidates) for place, one in said.items()})

    def _made(self, place: str, name: str, said: Any, candidates: tuple[Candidate[Any], ...]) -> Any:
        if place == "retry":
            return self.policy(name)
        if place == "breaker":
            return CircuitBreaker(said, name=name, **self._common)
        if place == "fallback":
            return said.chain(*candidates, name=name, **self._common)
        if place == "timeout":
            return said.timeout(**self._common)
        if place == "deadline":
            return said.deadline(clock=self._common["clock"])
        return (said.limiter if place == "rate_limiter" else said.bulkhead)(name, **self._waiting)


def read_settings(
    file: str | os.PathLike[str] | None = None,
    *,
    code: Mapping[str, Any] | None = None,
    prefix: str = "CHAOSKIT_",
    environment: Mapping[str, str] | None = None,
    pyproject: str | os.PathLike[str] = "pyproject.toml",
) -> Loaded[RuntimeSettings]:
    """Read the settings from all usual places; later ones override earlier ones.

    The places are, in this order, ``[tool.chaoskit.runtime]`` of ``pyproject.toml``, ``file``, the
    environment (only variables that begin with ``prefix``), and ``code``.

    A variable without a double underscore that names no option here is ignored, since other programs use such
    prefixes too. Raises ``ConfigurationProblems`` with all problems.
    """
    kinds.path("file", file, optional=True)
    kinds.path("pyproject", pyproject)
    kinds.text("prefix", prefix)
    for what, given in (("code", code), ("environment", environment)):
        kinds.mapping(what, {} if given is None else given, "a dict, or None")
    layers = [from_pyproject(pyproject, table="tool.chaoskit.runtime")]
    if file is not None:
        layers.append(from_file(Path(file)))
    layers += [
        # After the files: a variable that is set for a single run is meant to win.
        from_environment(prefix, environment, ignore=_others(prefix, environment)),
        from_mapping(code or {}),
    ]
    return load(RuntimeSettings, *layers)


def _others(prefix: str, environment: Mapping[str, str] | None) -> list[str]:
    """The variables under ``prefix`` that set none of our options, which all have ``__`` in their names."""
    groups = {one.name for one in fields(RuntimeSettings)}
    # Variables with a double underscore are not ignored: a misspelt option has to be an error.
    names = list(os.environ if environment is None else environment)
    rests = {name: name[len(prefix) :].lower() for name in names if name.upper().startswith(prefix.upper())}
    return [name for name, rest in rests.items() if "__" not in rest and rest not in groups]


def live_settings(file: str | os.PathLike[str] | None = None, **sources: Any) -> Live[RuntimeSettings]:
    """The settings of :func:`read_settings`, which ``reload()`` reads again."""
    kinds.path("file", file, optional=True)
    return Live(lambda: read_settings(file, **sources))
