"""Retry: one policy for functions, coroutine functions, generators and loops."""

from __future__ import annotations

from chaoskit.runtime.retrying.backoff import Constant, Decorrelated, Exponential, Jitter, Linear, band
from chaoskit.runtime.retrying.budget import RetryBudget
from chaoskit.runtime.retrying.history import RetryContext
from chaoskit.runtime.retrying.policy import RetryPolicy, retry
from chaoskit.runtime.retrying.throttle import AdaptiveThrottle

__all__ = [
    "AdaptiveThrottle",
    "Constant",
    "Decorrelated",
    "Exponential",
    "Jitter",
    "Linear",
    "RetryBudget",
    "RetryContext",
    "RetryPolicy",
    "band",
    "retry",
]
