"""The settings of a breaker: what works is taken at its word, what cannot work is refused by name."""

from __future__ import annotations

import math
from typing import Any

import pytest

from chaoskit.core.errors import UsageError
from chaoskit.runtime import BreakerOptions, BreakerState, CircuitBreaker
from chaoskit.runtime.breaker.options import BreakerSettings
from chaoskit.runtime.breaker.window import CountWindow, TimeWindow

RATE: dict[str, Any] = {"failures": None, "failure_rate": 0.5, "window_calls": 100}

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"failures": 0}, "failures"),
    ({"failures": -1}, "failures"),
    ({"failures": 2.5}, "failures"),
    ({"failures": True}, "failures"),
    ({"failures": None}, "failures"),
    ({"failures": "5"}, "failures"),
    ({"open_for": -1.0}, "open_for"),
    ({"open_for": None}, "open_for"),
    ({"open_for": math.inf}, "open_for"),
    ({"open_for": math.nan}, "open_for"),
    ({"open_for": "60"}, "open_for"),
    ({"open_for": False}, "open_for"),
    ({"probes": 0}, "probes"),
    ({"probes": None}, "probes"),
    ({"hang_limit": 0.0}, "hang_limit"),
    ({"hang_limit": None}, "hang_limit"),
    ({"hang_limit": math.inf}, "hang_limit"),
    ({"growth": 0.9}, "growth"),
    ({"growth": math.inf}, "growth"),
    ({"growth": None}, "growth"),
    ({"growth": True}, "growth"),
    ({"growth": 2.0}, "open_cap"),
    ({"growth": 2.0, "open_cap": 59.0}, "open_cap"),
    ({"open_cap": 59.9}, "open_cap"),
    ({"open_cap": -1.0}, "open_cap"),
    ({**RATE, "failure_rate": 0}, "failure_rate"),
    ({**RATE, "failure_rate": 0.0}, "failure_rate"),
    ({**RATE, "failure_rate": 1.01}, "failure_rate"),
    ({**RATE, "failure_rate": True}, "failure_rate"),
    ({**RATE, "slow_rate": 0.0, "slow_after": 1.0}, "slow_rate"),
    ({**RATE, "slow_rate": 0.5}, "slow_after"),
    ({**RATE, "slow_after": 0.0}, "slow_after"),
    ({**RATE, "window_calls": 0}, "window_calls"),
    ({**RATE, "window_calls": 1_000_001}, "window_calls"),
    ({**RATE, "window_calls": None}, "windows"),
    ({**RATE, "window_seconds": 60.0}, "windows"),
    ({"window_seconds": 60.0}, "windows"),
    ({"window_calls": 60}, "windows"),
    ({**RATE, "window_calls": None, "window_seconds": 0.0}, "window_seconds"),
    ({**RATE, "minimum_calls": 0}, "minimum_calls"),
    ({**RATE, "minimum_calls": None}, "minimum_calls"),
    ({**RATE, "minimum_calls": 101}, "minimum_calls"),
]

TAKEN: list[dict[str, Any]] = [
    {},
    {"failures": 1},
    {"failures": 10**9},
    {"open_for": 0},
    {"open_for": 0.0, "open_cap": 0.0},
    {"open_for": 300},
    {"probes": 7},
    {"hang_limit": 0.001},
    {"growth": 1},
    {"growth": 2, "open_cap": 60},
    {"slow_after": 0.5},
    RATE,
    {**RATE, "failure_rate": 1},
    {**RATE, "failures": 5},
    {**RATE, "minimum_calls": 100},
    {**RATE, "window_calls": 1_000_000},
    {**RATE, "slow_rate": 1.0, "slow_after": 0.1},
    {"failures": None, "slow_rate": 0.5, "slow_after": 1, "window_seconds": 0.5},
]


@pytest.mark.parametrize(("settings", "name"), REFUSED, ids=str)
def test_what_cannot_work_is_refused(settings: dict[str, Any], name: str) -> None:
    """The error names the setting that is wrong and says what was expected; None is no way around it."""
    with pytest.raises(UsageError, match=rf"{name}.*expected"):
        BreakerOptions(**settings)
    with pytest.raises(UsageError):
        CircuitBreaker(**settings)


@pytest.mark.parametrize("settings", TAKEN, ids=str)
def test_what_works_is_taken_as_it_is(settings: dict[str, Any]) -> None:
    """Every value given is the value in force, the smallest and largest allowed ones too."""
    options = CircuitBreaker(**settings).options
    assert {name: getattr(options, name) for name in settings} == settings


def test_the_messages() -> None:
    """A refusal reads: what it is, what was expected, what to do next."""
    with pytest.raises(UsageError) as caught:
        BreakerOptions(growth=2.0)
    assert str(caught.value) == (
        "open_cap is None (NoneType); expected seconds, since growth is over 1. "
        "Without a cap it would stay open forever."
    )
    with pytest.raises(UsageError) as caught:
        BreakerOptions(failures=None)
    assert str(caught.value) == (
        "failures is None (NoneType); expected a number, since no rate is given either. "
        "A breaker without a rule never opens."
    )
    with pytest.raises(UsageError) as caught:
        BreakerOptions(open_for=-1.0)
    assert str(caught.value) == "open_for is -1.0 (float); expected finite seconds, zero or more."
    with pytest.raises(UsageError) as caught:
        BreakerOptions(hang_limit=0)
    assert str(caught.value) == "hang_limit is 0 (int); expected finite seconds, more than zero."
    with pytest.raises(UsageError) as caught:
        BreakerOptions(window_seconds=60.0)
    assert str(caught.value) == (
        "the number of windows is 1 (int); expected 0. "
        "A rate needs exactly one of window_calls and window_seconds; without a rate there is none."
    )


MESSAGES: list[tuple[dict[str, Any], str]] = [
    (
        {**RATE, "failure_rate": 2},
        "failure_rate is 2 (int); expected a share over 0 and at most 1. Use None to leave it out.",
    ),
    ({"growth": 0.5}, "growth is 0.5 (float); expected a finite factor of 1 or more."),
    ({**RATE, "minimum_calls": 101}, "minimum_calls is 101 (int); expected at most window_calls, 100."),
    (
        {**RATE, "slow_rate": 0.5},
        "slow_after is None (NoneType); expected seconds, since slow_rate is given.",
    ),
    ({"open_cap": 1.0}, "open_cap is 1.0 (float); expected at least open_for, 60.0."),
    ({"probes": 0}, "probes is 0 (int); expected a whole number of 1 or more."),
    (
        {**RATE, "minimum_calls": 0},
        "minimum_calls is 0 (int); expected a whole number of 1 or more.",
    ),
    (
        {**RATE, "window_calls": 1_000_001},
        "window_calls is 1000001 (int); expected at most 1000000: one byte is kept for each.",
    ),
]


@pytest.mark.parametrize(
    ("settings", "message"), MESSAGES, ids=[message.split()[0] for _, message in MESSAGES]
)
def test_each_message_is_whole(settings: dict[str, Any], message: str) -> None:
    """Each refusal names the setting, its value and its type, what was expected, and any next step."""
    with pytest.raises(UsageError) as caught:
        BreakerOptions(**settings)
    assert str(caught.value) == message


def test_an_unknown_setting_is_an_error() -> None:
    """A misspelt setting is never ignored."""
    with pytest.raises(TypeError, match="failure_threshold"):
        CircuitBreaker(failure_threshold=5)  # type: ignore[call-arg]


def test_the_defaults() -> None:
    """The documented defaults: five failures in a row, sixty seconds, one probe, a minute to come back."""
    options = BreakerOptions()
    assert (options.failures, options.open_for, options.probes, options.hang_limit) == (5, 60.0, 1, 60.0)
    assert (options.growth, options.open_cap, options.minimum_calls) == (1.0, None, 10)
    assert not options.observe_only
    assert options.window() is None
    assert not options.by_rate


def test_the_window_is_the_one_asked_for() -> None:
    """Each call of ``window`` gives a new, empty window of the right kind."""
    counted = BreakerOptions(**RATE)
    assert isinstance(counted.window(), CountWindow)
    assert counted.window() is not counted.window()
    assert counted.by_rate
    timed = BreakerOptions(slow_rate=0.5, slow_after=1.0, window_seconds=30.0)
    assert isinstance(timed.window(), TimeWindow)
    assert timed.by_rate


def test_keyword_arguments_and_record_have_the_same_fields() -> None:
    """Whatever the record holds can be given as a keyword argument, and nothing else."""
    assert set(BreakerSettings.__annotations__) == set(BreakerOptions.__dataclass_fields__)


def test_a_record_may_be_given_and_partly_replaced() -> None:
    """Options travel as a record; keyword arguments beside it replace single settings."""
    record = BreakerOptions(failures=2, open_for=300.0)
    assert CircuitBreaker(record).options is not None
    assert CircuitBreaker(record).options == record
    assert CircuitBreaker(record, open_for=1.0).options == BreakerOptions(failures=2, open_for=1.0)
    assert CircuitBreaker(record).state is BreakerState.CLOSED
