"""The resilience runtime. Uses ``chaoskit.core`` only; never loads the harness, pytest or Hypothesis.

A name is loaded when it is first used, so that a program pays for what it needs. Each name stands
twice below, for the type checkers and for the loader; a test holds the two together.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chaoskit.runtime.anomaly import AnomalyDetector as AnomalyDetector
    from chaoskit.runtime.breaker import BreakerLink as BreakerLink
    from chaoskit.runtime.breaker import CircuitBreaker as CircuitBreaker
    from chaoskit.runtime.bulkhead import Bulkhead as Bulkhead
    from chaoskit.runtime.classifying import Classifier as Classifier
    from chaoskit.runtime.classifying import classify as classify
    from chaoskit.runtime.details import ErrorDetails as ErrorDetails
    from chaoskit.runtime.events import Event as Event
    from chaoskit.runtime.events import subscribe as subscribe
    from chaoskit.runtime.fallback import Candidate as Candidate
    from chaoskit.runtime.fallback import FallbackChain as FallbackChain
    from chaoskit.runtime.fallback import LastGood as LastGood
    from chaoskit.runtime.jobs import JobBoard as JobBoard
    from chaoskit.runtime.jobs import JobRunner as JobRunner
    from chaoskit.runtime.lifecycle import Shutdown as Shutdown
    from chaoskit.runtime.logs import log_to as log_to
    from chaoskit.runtime.metrics import AlertRule as AlertRule
    from chaoskit.runtime.metrics import ErrorMetrics as ErrorMetrics
    from chaoskit.runtime.partial import PartialFailureCollector as PartialFailureCollector
    from chaoskit.runtime.pipeline import Pipeline as Pipeline
    from chaoskit.runtime.queues import HandoffQueue as HandoffQueue
    from chaoskit.runtime.ratelimit import RateLimiter as RateLimiter
    from chaoskit.runtime.retrying import RetryPolicy as RetryPolicy
    from chaoskit.runtime.retrying import retry as retry
    from chaoskit.runtime.settings import RuntimeSettings as RuntimeSettings
    from chaoskit.runtime.supervise import Supervisor as Supervisor
    from chaoskit.runtime.timeout import Deadline as Deadline
    from chaoskit.runtime.timeout import Timeout as Timeout
    from chaoskit.runtime.tracing import Telemetry as Telemetry

# name: module that defines it. No module or folder here may have the name of an export: importing a
# submodule sets it as an attribute of this package, and would replace the function that users asked for.
_HOMES = {
    "AlertRule": "metrics",
    "AnomalyDetector": "anomaly",
    "BreakerLink": "breaker",
    "Bulkhead": "bulkhead",
    "Candidate": "fallback",
    "CircuitBreaker": "breaker",
    "Classifier": "classifying",
    "Deadline": "timeout",
    "ErrorDetails": "details",
    "ErrorMetrics": "metrics",
    "Event": "events",
    "FallbackChain": "fallback",
    "HandoffQueue": "queues",
    "JobBoard": "jobs",
    "JobRunner": "jobs",
    "LastGood": "fallback",
    "PartialFailureCollector": "partial",
    "Pipeline": "pipeline",
    "RateLimiter": "ratelimit",
    "RetryPolicy": "retrying",
    "RuntimeSettings": "settings",
    "Shutdown": "lifecycle",
    "Supervisor": "supervise",
    "Telemetry": "tracing",
    "Timeout": "timeout",
    "classify": "classifying",
    "log_to": "logs",
    "retry": "retrying",
    "subscribe": "events",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> object:
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
