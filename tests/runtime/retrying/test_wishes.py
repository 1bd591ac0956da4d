"""What users ask for: exceptions to the rule, limits by kind, a switch for tests, a handle, other headers."""

from __future__ import annotations

import asyncio
import random
import threading

import pytest

from chaoskit.core.errors import UsageError
from chaoskit.runtime import (
    TRANSIENT_ERRORS,
    Category,
    Constant,
    RateLimited,
    RetryBudget,
    RetryPolicy,
    Unreachable,
    VirtualClock,
    classify,
    deadline,
    policy_of,
    remaining,
    retries_off,
    retries_without_waits,
    retry,
)


class Calls:
    """A function that fails with what it is given, the last again and again, and counts its calls."""

    __qualname__ = "calls"

    def __init__(self, *errors: BaseException) -> None:
        self.errors, self.count = list(errors), 0

    def __call__(self) -> str:
        self.count += 1
        error = self.errors.pop(0) if len(self.errors) > 1 else self.errors[0]
        raise error


class Limited(Exception):
    def __init__(self, status: int = 429, **headers: str) -> None:
        super().__init__(str(status))
        self.status_code = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def tried(policy: RetryPolicy, *errors: BaseException) -> int:
    calls = Calls(*errors)
    with pytest.raises(type(errors[-1])):
        policy.call(calls)
    return calls.count


def test_but_not_names_exceptions_to_the_rule():
    """What ``but_not`` names is not retried, although ``on`` names it: by class, category or function."""
    policy = retry(on=OSError, wait=Constant(0))
    assert tried(retry(policy, but_not=FileNotFoundError), FileNotFoundError()) == 1
    assert tried(retry(policy, but_not=FileNotFoundError), PermissionError()) == 3
    assert tried(retry(policy, but_not=Category.PERMANENT), PermissionError()) == 1
    assert tried(retry(policy, but_not=Category.PERMANENT), ConnectionError()) == 3
    assert tried(retry(policy, but_not=lambda error: "no" in str(error)), OSError("no")) == 1
    with pytest.raises(UsageError, match="but_not is 'x'"):
        retry(on=OSError, but_not="x")


def test_short_form_of_what_passes():
    """``TRANSIENT_ERRORS`` retries what passes by itself or when something is freed, and nothing else."""
    policy = retry(on=TRANSIENT_ERRORS, wait=Constant(0))
    assert tried(policy, ConnectionError()) == 3
    assert tried(policy, MemoryError()) == 3
    assert tried(policy, ValueError()) == 1


def test_attempts_by_kind():
    """A kind of failure has its own limit: the nearest class counts, then the category, then ``attempts``."""
    policy = retry(
        on=(*TRANSIENT_ERRORS, ValueError),
        wait=Constant(0),
        attempts=4,
        attempts_by={Unreachable: 2, Category.TRANSIENT: 6},
    )
    assert tried(policy, ConnectionRefusedError()) == 2
    assert tried(policy, ConnectionResetError()) == 6
    assert tried(policy, MemoryError()) == 4
    assert tried(policy, ValueError()) == 4
    with pytest.raises(UsageError, match=r"attempts_by\[transient\] is 0"):
        retry(on=OSError, attempts_by={Category.TRANSIENT: 0})


def test_a_longer_wait_than_the_cap_is_a_choice():
    """Above the cap a policy waits as long as the cap, or gives up without waiting at all."""
    clock = VirtualClock()
    begun = clock.monotonic()
    policy = retry(on=Limited, clock=clock, wait=Constant(0), retry_after_cap=60)
    assert tried(policy, Limited(Retry_After="3600")) == 3
    assert clock.monotonic() - begun == 120
    begun = clock.monotonic()
    assert tried(retry(policy, retry_after_above_cap="give-up"), Limited(Retry_After="3600")) == 1
    assert clock.monotonic() == begun
    assert tried(retry(policy, retry_after_above_cap="give-up"), Limited(Retry_After="60")) == 3
    with pytest.raises(UsageError, match="retry_after_above_cap is 'x'"):
        retry(on=Limited, retry_after_above_cap="x")


def test_waits_that_were_asked_for_can_be_spread():
    """Clients that were sent away together come back one by one, and none of them too early."""
    waits = set()
    for seed in range(20):
        clock = VirtualClock()
        begun = clock.monotonic()
        policy = retry(
            on=Limited,
            attempts=2,
            clock=clock,
            wait=Constant(0),
            retry_after_spread=0.1,
            random=random.Random(seed),
        )
        tried(policy, Limited(Retry_After="10"))
        waits.add(clock.monotonic() - begun)
    assert len(waits) > 10
    assert all(10 <= wait <= 11 for wait in waits)


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (Limited(Retry_After_Ms="1500"), 1.5),
        (Limited(Retry_After="7", Retry_After_Ms="1500"), 1.5),
        (Limited(Retry_After="7"), 7.0),
        (Limited(X_RateLimit_Reset_After="2.5"), 2.5),
        (Limited(RateLimit_Reset="30"), 30.0),
        (Limited(x_ratelimit_reset_requests="1s", x_ratelimit_reset_tokens="6m0s"), 360.0),
        (Limited(x_ratelimit_reset_tokens="120ms"), 0.12),
        (Limited(Retry_After="3", RateLimit_Reset="30"), 3.0),
        (Limited(500, RateLimit_Reset="30"), None),
        (Limited(RateLimit_Reset="soon"), None),
        (Limited(Retry_After_Ms="soon"), None),
        (Limited(), None),
    ],
)
def test_other_headers_say_when(error, seconds):
    """Milliseconds and the headers for rate limits are read where ``Retry-After`` is not there."""
    assert classify(error).retry_after == seconds


def test_a_moment_is_told_from_a_number_of_seconds():
    """GitHub's header is a moment since the epoch."""
    wait = classify(Limited(403, X_RateLimit_Remaining="0", X_RateLimit_Reset="9999999999")).retry_after
    assert wait is not None
    assert 1e9 < wait < 9999999999
    assert classify(Limited(403, X_RateLimit_Remaining="0")).verdict is RateLimited


def test_retries_can_be_switched_off():
    """In the block every policy makes one attempt, in functions, coroutines, loops and other threads."""
    policy = retry(on=ValueError, wait=Constant(0))
    counts: list[int] = []

    async def failing() -> None:
        counts.append(1)
        raise ValueError

    with retries_off():
        assert tried(policy, ValueError()) == 1
        with pytest.raises(ValueError):
            asyncio.run(policy.acall(failing))
        assert counts == [1]
        counts.clear()
        with pytest.raises(ValueError):
            looping(policy, counts)
        assert counts == [1]
        seen: list[int] = []
        thread = threading.Thread(target=lambda: seen.append(tried(policy, ValueError())))
        thread.start()
        thread.join()
        assert seen == [1]
    assert tried(policy, ValueError()) == 3


def looping(policy: RetryPolicy, counts: list[int]) -> None:
    for attempt in policy:
        with attempt:
            counts.append(1)
            raise ValueError


def test_retries_without_waits_take_no_time():
    """In the block nothing waits, whatever the backoff or the other side says; blocks may be nested."""
    clock = VirtualClock()
    begun = clock.monotonic()
    policy = retry(on=Limited, attempts=5, clock=clock, wait=Constant(60))
    with retries_without_waits():
        assert tried(policy, Limited(Retry_After="30")) == 5
        with retries_without_waits(2):
            assert tried(policy, Limited()) == 2
        assert tried(policy, Limited()) == 5
    assert clock.monotonic() == begun
    assert tried(retry(policy, attempts=2), Limited()) == 2
    assert clock.monotonic() - begun == 60
    with pytest.raises(UsageError, match="attempts is 0"), retries_without_waits(0):
        pass


def test_the_switch_goes_back_when_the_block_fails():
    """An error in the block leaves it like any other end does."""
    with pytest.raises(KeyError), retries_off():
        raise KeyError
    assert tried(retry(on=ValueError, wait=Constant(0)), ValueError()) == 3


def test_a_function_knows_its_policy():
    """The policy of a decorated function, coroutine function or method can be had, and changed for a copy."""
    policy = retry(on=ValueError, wait=Constant(0))

    class Client:
        @policy
        def get(self) -> None: ...

        @staticmethod
        @policy
        def put() -> None: ...

        @policy
        @classmethod
        def make(cls) -> None: ...

    @policy
    async def ask() -> None: ...

    calls = Calls(ValueError())

    @policy
    def fetch() -> None:
        calls()

    for one in (Client.get, Client().get, Client.put, Client.make, ask, fetch):
        assert policy_of(one) is policy
    assert policy_of(print) is None
    longer = retry(policy_of(fetch), attempts=7)(fetch.__wrapped__)  # type: ignore[attr-defined]
    with pytest.raises(ValueError):
        longer()
    assert calls.count == 7


def test_remaining_has_a_default():
    """The timeout for a socket: what is left, and never more than would be usual."""
    assert remaining(5) == 5
    clock = VirtualClock()
    with deadline(60, clock=clock):
        assert remaining(5) == 5
        clock.advance(58)
        assert remaining(5) == pytest.approx(2)
        assert remaining() == pytest.approx(2)


@pytest.mark.parametrize(("own", "switched", "calls"), [(None, 2, 2), (5, 2, 2), (2, 5, 2)])
def test_the_switch_and_the_policy_each_limit_the_attempts(own, switched, calls):
    """The smaller of the two holds; a policy without a limit has the switch's."""
    made = []

    def fails():
        made.append(1)
        raise ConnectionError

    with retries_without_waits(switched), pytest.raises(ConnectionError):
        retry(on=ConnectionError, attempts=own)(fails)()
    assert len(made) == calls


def test_a_nested_deadline_of_a_task_is_over_after_its_call():
    """The outer one is in force again, whether the call ended well or not, at the first attempt or later."""
    clock = VirtualClock()
    policy = retry(on=OSError, deadline=5, wait=Constant(0.0), clock=clock, attempts=2)

    async def main() -> None:
        with deadline(50, clock=clock):
            for errors in ([], [OSError()], [OSError(), OSError()], [ValueError()]):

                async def work(errors: list[Exception] = errors) -> float | None:
                    left = remaining()
                    if errors:
                        raise errors.pop()
                    return left

                try:
                    assert await policy.acall(work) == 5
                except (OSError, ValueError):
                    pass
                assert remaining() == 50
        assert remaining() is None

    asyncio.run(main())


def test_a_cancelled_pause_gives_back_what_it_took_of_the_budget():
    """The retry that was decided never began, so that the next caller may have it."""
    budget = RetryBudget(floor=1, ratio=0.0, window=10)

    async def fails() -> None:
        raise OSError

    async def main() -> None:
        policy = retry(on=OSError, wait=Constant(1e5), budget=budget)
        task = asyncio.ensure_future(policy.acall(fails))
        while budget.balance():
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    asyncio.run(main())
    assert budget.balance() == 1
