"""Observers see every decision, and can never hurt the call."""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import json
import logging
import pickle
import threading
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from chaoskit.runtime import context
from chaoskit.runtime.observing.events import Event
from chaoskit.runtime.observing.observers import Subscription, emit, observer_errors, subscribe, wanted


class Colour(enum.Enum):
    RED = "red"


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened(Event):
    """An event for these tests."""

    name: ClassVar[str] = "test.happened"

    error: BaseException | None = None
    colour: Colour = Colour.RED
    password: str = ""
    more: Any = None


def test_listeners_then_subscribers_in_order() -> None:
    """The strategy's own listeners are told first, in their order, then the subscribers."""
    told: list[str] = []
    with subscribe(lambda e: told.append("global")):
        emit((lambda e: told.append("a"), lambda e: told.append("b")), Happened(at=1.0))
    assert told == ["a", "b", "global"]


def test_a_closed_subscription_hears_nothing() -> None:
    """Leaving the block ends the subscription; closing it again does nothing."""
    told: list[Event] = []
    guard = subscribe(told.append)
    with guard:
        pass
    guard.close()
    emit((), Happened(at=1.0))
    assert told == []
    assert not wanted(())


def test_one_function_may_subscribe_twice() -> None:
    """Two subscriptions of one function are two; closing one leaves the other."""
    told: list[Event] = []
    with subscribe(told.append):
        subscribe(told.append).close()
        emit((), Happened(at=1.0))
    assert len(told) == 1


def test_wanted_says_whether_anybody_listens() -> None:
    """wanted() is true for a listener or a subscriber, false for neither."""
    assert not wanted(())
    assert wanted((print,))
    with subscribe(print):
        assert wanted(())


class Custom(BaseException):
    """Not an Exception."""


@pytest.mark.parametrize(
    "error", [ValueError(), RecursionError(), MemoryError(), asyncio.CancelledError(), Custom()]
)
def test_what_a_listener_raises_is_held(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    """A raising observer is logged and counted; the next one is told, and the caller sees nothing."""
    told: list[Event] = []

    def broken(event: Event) -> None:
        raise error

    before = observer_errors()
    with caplog.at_level(logging.ERROR, logger="chaoskit"), subscribe(broken):
        emit((broken, told.append), Happened(at=1.0))
    assert len(told) == 1
    assert observer_errors() == before + 2
    assert "test.happened" in caplog.text


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)])
def test_the_end_of_the_process_passes(error: BaseException) -> None:
    """Ctrl-C and SystemExit are nobody's to hold, whoever runs when they come."""

    def interrupted(event: Event) -> None:
        raise error

    with pytest.raises(type(error)):
        emit((interrupted,), Happened(at=1.0))


def test_a_broken_log_handler_is_held_too() -> None:
    """Even when reporting the observer's error fails, the call is not hurt."""

    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise OSError("disk full")

    def broken(event: Event) -> None:
        raise ValueError

    handler = Broken()
    before = observer_errors()
    logger = logging.getLogger("chaoskit")
    logger.addHandler(handler)
    try:
        emit((broken,), Happened(at=1.0))
    finally:
        logger.removeHandler(handler)
    assert observer_errors() == before + 1


def test_a_subscriber_is_not_told_of_its_own_events() -> None:
    """A subscriber whose own work emits events does not recurse; others hear them."""
    told: list[float] = []
    others: list[float] = []

    def busy(event: Event) -> None:
        told.append(event.at)
        emit((), Happened(at=event.at + 1))

    with subscribe(busy), subscribe(lambda e: others.append(e.at)):
        emit((), Happened(at=1.0))
    assert told == [1.0]
    assert others == [2.0, 1.0]


def test_a_subscriber_that_is_busy_in_one_thread_hears_the_others() -> None:
    """Being told in one thread does not make a subscriber deaf in another."""
    told: list[float] = []
    inside, go_on = threading.Event(), threading.Event()

    def slow(event: Event) -> None:
        told.append(event.at)
        if event.at == 1.0:
            inside.set()
            go_on.wait(30)

    with subscribe(slow):
        thread = threading.Thread(target=emit, args=((), Happened(at=1.0)))
        thread.start()
        inside.wait(30)
        emit((), Happened(at=2.0))
        go_on.set()
        thread.join()
    assert told == [1.0, 2.0]


def test_subscribing_while_being_told_is_safe() -> None:
    """A subscriber may end its own subscription, or begin another, while it is told."""
    told: list[str] = []
    guards: list[Subscription] = []

    def once(event: Event) -> None:
        told.append("once")
        guards[0].close()

    guards.append(subscribe(once))
    with subscribe(lambda e: told.append("always")):
        emit((), Happened(at=1.0))
        emit((), Happened(at=2.0))
    assert told == ["once", "always", "always"]


def test_an_event_knows_its_correlation_id() -> None:
    """The id of the context in force is filled in; outside one it is None."""
    assert Happened(at=1.0).correlation_id is None
    with context.operation("run", correlation_id="mine"):
        assert Happened(at=1.0).correlation_id == "mine"


def test_events_are_frozen_and_picklable() -> None:
    """An event cannot be changed by whoever sees it, and can be sent to another process."""
    event = Happened(at=1.0, more=(1, "x"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.at = 2.0  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(event)) == event


def test_to_dict_is_plain_redacted_and_valid_json() -> None:
    """to_dict() holds the name and the fields as JSON values, without secrets."""
    error = ValueError("password=hunter2")
    shown = Happened(at=1.0, error=error, password="hunter2", more={"x": float("inf")}).to_dict()
    text = json.dumps(shown, allow_nan=False)
    assert "hunter2" not in text
    assert shown["event"] == "test.happened"
    assert shown["error"]["type"] == "ValueError"
    assert shown["colour"] == "red"
