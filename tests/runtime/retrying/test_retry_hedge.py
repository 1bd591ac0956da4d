"""Hedging: a second call when the first is late, and no call left behind."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from chaoskit.contracts.virtual import RecordingClock, run
from chaoskit.core.errors import UsageError
from chaoskit.runtime import RetryBudget, hedge


class Service:
    """Answers its n-th call after ``delays[n]`` seconds, or fails with it if it is an error."""

    def __init__(self, *plan: Any) -> None:
        self.plan = plan
        self.started: list[float] = []
        self.ended: list[int] = []

    async def ask(self) -> int:
        loop = asyncio.get_running_loop()
        number = len(self.started)
        self.started.append(loop.time())
        delay, error = (
            self.plan[number] if isinstance(self.plan[number], tuple) else (self.plan[number], None)
        )
        try:
            await asyncio.sleep(delay)
        finally:
            self.ended.append(number)
        if error is not None:
            raise error
        return number


def asked(service: Service, **options: Any) -> tuple[Any, float]:
    clock = RecordingClock()

    async def main() -> Any:
        return await hedge(after=1.0, **options)(service.ask)()

    return run(clock, main), clock.monotonic()


def test_a_quick_answer_needs_no_second_call():
    """One call, its value, its time."""
    service = Service(0.9)
    assert asked(service) == (0, 0.9)
    assert len(service.started) == 1


def test_a_late_answer_is_asked_for_again():
    """The first answer wins, and the loser has ended before the caller goes on."""
    service = Service(50.0, 0.5)
    assert asked(service) == (1, 1.5)
    assert service.started == [0.0, 1.0]
    assert service.ended == [1, 0]


def test_the_first_call_may_still_win():
    """Whoever comes first."""
    service = Service(1.2, 50.0)
    assert asked(service) == (0, 1.2)
    assert service.ended == [0, 1]


def test_at_most_extra_more_calls():
    """Each after another delay, and then it waits for whoever answers."""
    service = Service(50.0, 50.0, 30.0)
    assert asked(service, extra=2) == (2, 32.0)
    assert service.started == [0.0, 1.0, 2.0]


def test_an_error_brings_the_next_call_forward():
    """There is nothing to wait for."""
    service = Service((0.2, ConnectionError()), 0.5)
    assert asked(service) == (1, 0.7)


def test_if_all_fail_the_first_error_is_raised():
    """Not before all have ended."""
    service = Service((0.2, ConnectionError("first")), (3.0, ConnectionError("second")))
    with pytest.raises(ConnectionError, match="first"):
        asked(service)
    assert service.ended == [0, 1]


def test_a_budget_limits_the_extra_calls():
    """None left, none made; what is made is charged, and each call counts as a request."""
    clock = RecordingClock()
    budget = RetryBudget(floor=1, ratio=0.0, clock=clock)
    first, second = Service(50.0, 0.5), Service(5.0, 0.5)
    assert asked(first, budget=budget, clock=clock)[0] == 1
    assert budget.balance() == 0
    assert asked(second, budget=budget, clock=clock) == (0, 5.0)
    assert len(second.started) == 1
    earning = RetryBudget(floor=0, ratio=1.0, clock=clock)
    assert asked(Service(50.0, 0.5), budget=earning, clock=clock)[0] == 1


def test_cancelling_the_caller_cancels_all_calls():
    """And they have ended when the caller has."""
    service = Service(50.0, 50.0)

    async def main() -> None:
        task = asyncio.create_task(hedge(after=1.0)(service.ask)())
        await asyncio.sleep(3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert sorted(service.ended) == [0, 1]

    run(RecordingClock(), main)


@pytest.mark.parametrize("options", [{"after": 0}, {"after": float("inf")}, {"extra": 0}, {"extra": True}])
def test_options_that_cannot_be_are_refused(options):
    """The message names the option."""
    with pytest.raises(UsageError, match=next(iter(options))):
        hedge(**{"after": 1.0, **options})


def test_synchronous_functions_are_refused():
    """They cannot be cancelled."""
    with pytest.raises(UsageError, match="coroutine function"):
        hedge(after=1.0)(lambda: None)


def test_static_and_class_methods_are_hedged_in_either_order_of_decorators():
    """They bind as before; above @staticmethod a hedge took the method for a synchronous function."""

    class Client:
        @hedge(after=1.0)
        @staticmethod
        async def static(x: int) -> int:
            return x

        @hedge(after=1.0)
        @classmethod
        async def of_class(cls) -> Any:
            return cls

    async def main() -> Any:
        return await Client.static(3), await Client().static(4), await Client.of_class()

    assert run(RecordingClock(), main) == (3, 4, Client)
    with pytest.raises(UsageError, match="coroutine function"):
        hedge(after=1.0)(staticmethod(lambda: None))


def test_the_function_keeps_its_name():
    """Like every decorated function."""
    assert hedge(after=1.0)(Service().ask).__name__ == "ask"
