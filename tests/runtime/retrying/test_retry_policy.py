"""The data of a retry: backoffs, jitter, conditions, options, budget, throttle, registry."""

from __future__ import annotations

import asyncio
import math
import pickle
import random
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoskit.core.errors import UsageError
from chaoskit.runtime import (
    AdaptiveThrottle,
    Classifier,
    Constant,
    Decorrelated,
    Exponential,
    Linear,
    PolicyRegistry,
    RetryBudget,
    RetryPolicy,
    band,
    reference_policies,
    retry,
)
from chaoskit.runtime.clock import VirtualClock
from chaoskit.runtime.failures import taxonomy as t
from chaoskit.runtime.failures.taxonomy import Category
from chaoskit.runtime.retrying.backoff import EQUAL, FULL, LONGEST_WAIT, NONE, SYSTEM, Jitter, draw
from chaoskit.runtime.retrying.rules import Matcher


class Fixed:
    """A source of chance that always says the same."""

    def __init__(self, value: float) -> None:
        self.value = value

    def random(self) -> float:
        return self.value


# -- backoffs


def middle(backoff: Any, count: int) -> list[float]:
    return [backoff.band(n, 0.0)[1] for n in range(1, count + 1)]


def test_the_three_ways_to_grow():
    """Constant stays, linear adds, exponential multiplies; the cap ends the latter two."""
    assert middle(Constant(3.0), 3) == [3.0, 3.0, 3.0]
    assert middle(Linear(1.0, 2.0, cap=6.0), 5) == [1.0, 3.0, 5.0, 6.0, 6.0]
    assert middle(Exponential(5.0, cap=50.0, jitter=NONE), 5) == [5.0, 10.0, 20.0, 40.0, 50.0]
    assert middle(Exponential(1.0, cap=50.0, factor=3.0, jitter=NONE), 4) == [1.0, 3.0, 9.0, 27.0]


def test_jitter_is_a_pair_of_factors():
    """Full, equal and band jitter give the bands of their names."""
    assert Exponential(8.0, cap=100.0, jitter=FULL).band(1, 0) == (0.0, 8.0)
    assert Exponential(8.0, cap=100.0, jitter=EQUAL).band(1, 0) == (4.0, 8.0)
    assert Exponential(8.0, cap=100.0).jitter == EQUAL
    assert Constant(10.0, jitter=band(0.2)).band(1, 0) == pytest.approx((8.0, 12.0))
    assert Constant(10.0, jitter=band(0.2)).cap == pytest.approx(12.0)
    assert Linear(10.0, 0.0, cap=11.0, jitter=band(0.2)).band(1, 0) == pytest.approx((8.0, 11.0))


def test_decorrelated_grows_from_the_wait_before():
    """Between the initial wait and three times the last one, up to the cap."""
    backoff = Decorrelated(1.0, cap=20.0)
    assert backoff.band(1, 0.0) == (1.0, 3.0)
    assert backoff.band(2, 2.5) == (1.0, 7.5)
    assert backoff.band(9, 15.0) == (1.0, 20.0)


@given(
    st.floats(0, LONGEST_WAIT),
    st.floats(1, 1e300),
    st.one_of(st.integers(1, 10_000), st.integers(1, 10**400)),
    st.floats(0, 1),
)
def test_no_number_of_failures_overflows(cap, factor, failures, share):
    """Every band is finite, ordered, and within the cap."""
    initial = cap * share
    backoffs = [Exponential(initial, cap=cap, factor=factor, jitter=FULL), Linear(initial, 1.0, cap=cap)]
    for backoff in backoffs:
        low, high = backoff.band(failures, 0.0)
        assert 0 <= low <= high <= cap


def test_growing_from_nothing_stays_nothing():
    """Zero times anything is zero, also where the power overflows."""
    assert Exponential(0.0, cap=9.0).band(5000, 0) == (0.0, 0.0)
    assert Linear(0.0, 0.0, cap=9.0).band(10**400, 0) == (0.0, 0.0)
    assert Linear(0.0, 1.0, cap=9.0).band(10**400, 0) == (9.0, 9.0)


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 1, exclude_max=True))
def test_a_draw_lies_in_its_band(one, other, chance):
    """The ends included, rounding or not."""
    low, high = sorted((one, other))
    assert low <= draw((low, high), Fixed(chance)) <= high


def test_a_draw_uses_all_of_its_band():
    """Chance 0 is the low end, and a half is the middle."""
    assert [draw((2.0, 4.0), Fixed(c)) for c in (0.0, 0.5)] == [2.0, 3.0]


def test_the_systems_chance_is_fair_enough():
    """Numbers from 0 to 1, spread over all of it, and the object pickles as itself."""
    drawn = [SYSTEM.random() for _ in range(2000)]
    assert all(0 <= x < 1 for x in drawn)
    assert 0.45 < sum(drawn) / 2000 < 0.55
    assert min(drawn) < 0.05
    assert max(drawn) > 0.95
    assert pickle.loads(pickle.dumps(SYSTEM)) is SYSTEM
    assert repr(SYSTEM) == "SYSTEM"


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Constant(-1.0), "seconds is -1.0"),
        (lambda: Constant(math.nan), "seconds is nan"),
        (lambda: Constant(math.inf), "seconds is inf"),
        (lambda: Constant(LONGEST_WAIT * 1.01), "seconds is 4040000.0"),
        (lambda: Exponential(-1.0, cap=5.0), "initial is -1.0"),
        (lambda: Exponential(6.0, cap=5.0), "initial is 6.0"),
        (lambda: Exponential(1.0, cap=math.inf), "cap is inf"),
        (lambda: Exponential(1.0, cap=5.0, factor=0.5), "factor is 0.5"),
        (lambda: Exponential(1.0, cap=5.0, factor=math.inf), "factor is inf"),
        (lambda: Linear(1.0, -1.0, cap=5.0), "step is -1.0"),
        (lambda: Linear(6.0, 1.0, cap=5.0), "initial is 6.0"),
        (lambda: Decorrelated(0.0, cap=5.0), "initial is 0.0"),
        (lambda: Decorrelated(1.0, cap=LONGEST_WAIT * 1.01), "cap is 4040000.0"),
        (lambda: Exponential("1", cap=5.0), "initial is '1'"),  # type: ignore[arg-type]
        (lambda: Decorrelated(5.0, cap=5.0), "initial is 5.0"),
        (lambda: Decorrelated(6.0, cap=5.0), "initial is 6.0"),
        (lambda: Jitter(0.5, 0.4), "jitter is"),
        (lambda: Jitter(-0.1, 0.4), "jitter is"),
        (lambda: Jitter(0.1, math.inf), "jitter is"),
        (lambda: band(1.5), "share is 1.5"),
        (lambda: band(-0.1), "share is -0.1"),
    ],
)
def test_waits_that_cannot_be_are_refused(make, named):
    """The error names what is wrong, and with which value."""
    with pytest.raises(UsageError, match=named):
        make()


def test_the_borders_of_what_is_allowed():
    """Zero waits, the longest wait, a factor of one and a band of all are fine."""
    assert Constant(0.0).band(1, 0) == (0.0, 0.0)
    assert Constant(LONGEST_WAIT, jitter=band(1.0)).band(1, 0) == (0.0, LONGEST_WAIT)
    assert middle(Exponential(2.0, cap=2.0, factor=1.0, jitter=Jitter(1, 1)), 2) == [2.0, 2.0]
    assert middle(Linear(2.0, 0.0, cap=2.0), 2) == [2.0, 2.0]


# -- conditions


@pytest.mark.parametrize(
    ("on", "error", "expected"),
    [
        (ConnectionError, ConnectionResetError(), True),
        (ConnectionError, ValueError(), False),
        ((ConnectionError, ValueError), ValueError(), True),
        ([lambda e: "busy" in str(e)], ValueError("busy"), True),
        (lambda e: "busy" in str(e), ValueError("idle"), False),
        (Category.TRANSIENT, ConnectionError(), True),
        (Category.TRANSIENT, MemoryError(), False),
        ((Category.TRANSIENT, Category.RESOURCE), MemoryError(), True),
        (Classifier(), ConnectionError(), True),
        (Classifier(), ValueError(), False),
        (Classifier(unknown=t.TransientError), RuntimeError(), True),
        ([Classifier(), KeyError], KeyError(), True),
        (Category.VALIDATION, ValueError(), True),
        (BaseException, KeyboardInterrupt(), False),
        (BaseException, ValueError(), True),
        (KeyboardInterrupt, KeyboardInterrupt(), True),
        ((Exception, SystemExit), SystemExit(), True),
        ((Exception, SystemExit), KeyboardInterrupt(), False),
        (BaseException, asyncio.CancelledError(), False),
        (BaseExceptionGroup, ExceptionGroup("g", [ValueError()]), True),
        (BaseExceptionGroup, BaseExceptionGroup("g", [KeyboardInterrupt()]), False),
        ((BaseExceptionGroup, KeyboardInterrupt), BaseExceptionGroup("g", [KeyboardInterrupt()]), True),
    ],
)
def test_what_on_names(on, error, expected):
    """Classes, categories, classifiers, functions, and any mixture; stopping the program only by name."""
    matcher = Matcher(on)
    decision = matcher.classify(error, None) if matcher.classifies else None
    assert matcher.matches(error, decision) is expected


@pytest.mark.parametrize("on", [None, (), [], "ConnectionError", b"x", 7, int, (ConnectionError, 7), [None]])
def test_what_cannot_be_a_condition_is_refused(on):
    """There is no default: the message shows how to say it."""
    with pytest.raises(UsageError, match=r"on is .*@retry\(on=ConnectionError\)"):
        RetryPolicy(on=on)


def test_two_classifiers_are_refused():
    """Which of them decides could only be guessed."""
    with pytest.raises(UsageError, match="with_rules"):
        RetryPolicy(on=(Classifier(), Classifier()))


# -- options


def test_bare_retry_says_what_is_missing():
    """``@retry`` without arguments, and ``retry()``, are errors with the remedy in the message."""
    for make in (lambda: retry(lambda: None), lambda: retry(), lambda: retry(attempts=3)):
        with pytest.raises(UsageError, match=r"@retry\(on=ConnectionError\)"):
            make()


@pytest.mark.parametrize(
    "options",
    [
        {"attempts": 0},
        {"attempts": -1},
        {"attempts": True},
        {"attempts": 2.5},
        {"deadline": 0},
        {"deadline": -1.0},
        {"deadline": math.nan},
        {"deadline": math.inf},
        {"deadline": True},
        {"deadline": "5"},
        {"attempt_timeout": 0},
        {"quiet": -1},
        {"quiet": None},
        {"retry_after_cap": -1},
        {"retry_after_cap": math.inf},
        {"retry_after_cap": True},
        {"wait": 5.0},
        {"waits": {Category.TRANSIENT: 3}},
        {"generators": "maybe"},
        {"on_result": 3},
        {"repair": "login"},
    ],
)
def test_options_that_cannot_be_are_refused(options):
    """Zero and nonsense are never taken for a default; the message names the option."""
    with pytest.raises(UsageError, match=next(iter(options))):
        retry(on=ValueError, **options)


def test_borders_of_the_options():
    """The least values that make sense are accepted."""
    policy = retry(
        on=ValueError, attempts=1, deadline=1e-9, quiet=0, retry_after_cap=0, attempt_timeout=LONGEST_WAIT
    )
    assert policy.attempts == 1
    assert retry(policy, attempts=None, deadline=LONGEST_WAIT, retry_after_cap=LONGEST_WAIT).attempts is None


def test_defaults():
    """Three attempts, half a second doubling to a minute with half of it chance; nothing else."""
    policy = retry(on=ValueError)
    assert (policy.most, policy.quiet, policy.retry_after_cap) == (3, 0, 300.0)
    assert policy.wait == Exponential(0.5, cap=60.0, jitter=EQUAL)
    assert policy.plain
    for option in (
        {"deadline": 1.0},
        {"attempt_timeout": 1.0},
        {"on_result": bool},
        {"budget": RetryBudget()},
    ):
        assert not retry(policy, **option).plain
    assert not retry(policy, throttle=AdaptiveThrottle()).plain


def test_a_policy_is_a_value():
    """Equal by its options, changed into another, pickled with all of them."""
    waits = {Category.RESOURCE: Constant(9.0), t.Unreachable: Constant(1.0)}
    policy = retry(
        on=(ConnectionError, Category.TRANSIENT), attempts=4, waits=waits, name="n", random=random.Random(3)
    )
    copy = pickle.loads(pickle.dumps(policy))
    assert copy == policy
    assert hash(retry(on=ConnectionError)) == hash(retry(on=ConnectionError))
    assert copy.random.random() == random.Random(3).random()
    other = retry(policy, attempts=5)
    assert (other.attempts, other.name, policy.attempts) == (5, "n", 4)
    with pytest.raises(AttributeError):
        policy.attempts = 9
    assert policy.classifies
    assert not retry(on=ConnectionError).classifies
    assert retry(on=ConnectionError, waits=waits).classifies


# -- budget


def test_a_budget_starts_with_its_floor_and_earns_by_requests():
    """Ten requests at a ratio of 0.2 buy two retries more; the cap ends it."""
    clock = VirtualClock()
    budget = RetryBudget(floor=1, ratio=0.2, window=10.0, cap=4, clock=clock)
    assert budget.balance() == 1
    for _ in range(9):
        budget.request(0.0)
    assert budget.balance() == 2
    budget.request(0.0)
    assert budget.balance() == 3
    for _ in range(100):
        budget.request(0.0)
    assert budget.balance() == 4


def test_a_budget_forgets():
    """After the window neither requests nor retries count; in steps of a twentieth, against the retry."""
    clock = VirtualClock()
    budget = RetryBudget(floor=1, ratio=1.0, window=10.0, clock=clock)
    budget.request(0.0)
    assert budget.take(0.0) is not None
    assert budget.take(0.0) is not None
    assert budget.take(0.0) is None
    clock.advance(10.0)
    assert budget.balance() == 0  # the request still counts, and so do both retries
    clock.advance(0.25)
    assert budget.balance() == 0  # the request is too old to be sure of, the retries are not
    clock.advance(0.25)
    assert budget.balance() == 1
    assert len(budget._slots) <= 22


def test_a_budget_takes_back():
    """A receipt given back counts again, once, and never beyond what was charged."""
    budget = RetryBudget(floor=2, ratio=0.0, clock=VirtualClock())
    receipt = budget.take(0.0)
    assert budget.balance() == 1
    budget.give_back(receipt)
    budget.give_back(receipt)
    budget.give_back(12345)
    assert budget.balance() == 2


def test_a_late_look_at_the_clock_is_booked_to_the_newest_slot():
    """A thread that read the clock before another moved on cannot bring an old slot back."""
    budget = RetryBudget(floor=1, ratio=0.0, window=10.0, clock=VirtualClock())
    budget.roll(5.0)
    edge = budget.edge
    assert budget.take(1.0) is not None
    assert budget.edge == edge
    assert budget.take(5.0) is None


@pytest.mark.parametrize(
    "options", [{"floor": -1}, {"floor": 5, "cap": 4}, {"ratio": -0.1}, {"ratio": math.inf}, {"window": 0}]
)
def test_budgets_that_cannot_be_are_refused(options):
    """The message names the option."""
    with pytest.raises(UsageError, match=next(iter(options))):
        RetryBudget(**options)


def test_a_budgets_limits_travel_its_balance_does_not():
    """What was spent belongs to the process that spent it."""
    budget = RetryBudget(floor=2, ratio=0.5, window=3.0, cap=7)
    budget.take(time.monotonic())
    copy = pickle.loads(pickle.dumps(budget))
    assert (copy.floor, copy.ratio, copy.window, copy.cap) == (2, 0.5, 3.0, 7)
    assert copy.balance() == 2


# -- throttle


def test_a_throttle_refuses_in_proportion():
    """The probability is the one of the book, and forgotten with the window."""
    throttle = AdaptiveThrottle(k=2.0, window=20.0)
    always, never = Fixed(0.0), Fixed(0.999999)
    assert throttle.refusal(0.0) == 0.0
    for _ in range(10):
        assert throttle.admits(0.0, always)
    assert throttle.refusal(0.0) == 0.0
    for _ in range(8):
        throttle.rejected(1.0)
    assert throttle.refusal(1.0) == pytest.approx((10 - 2 * 2) / 11)
    assert throttle.admits(1.0, never)
    assert not throttle.admits(1.0, always)
    assert throttle.refusal(1.0) == pytest.approx((12 - 2 * 3) / 13)
    assert throttle.refusal(19.9) > 0
    assert throttle.refusal(21.0) == 0.0


@pytest.mark.parametrize("options", [{"k": 0.5}, {"k": math.inf}, {"window": 0.0}, {"window": math.inf}])
def test_throttles_that_cannot_be_are_refused(options):
    """The message names the option."""
    with pytest.raises(UsageError, match=next(iter(options))):
        AdaptiveThrottle(**options)


def test_a_throttle_travels_without_its_counts():
    """Like a budget."""
    copy = pickle.loads(pickle.dumps(AdaptiveThrottle(k=3.0, window=5.0)))
    assert (copy.k, copy.window, copy.refusal(0.0)) == (3.0, 5.0, 0.0)


# -- registry


def test_the_reference_policies_have_the_numbers_of_their_systems():
    """Attempts, first wait, cap and jitter, exactly."""
    policies = reference_policies()
    expected = {
        "neuro": (3, 300.0, 3600.0),
        "neuro.conversion": (2, 300.0, 1800.0),
        "neuro.preprocessing": (3, 1800.0, 7200.0),
        "neuro.reconstruction": (3, 1800.0, 3600.0),
        "neuro.parcellation": (3, 300.0, 1800.0),
    }
    for name, numbers in expected.items():
        policy = policies[name]
        assert (policy.attempts, policy.wait.initial, policy.wait.cap) == numbers
        assert policy.wait.jitter == band(0.2)
        assert policy.wait.factor == 2.0
        assert policy.name == name
    share = policies["watcher.share"]
    assert (share.attempts, share.wait.initial, share.wait.cap, share.quiet) == (None, 5.0, 86400.0, 1)
    assert policies["watcher.transport"].attempts == 21
    assert policies["watcher.login"].attempts == 2
    ingest = policies["ingest.file"]
    assert (ingest.attempts, ingest.wait.initial, ingest.wait.cap) == (3, 1.0, 60.0)
    network = policies["watcher.network"].waits
    assert network[t.Unreachable].initial > network[t.Overloaded].initial
    assert len(policies) == 12


def test_an_unknown_name_is_an_error_or_the_default():
    """A typing error never changes a policy in silence."""
    one, other = retry(on=ValueError), retry(on=KeyError)
    registry = PolicyRegistry({"one": one})
    assert registry["one"] is one
    with pytest.raises(UsageError, match=r"'tow'.*one of: one"):
        registry["tow"]
    assert "tow" not in registry
    assert PolicyRegistry({}, default=other)["tow"] is other
    wider = PolicyRegistry({"one": one}, default=other).with_policies({"two": one})
    assert (list(wider), wider["three"], len(wider)) == (["one", "two"], other, 2)
    assert "one" in wider
    with pytest.raises(UsageError, match="a RetryPolicy"):
        PolicyRegistry({"x": 3})


def test_a_budgets_slots_are_a_twentieth_of_its_window():
    """The edge is where the next slot begins; within a slot there is one slot only."""
    clock = VirtualClock(start=1003.2)
    budget = RetryBudget(floor=1, ratio=1.0, window=10.0, clock=clock)
    assert budget.edge == 1003.5
    budget.request(1003.3)
    budget.roll(1003.4)
    assert len(budget._slots) == 1
    budget.request(1003.5)
    assert (budget.edge, len(budget._slots)) == (1004.0, 2)
    budget.roll(1009.1)
    assert (budget.edge, len(budget._slots)) == (1009.5, 3)
    clock.advance(9.9)
    assert budget.balance() == 2  # the first request's slot began too early to be sure of
    clock.advance(0.6)
    assert budget.balance() == 1
    assert (budget.floor, budget.ratio, budget.window, budget.cap) == (1, 1.0, 10.0, 1000)
    default = RetryBudget(clock=clock)
    assert (default.floor, default.ratio, default.window) == (10, 0.1, 60.0)


def test_the_borders_of_a_throttle():
    """It forgets slot by slot, and counts what is refused as refused."""
    throttle = AdaptiveThrottle(window=20.0, minimum=1)
    assert (throttle.k, AdaptiveThrottle().window) == (2.0, 120.0)
    throttle.admits(0.5, Fixed(0.0))
    throttle.rejected(0.5)
    assert throttle.refusal(0.5) == pytest.approx(1 / 2)
    assert throttle.refusal(19.99) == pytest.approx(1 / 2)
    assert throttle.refusal(20.0) == 0.0
    assert AdaptiveThrottle(k=1).k == 1


def test_what_is_printed_of_a_budget_says_its_numbers() -> None:
    """Floor, share and window, for a log line."""
    assert repr(RetryBudget(floor=3, ratio=0.25, window=10)) == (
        "<RetryBudget 3 and 0.25 of the requests in 10 s>"
    )
