"""How long a retry waits: finite, within its band and cap, spread by jitter, and as the server asks."""

from __future__ import annotations

import itertools
import math
import random
import time
from collections import Counter
from dataclasses import replace

from hypothesis import strategies as st

from chaoskit.contracts.report import Row, demand
from chaoskit.contracts.retry_adapter import RetryAdapter, RetryPlan
from chaoskit.contracts.retry_rows.doubles import LIMITS, SECONDS, SMALL, Failing, function, outcome, shows

__all__ = ["WAITS"]

_STEPS = st.sampled_from([-86_400.0, -1.0, 1.0, 86_400.0, 1e9])
"""Seconds by which a wall clock is changed: a second, a day, and half a lifetime."""


@st.composite
def _backoffs(draw: st.DrawFn) -> RetryPlan:
    """Waits of every size, with a cap. With a factor of two or more, 1,100 attempts overflow a float."""
    initial = draw(st.floats(0.0, 10.0))
    return RetryPlan(
        initial=initial,
        factor=draw(st.sampled_from([1.0, 1.5, 2.0, 3.0, 10.0])),
        cap=draw(st.floats(initial, 100_000.0)),
        attempts=draw(st.sampled_from([2, 7, 70, 1100, 5001])),
    )


def finite(adapter: RetryAdapter, plan: RetryPlan) -> None:
    """R1: the sleeper accepts every wait, including the five-thousandth."""
    with adapter.world() as clock:
        backend = Failing(math.inf)
        kind, error = outcome(adapter.wrap(function(backend), plan))
        demand(kind == "error" and shows(error, error), "no error at the end")
        # The errors that an overflow in the computation, or a sleeper's refusal, would raise.
        demand(
            isinstance(error, Exception) and not isinstance(error, ArithmeticError | ValueError), repr(error)
        )
        demand(backend.calls == plan.attempts, f"{backend.calls} calls of {plan.attempts}: {error!r}")
        for number, wait in enumerate(clock.calls, 1):
            demand(
                math.isfinite(wait) and 0 <= wait <= plan.cap, f"wait {number} is {wait!r}, cap {plan.cap!r}"
            )


def within(adapter: RetryAdapter, example: tuple[RetryPlan, int, int]) -> None:
    """R2: every draw lies in the declared band; a negative wait is refused, or not made."""
    plan, which, seed = example
    low, high = adapter.jitters[which % len(adapter.jitters)]
    # Seventy attempts reach every cap, and 5,001 draws would take too long.
    plan = replace(plan, jitter=(low, high), seed=seed, attempts=min(plan.attempts, 70))
    with adapter.world() as clock:
        outcome(adapter.wrap(function(Failing(math.inf)), plan))
        # Waits of zero may be left out (R20). Then the number of a call is not the number of its wait.
        numbered = clock.calls if plan.initial > 0 and plan.jitter[0] > 0 else []
        for number, wait in enumerate(numbered):
            base = _base(plan, number)
            least, most = min(base * low, plan.cap), min(base * high, plan.cap)
            # An implementation may multiply in another order.
            slack = 1e-9 + most * 1e-9
            demand(
                least - slack <= wait <= most + slack,
                f"wait {number + 1} is {wait!r}, not {least!r} to {most!r}",
            )
        negative = replace(plan, initial=-1.0, jitter=(1.0, 1.0), attempts=2)
        try:
            wrapped = adapter.wrap(function(Failing(1)), negative)
        except Exception:
            return
        clock.calls.clear()
        kind, got = outcome(wrapped)
        demand(kind == "value", f"a negative wait was accepted, and raised {got!r} when it was due")
        demand(all(wait >= 0 for wait in clock.calls), f"the sleeper was called with {clock.calls}")


def _base(plan: RetryPlan, number: int) -> float:
    """Wait ``number`` of a plan before jitter, in seconds."""
    try:
        return min(float(plan.initial) * plan.factor**number, plan.cap)
    except OverflowError:
        # A number that is too large for a float is above the cap.
        return plan.cap


def spread(adapter: RetryAdapter, example: tuple[float, int]) -> None:
    """R3: clients that fail together don't return together, at the cap or after the first failure."""
    initial, which = example
    jitters = [j for j in adapter.jitters if j[0] < j[1]]
    plan = RetryPlan(initial=initial, cap=initial * 8, jitter=jitters[which % len(jitters)], attempts=120)
    with adapter.world() as clock:
        outcome(adapter.wrap(function(Failing(math.inf)), plan))
        _demand_spread("at the cap", clock.calls[-100:])
        clock.calls.clear()
        single = replace(plan, attempts=2)
        # Many calls with one retry each, as many clients make them.
        for _ in range(40):
            outcome(adapter.wrap(function(Failing(1)), single))
        _demand_spread("at the floor", clock.calls)


def _demand_spread(where: str, waits: list[float]) -> None:
    """Check that at most a fifth of the waits are equal. If jitter is cut off at the cap, all are."""
    (wait, most), *_ = Counter(round(w, 9) for w in waits).most_common(1) or [(0.0, 99)]
    demand(most <= len(waits) * 0.2, f"{most} of {len(waits)} waits {where} are {wait!r}")


class _TooManyRequests(ConnectionError):
    """An error with a response that has headers, as HTTP clients raise it."""

    class Response:
        status_code = 429

        def __init__(self, headers: dict[str, str]) -> None:
            self.headers = headers

    def __init__(self, headers: dict[str, str]) -> None:
        super().__init__("429")
        self.response = self.Response(headers)


_HEADERS = st.one_of(
    st.none(),
    st.integers(-10, 100_000).map(str),
    # Python refuses to parse more than 4,300 digits as an int, and float("1e400") is infinite.
    st.integers(10**15, 10**400).map(str),
    st.floats(0, 1e6).map(repr),
    st.text(max_size=30),
    # "²".isdigit() is true, and int("²") raises.
    st.sampled_from(["", "nan", "inf", "-inf", "1e3", "²", "0x10"]),
    # Dates that are past, beyond any timestamp, without a time zone, and malformed.
    st.sampled_from(
        [
            "Wed, 21 Oct 2015 07:28:00 GMT",
            "Fri, 31 Dec 9999 23:59:59 GMT",
            "Sun, 06 Nov 1994 08:49:37 -0000",
            "Mon, 32 Foo 20 99:99:99 GMT",
            "31 Dec 99999 23:59:59",
        ]
    ),
    st.integers(1_700_000_000, 1_700_001_000).map(
        lambda seconds: time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(seconds))
    ),
)


def asked(adapter: RetryAdapter, value: str | None) -> None:
    """R14: whatever the header says, the call goes on, and waits no longer than the cap."""
    headers = {} if value is None else {"Retry-After": value}
    cap = 30.0
    with adapter.world() as clock:
        backend = Failing(1, lambda number: _TooManyRequests(headers))
        plan = RetryPlan(initial=0.5, cap=2.0, retry_after_cap=cap)
        kind, got = outcome(adapter.wrap(function(backend), plan), "v")
        demand((kind, got) == ("value", "v"), f"Retry-After: {value!r} made it end with {got!r}")
        for wait in clock.calls:
            demand(
                math.isfinite(wait) and 0 <= wait <= cap, f"Retry-After: {value!r} made it wait {wait!r} s"
            )
        # Only plain numbers of seconds must be obeyed; all other headers are left to the library.
        if value is not None and value.isascii() and value.isdigit() and len(value) < 12:
            least = min(float(value), cap)
            demand(sum(clock.calls) >= least, f"asked for {value} s, waited {sum(clock.calls)} s")


def unmoved(adapter: RetryAdapter, example: tuple[list[float], int]) -> None:
    """R17: changing the wall clock, in any direction and at any moment, changes neither calls nor waits."""
    steps, attempts = example
    deadline = 40.0 if "deadline" in adapter.features else None

    def course(moved: bool) -> tuple[int, list[float]]:
        with adapter.world() as clock:
            count = itertools.count()

            def body() -> None:
                number = next(count)
                if moved:
                    clock.step(steps[number % len(steps)])
                clock.advance(0.5)
                raise ConnectionError

            outcome(adapter.wrap(body, RetryPlan(attempts=attempts, deadline=deadline)))
            return next(count), list(clock.calls)

    expected, got = course(False), course(True)
    demand(got == expected, f"with steps {steps}: (calls, waits) {got} instead of {expected}")


def seeded(adapter: RetryAdapter, example: tuple[int, int]) -> None:
    """R19: the global random state is not used; the same seed gives the same waits."""
    seed, which = example
    plan = RetryPlan(attempts=6, jitter=adapter.jitters[which % len(adapter.jitters)], seed=seed)

    def waits() -> list[float]:
        with adapter.world() as clock:
            outcome(adapter.wrap(function(Failing(math.inf)), plan))
            return list(clock.calls)

    # A library that draws from the global state changes what the program under test draws next. And if the
    # program seeds that state, all its clients wait equally long.
    before = random.getstate()
    first = waits()
    demand(random.getstate() == before, "the global random state was used")
    if "seed" in adapter.features:
        second = waits()
        demand(first == second, f"seed {seed} gave {first}, then {second}")


def no_sleep(adapter: RetryAdapter, failures: int) -> None:
    """R20: if there is nothing to wait for, the sleeper is not called."""
    with adapter.world() as clock:
        plan = RetryPlan(attempts=failures + 1, initial=0.0, cap=0.0)
        outcome(adapter.wrap(function(Failing(failures)), plan))
        demand(not clock.calls, f"the sleeper was called with {clock.calls}")


WAITS = (
    Row("R1", "every wait is finite, within the cap, and accepted by the sleeper", finite, _backoffs()),
    Row(
        "R2",
        "draws lie in the declared band; negative waits are refused",
        within,
        st.tuples(_backoffs(), SMALL, st.integers(0, 2**32)),
    ),
    Row(
        "R3",
        "jitter spreads at the cap and at the floor",
        spread,
        st.tuples(SECONDS, SMALL),
        frozenset({"jitter"}),
    ),
    Row(
        "R14",
        "Retry-After never crashes and obeys a cap",
        asked,
        _HEADERS,
        frozenset({"retry-after"}),
    ),
    Row(
        "R17",
        "steps of the wall clock change nothing",
        unmoved,
        st.tuples(st.lists(_STEPS, min_size=1, max_size=4), LIMITS),
    ),
    Row(
        "R19",
        "global randomness is untouched, a seed reproduces",
        seeded,
        st.tuples(st.integers(0, 2**32), SMALL),
    ),
    Row("R20", "no sleep without a delay", no_sleep, SMALL),
)
