"""A rejection says what the calls before it failed with."""

from __future__ import annotations

import gc
import weakref

import pytest

from chaoskit.runtime import BreakerOpen, CircuitBreaker


class Unreachable(Exception):
    pass


def failing() -> None:
    raise Unreachable


def test_a_rejection_names_the_last_failure():
    """In its text and its context, by class; before the first failure there is none to name."""
    breaker = CircuitBreaker(failures=1, name="api")
    with pytest.raises(Unreachable):
        breaker.call(failing)
    with pytest.raises(BreakerOpen, match="the last failure was Unreachable") as caught:
        breaker.call(failing)
    assert caught.value.context["last_failure"] == "Unreachable"
    forced = CircuitBreaker(failures=1)
    forced.force_open()
    with pytest.raises(BreakerOpen) as caught:
        forced.call(failing)
    assert "last failure" not in str(caught.value)


def test_the_failed_error_is_not_kept():
    """The breaker holds neither the error nor the frames of the call that raised it."""
    breaker = CircuitBreaker(failures=1)

    def seen() -> weakref.ref[BaseException]:
        try:
            breaker.call(failing)
        except Unreachable as error:
            return weakref.ref(error)
        raise AssertionError

    reference = seen()
    gc.collect()
    assert reference() is None
