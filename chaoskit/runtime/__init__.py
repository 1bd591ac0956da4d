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
    from chaoskit.runtime.classifying import Decision as Decision
    from chaoskit.runtime.classifying import Rule as Rule
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
    from chaoskit.runtime.retrying import AdaptiveThrottle as AdaptiveThrottle
    from chaoskit.runtime.retrying import Constant as Constant
    from chaoskit.runtime.retrying import Decorrelated as Decorrelated
    from chaoskit.runtime.retrying import Exponential as Exponential
    from chaoskit.runtime.retrying import Jitter as Jitter
    from chaoskit.runtime.retrying import Linear as Linear
    from chaoskit.runtime.retrying import PolicyRegistry as PolicyRegistry
    from chaoskit.runtime.retrying import RetryBudget as RetryBudget
    from chaoskit.runtime.retrying import RetryContext as RetryContext
    from chaoskit.runtime.retrying import RetryPolicy as RetryPolicy
    from chaoskit.runtime.retrying import band as band
    from chaoskit.runtime.retrying import reference_policies as reference_policies
    from chaoskit.runtime.retrying import retry as retry
    from chaoskit.runtime.retrying.hedge import hedge as hedge
    from chaoskit.runtime.settings import RuntimeSettings as RuntimeSettings
    from chaoskit.runtime.supervise import Supervisor as Supervisor
    from chaoskit.runtime.timeout import Deadline as Deadline
    from chaoskit.runtime.timeout import Timeout as Timeout
    from chaoskit.runtime.tracing import Telemetry as Telemetry

# name: module that defines it. No module or folder here may have the name of an export: importing a
# submodule sets it as an attribute of this package, and would replace the function that users asked for.
_HOMES = {
    "AdaptiveThrottle": "retrying",
    "AlertRule": "metrics",
    "AnomalyDetector": "anomaly",
    "BreakerLink": "breaker",
    "Bulkhead": "bulkhead",
    "Candidate": "fallback",
    "CircuitBreaker": "breaker",
    "Classifier": "classifying",
    "Constant": "retrying",
    "Deadline": "timeout",
    "Decision": "classifying",
    "Decorrelated": "retrying",
    "ErrorDetails": "details",
    "ErrorMetrics": "metrics",
    "Event": "events",
    "Exponential": "retrying",
    "FallbackChain": "fallback",
    "HandoffQueue": "queues",
    "Jitter": "retrying",
    "JobBoard": "jobs",
    "JobRunner": "jobs",
    "LastGood": "fallback",
    "Linear": "retrying",
    "PartialFailureCollector": "partial",
    "Pipeline": "pipeline",
    "PolicyRegistry": "retrying",
    "RateLimiter": "ratelimit",
    "RetryBudget": "retrying",
    "RetryContext": "retrying",
    "RetryPolicy": "retrying",
    "Rule": "classifying",
    "RuntimeSettings": "settings",
    "Shutdown": "lifecycle",
    "Supervisor": "supervise",
    "Telemetry": "tracing",
    "Timeout": "timeout",
    "band": "retrying",
    "classify": "classifying",
    "hedge": "retrying.hedge",
    "log_to": "logs",
    "reference_policies": "retrying",
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
