"""Errors whose text is made when it is read tell what they would have told at once."""

from __future__ import annotations

import copy
import pickle
import threading
import traceback

import pytest

from chaoskit.runtime import BreakerOpen, CircuitBreaker, VirtualClock


def failing() -> None:
    raise OSError


def rejected() -> BreakerOpen:
    """What the short way raises, which nothing has read yet."""
    breaker = CircuitBreaker(failures=1, name="api", open_for=8.0, clock=VirtualClock())
    with pytest.raises(OSError):
        breaker.call(failing)
    with pytest.raises(BreakerOpen) as caught:
        breaker.call(failing)
    assert "at" not in caught.value.__dict__, "the short way was not taken"
    return caught.value


TEXT = "breaker 'api' is open: a call may be let through in 8 s; the last failure was OSError"
LOOKS = {
    "str": str,
    "repr": lambda error: eval(repr(error)).message,
    "message": lambda error: error.message,
    "args": lambda error: error.args[0],
    "to_dict": lambda error: error.to_dict()["message"],
    "pickle": lambda error: pickle.loads(pickle.dumps(error)).message,
    "copy": lambda error: copy.copy(error).message,
    "deepcopy": lambda error: copy.deepcopy(error).message,
    "traceback": lambda error: traceback.format_exception_only(error)[-1].strip().partition(": ")[2],
    "after another field": lambda error: (error.hint, error.retry_after, error.message)[-1],
    "after a field that it lacks": lambda error: (hasattr(error, "nonsense"), error.message)[-1],
}


@pytest.mark.parametrize("look", LOOKS)
def test_every_first_look_finds_the_text(look):
    """The text is there whichever way an unread rejection is looked at first."""
    assert LOOKS[look](rejected()) == TEXT


def test_every_field_is_there():
    """The fields are those of an error that was made at once, and a copy has them as well."""
    error = rejected()
    assert error.retry_after == 8.0
    assert error.context == {"breaker": "api", "state": "open", "last_failure": "OSError"}
    assert (error.hint, error.stage, error.operation) == (BreakerOpen.default_hint, None, None)
    assert pickle.loads(pickle.dumps(error)).to_dict() == error.to_dict()
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = error.nonsense  # type: ignore[attr-defined]


def test_it_tells_of_the_moment_of_the_rejection():
    """What the breaker meets between the rejection and the first look does not enter the text."""
    clock = VirtualClock()
    breaker = CircuitBreaker(failures=1, name="api", open_for=8.0, clock=clock)
    with pytest.raises(OSError):
        breaker.call(failing)
    with pytest.raises(BreakerOpen) as caught:
        breaker.call(failing)
    breaker.reset()
    clock.advance(5.0)
    with pytest.raises(ZeroDivisionError):
        breaker.call(lambda: 1 / 0)
    assert str(caught.value) == TEXT
    assert caught.value.retry_after == 8.0


def test_arguments_can_be_replaced():
    """Code that rewrites the arguments of an exception finds and sets them as for any other."""
    error = rejected()
    error.args = ("rewritten",)
    assert (error.args, str(error), error.retry_after) == (("rewritten",), "rewritten", 8.0)
    error.args = ()
    assert pickle.loads(pickle.dumps(error)).args == error.args == ()
    plain = BreakerOpen("at once", retry_after=1.0)
    plain.args = ("rewritten",)
    assert (plain.args, str(plain), repr(plain)) == (
        ("rewritten",),
        "rewritten",
        "BreakerOpen('rewritten')",
    )


def test_threads_may_look_at_once():
    """All of several threads that look at one unread error first see all of it."""
    for _ in range(20):
        error, found = rejected(), []
        start = threading.Barrier(3)

        def look(error: BreakerOpen = error, found: list = found, start: threading.Barrier = start) -> None:
            start.wait()
            found.append((error.message, error.retry_after, error.args))

        threads = [threading.Thread(target=look) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [(TEXT, 8.0, (TEXT,))] * 3


def test_a_listener_is_told_of_every_rejection():
    """The short way is taken only where nothing listens: with a listener each rejection is an event."""
    told: list[str] = []
    breaker = CircuitBreaker(failures=1, listeners=[lambda event: told.append(event.name)])
    with pytest.raises(OSError):
        breaker.call(failing)
    for _ in range(3):
        with pytest.raises(BreakerOpen):
            breaker.call(failing)
    assert told.count("breaker.rejected") == 3
