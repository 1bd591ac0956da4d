"""The strategies give what they promise, and users' tests can be written with them."""

from __future__ import annotations

import math

import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

from chaoskit import strategies
from chaoskit.core.errors import UsageError
from chaoskit.runtime import CircuitBreaker, retry
from chaoskit.runtime.clock import VirtualClock
from chaoskit.runtime.failures.taxonomy import ResilienceError

FEW = settings(max_examples=200, database=None, derandomize=True)


def outcome(call, work):
    """What the call returns or raises."""
    try:
        return call(work)
    except Exception as error:
        return error


@given(strategies.retry_policies(), strategies.answers())
def test_a_policy_keeps_its_number_of_attempts(policy, work):
    """Whatever the policy and however the function fails."""
    ended = outcome(policy.call, work)
    assert ended is work.outcomes[min(work.calls, len(work.outcomes)) - 1]
    assert 1 <= work.calls <= policy.attempts


@given(strategies.backoffs(), st.integers(1, 2000))
def test_backoffs_have_bands_within_their_cap(backoff, failures):
    """Of every kind, after any number of failures."""
    low, high = backoff.band(failures, 0.0)
    assert 0 <= low <= high <= backoff.cap + 1e-9
    assert math.isfinite(high)


@given(strategies.breaker_options(), strategies.answers())
def test_breaker_options_make_breakers(options, work):
    """Each set is accepted, and the breaker lets the first call through."""
    assert outcome(CircuitBreaker(**options).call, work) is work.outcomes[0]
    assert work.calls == 1


@given(strategies.clocks())
def test_clocks_are_virtual(clock):
    """Waiting takes no time."""
    before = clock.monotonic()
    clock.sleep(1e6)
    assert isinstance(clock, VirtualClock)
    assert clock.monotonic() >= before


def test_errors_of_all_kinds_are_among_them():
    """Plain ones, OSErrors with an errno, and those of the taxonomy."""
    assert find(strategies.errors(), lambda e: isinstance(e, ResilienceError), settings=FEW)
    assert find(strategies.errors(), lambda e: isinstance(e, OSError) and e.errno is not None, settings=FEW)
    assert find(strategies.errors(), lambda e: isinstance(e, ValueError), settings=FEW)


def test_fixed_options_stay():
    """What the user gives is not drawn."""
    policy = find(
        strategies.retry_policies(attempts=4, on=ValueError),
        lambda p: True,
        settings=settings(FEW, max_examples=1),
    )
    assert policy == retry(policy, attempts=4, on=ValueError)


@given(st.sampled_from(["zip", "csv", "json", "tar", "gzip"]).flatmap(strategies.damage))
def test_damaged_files_are_drawn(data):
    """Every draw is some bytes, small enough for a test."""
    assert isinstance(data, bytes)
    assert len(data) < 4 << 20


def test_damage_shrinks_to_little():
    """What fails on any damage that a reader takes for a table is found at its simplest."""
    found = find(strategies.damage("csv"), lambda data: b"\0" in data)
    assert found.count(b"\0") == 1


def test_damage_wants_a_format_and_a_file_of_it():
    """An unknown format and a file of another are refused by name."""
    with pytest.raises(UsageError, match="format is 'doc'"):
        strategies.damage("doc")
    with pytest.raises(UsageError, match="it looks like text"):
        strategies.damage("zip", b"hello\nyou\n")
