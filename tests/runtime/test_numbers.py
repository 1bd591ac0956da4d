"""What counts as a number is the same for every limit of the runtime."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from chaoskit.runtime import (
    Candidate,
    EmailChannel,
    FallbackChain,
    Health,
    LastGood,
    MemoryPressure,
    Notifier,
    PartialFailureCollector,
    Preflight,
    QualityMetric,
    Quota,
    RecoveryManager,
    ResourceMonitor,
    ResourceThreshold,
    StageBudget,
    UsageError,
    WebhookChannel,
    disk_left,
    memory_left,
    queue_age,
    read_rows,
    read_text,
)
from chaoskit.runtime.numbers import is_number, is_whole, whole

NONE: list[Any] = ["5", b"5", None, math.nan, 10**400, True, 1j, [1], Decimal("NaN"), object()]
MAIL: dict[str, Any] = {"sender": "a@b.c", "recipients": ["d@e.f"]}


@pytest.mark.parametrize("value", [0, -1, 2.5, math.inf, Fraction(1, 3), np.float32(1), np.int64(3)])
def test_numbers_are_numbers(value: object) -> None:
    """Of whatever library, and infinity as well."""
    assert is_number(value)
    assert is_whole(value) == (value in (0, -1) or isinstance(value, np.int64))


@pytest.mark.parametrize("value", NONE, ids=lambda value: f"{type(value).__name__} {value!r:.3}")
def test_nothing_else_is(value: object) -> None:
    """Neither text nor NaN, nor what no float holds."""
    assert not is_number(value)
    assert is_whole(value) == (value == 10**400)


@pytest.mark.parametrize("value", [2, 10**400, np.int64(3)])
def test_a_whole_number_is_returned_as_it_is(value: object) -> None:
    """However large, and of whatever library."""
    assert whole("size", value, 2) is value
    assert whole("size", None, 2, none="no limit") is None


@pytest.mark.parametrize("value", [1, 2.0, True, "2", None, math.nan])
def test_anything_but_a_whole_number_is_refused_in_one_sentence(value: object) -> None:
    """It names what was given, what was expected, and the next step."""
    told = re.escape(
        f"size is {value!r} ({type(value).__name__}); expected a whole number of 2 or more. Why."
    )
    with pytest.raises(UsageError, match=f"^{told}$"):
        whole("size", value, 2, hint="Why.")
    with pytest.raises(UsageError, match="of 2 or more, or None for no limit"):
        whole("size", "2", 2, none="no limit")


async def _batch(concurrency: Any) -> None:
    async def work(item: int) -> int:
        return item

    await PartialFailureCollector[int, int]().arun(work, [], concurrency=concurrency)


LIMITS: list[Callable[[Any], object]] = [
    lambda value: QualityMetric("a", minimum=0 if value is None else value, maximum=value or math.nan),
    lambda value: LastGood(value),
    lambda value: LastGood(1, size=0 if value == 10**400 else value),
    lambda value: Candidate("a", print, valid_until=math.nan if value is None else value),
    lambda value: FallbackChain(minimum_quality=math.nan if value is None else value),
    lambda value: Quota(0 if value == 10**400 else value),
    lambda value: asyncio.run(_batch(0 if value == 10**400 else value)),
    lambda value: read_text(__file__, limit=-1 if value == 10**400 else value),
    lambda value: read_rows(__file__, max_field=0 if value == 10**400 else value),
    lambda value: Quota(1, max_wait=value),
    lambda value: Quota(1, priorities={"a": value}),
    lambda value: StageBudget(concurrent=math.nan if value in (None, 10**400) else value),
    lambda value: StageBudget(amount=math.nan if value is None else value),
    lambda value: Quota(1).hold("a", amount=value).__enter__(),
    lambda value: Quota(1).hold("a", priority=math.nan if value is None else value).__enter__(),
    lambda value: MemoryPressure(0 if value == 10**400 else value),
    lambda value: MemoryPressure(5, least=value),
    lambda value: MemoryPressure(5, shrink=value),
    lambda value: MemoryPressure(5, keep_free=-1 if value == 10**400 else value),
    lambda value: Preflight(memory=value),
    lambda value: Preflight(disk={".": value}),
    lambda value: Preflight(margin=value),
    lambda value: Preflight(tmpfs=(".", value)),
    lambda value: ResourceThreshold("disk", value),
    lambda value: ResourceThreshold("disk", 1, clear=math.nan if value is None else value),
    lambda value: ResourceMonitor([], every=value),
    lambda value: RecoveryManager({}, history=0 if value == 10**400 else value),
    lambda value: Health({}, timeout=value),
    lambda value: Health({}, keep=value),
    lambda value: Health({}).serve(value),
    lambda value: queue_age(lambda: None, warn=value, most=5),
    lambda value: disk_left(".", least=value),
    lambda value: memory_left(least=0, warn=value),
    lambda value: Notifier([], rate=0 if value == 10**400 else value),
    lambda value: Notifier([], per=value),
    lambda value: Notifier([], dedupe=value),
    lambda value: WebhookChannel("http://x/", timeout=value),
    lambda value: EmailChannel("h", timeout=value, **MAIL),
    lambda value: EmailChannel("h", port=0 if value is None else value, **MAIL),
]


@pytest.mark.parametrize("number", range(len(LIMITS)))
@pytest.mark.parametrize("value", NONE, ids=lambda value: f"{type(value).__name__} {value!r:.3}")
def test_a_limit_that_is_none_is_refused_when_it_is_given(number: int, value: object) -> None:
    """By an error that names it; a bare TypeError said nothing, and NaN was no limit at all."""
    with pytest.raises(UsageError, match="expected"):
        LIMITS[number](value)
