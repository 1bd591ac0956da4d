"""Retry: one policy for functions, coroutine functions, generators and loops."""

from __future__ import annotations

from chaoskit.runtime.retrying.backoff import (
    EQUAL,
    FULL,
    NONE,
    Backoff,
    Constant,
    Decorrelated,
    Exponential,
    Jitter,
    Linear,
    band,
)
from chaoskit.runtime.retrying.budget import RetryBudget
from chaoskit.runtime.retrying.events import (
    BudgetExhausted,
    HookFailed,
    RetriesExhausted,
    RetryScheduled,
    RetrySucceeded,
)
from chaoskit.runtime.retrying.history import RetryContext
from chaoskit.runtime.retrying.policy import RetryPolicy, retry
from chaoskit.runtime.retrying.registry import PolicyRegistry, reference_policies
from chaoskit.runtime.retrying.throttle import AdaptiveThrottle

__all__ = [
    "EQUAL",
    "FULL",
    "NONE",
    "AdaptiveThrottle",
    "Backoff",
    "BudgetExhausted",
    "Constant",
    "Decorrelated",
    "Exponential",
    "HookFailed",
    "Jitter",
    "Linear",
    "PolicyRegistry",
    "RetriesExhausted",
    "RetryBudget",
    "RetryContext",
    "RetryPolicy",
    "RetryScheduled",
    "RetrySucceeded",
    "band",
    "reference_policies",
    "retry",
]
