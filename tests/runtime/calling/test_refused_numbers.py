"""What is not a number is refused by name where a strategy is made, not with a TypeError at a later call."""

from __future__ import annotations

import datetime
import decimal
import fractions
from collections.abc import Callable
from typing import Any

import pytest

from chaoskit.runtime import (
    Bulkhead,
    BulkheadFull,
    CircuitBreaker,
    Deadline,
    Jitter,
    RateLimiter,
    RetryBudget,
    Timeout,
    UsageError,
    deadline,
    hedge,
    retry,
)

TAKERS: dict[str, Callable[[Any], object]] = {
    "retry_after_cap": lambda value: retry(on=OSError, retry_after_cap=value),
    "retry_after_spread": lambda value: retry(on=OSError, retry_after_spread=value),
    "deadline": lambda value: deadline(value).__enter__(),
    "seconds": Deadline,
    "seconds of a timeout": Timeout,
    "jitter": lambda value: Jitter(value, value),
    "max_wait": lambda value: Bulkhead(1, queue=1, max_wait=value),
    "max_wait of a limiter": lambda value: RateLimiter(1, max_wait=value),
    "calls": RateLimiter,
    "per": lambda value: RateLimiter(1, per=value),
    "burst": lambda value: RateLimiter(1, burst=value),
    "floor": lambda value: RetryBudget(floor=value),
    "floor (its cap)": lambda value: RetryBudget(cap=value),
    "ratio": lambda value: RetryBudget(ratio=value),
    "window": lambda value: RetryBudget(window=value),
    "after": lambda value: hedge(after=value),
    "open_for": lambda value: CircuitBreaker(open_for=value),
    "growth": lambda value: CircuitBreaker(growth=value),
}
NO_NUMBERS: list[Any] = [
    None,
    "5",
    b"5",
    True,
    float("nan"),
    decimal.Decimal(5),
    datetime.timedelta(5),
    [],
    1j,
    10**400,
]


@pytest.mark.parametrize("name", TAKERS)
@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda value: repr(value)[:20])
def test_what_is_no_number_is_refused(name: str, value: Any) -> None:
    """The error names the option."""
    with pytest.raises(UsageError, match=f"^{name.split()[0]} is "):
        TAKERS[name](value)


def test_a_fraction_is_a_number() -> None:
    """It limits a wait, and is shown, like any other."""
    tenth: Any = fractions.Fraction(1, 10**6)
    bulkhead = Bulkhead(1, queue=1, max_wait=tenth)
    with bulkhead, pytest.raises(BulkheadFull, match="became free within 1e-06 s"):
        bulkhead.call(len, "")
    assert "1e-06" in repr(RetryBudget(ratio=tenth))
