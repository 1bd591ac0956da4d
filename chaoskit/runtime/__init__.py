"""The resilience runtime. Uses ``chaoskit.core`` only; never loads the harness, pytest or Hypothesis.

A name is loaded when it is first used, so that a program pays for what it needs. Each name stands
twice below, for the type checkers and for the loader; a test holds the two together.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chaoskit.runtime.breaker import BreakerLink as BreakerLink
    from chaoskit.runtime.breaker import CircuitBreaker as CircuitBreaker
    from chaoskit.runtime.bulkhead import Bulkhead as Bulkhead
    from chaoskit.runtime.classifying import Classifier as Classifier
    from chaoskit.runtime.classifying import classify as classify
    from chaoskit.runtime.fallback import Candidate as Candidate
    from chaoskit.runtime.fallback import FallbackChain as FallbackChain
    from chaoskit.runtime.fallback import LastGood as LastGood
    from chaoskit.runtime.partial import PartialFailureCollector as PartialFailureCollector
    from chaoskit.runtime.pipeline import Pipeline as Pipeline
    from chaoskit.runtime.ratelimit import RateLimiter as RateLimiter
    from chaoskit.runtime.retrying import RetryPolicy as RetryPolicy
    from chaoskit.runtime.retrying import retry as retry
    from chaoskit.runtime.timeout import Deadline as Deadline
    from chaoskit.runtime.timeout import Timeout as Timeout

# name: module that defines it. No module or folder here may have the name of an export: importing a
# submodule sets it as an attribute of this package, and would replace the function that users asked for.
_HOMES = {
    "BreakerLink": "breaker",
    "Bulkhead": "bulkhead",
    "Candidate": "fallback",
    "CircuitBreaker": "breaker",
    "Classifier": "classifying",
    "Deadline": "timeout",
    "FallbackChain": "fallback",
    "LastGood": "fallback",
    "PartialFailureCollector": "partial",
    "Pipeline": "pipeline",
    "RateLimiter": "ratelimit",
    "RetryPolicy": "retrying",
    "Timeout": "timeout",
    "classify": "classifying",
    "retry": "retrying",
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
