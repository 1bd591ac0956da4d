"""The shortest programs that show each row that fails for a retry of another library.

Each function needs the library and the standard library alone, and asserts what is seen, so that it
passes as long as the library behaves so. Run the file to run them all.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import datetime
import gc
import itertools
import pickle
import random
import time
import warnings
import weakref
from collections.abc import Callable
from unittest import mock

# ruff: noqa: PT017, PT018
# mypy: ignore-errors


def fail(*_):
    raise ConnectionError("down")


def attempt(call, *args):
    try:
        return call(*args)
    except BaseException as error:
        return type(error).__name__


def count(wrap, error=ConnectionError):
    """How often a function that always fails is called."""
    calls = itertools.count()

    def work():
        next(calls)
        raise error("down")

    ended = attempt(wrap(work))
    return ended, next(calls)


def slept(wrap):
    """What ``time.sleep`` is called with for a function that always fails."""
    with mock.patch("time.sleep") as sleep:
        attempt(wrap(fail))
    return [call.args[0] for call in sleep.call_args_list]


def produce():
    raise ConnectionError("down")
    yield


async def fail_later():
    raise ConnectionError("down")


def is_not_retried(wrap):
    """A function that returns a coroutine is called once, and its failure comes through."""
    calls = itertools.count()

    def work():
        next(calls)
        return fail_later()

    ended = attempt(asyncio.run, wrap(work)())
    return ended == "ConnectionError" and next(calls) == 1


def hands_the_future_on(wrap):
    """A function that returns a future is called once, and its failure comes through."""
    calls = itertools.count()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:

        def work():
            next(calls)
            return pool.submit(fail)

        ended = attempt(wrap(work)().result)
    return ended == "ConnectionError" and next(calls) == 1


def keeps_the_argument(wrap):
    """After a call that failed for good, its argument lives until the next collector pass."""

    class Argument:
        """Something that can be watched while it dies."""

    argument = Argument()
    watch = weakref.ref(argument)
    wrapped = wrap(fail)
    gc.disable()
    attempt(wrapped, argument)
    del argument
    alive = watch() is not None
    gc.enable()
    return alive


async def cancelled(wrap):
    """How a task ends that is cancelled while it waits for an answer."""

    async def work():
        await asyncio.sleep(0.01)

    task = asyncio.ensure_future(wrap(work)())
    await asyncio.sleep(0.005)
    task.cancel()
    await asyncio.wait([task])
    return "cancelled" if task.cancelled() else "goes on"


async def no(error):
    """An async predicate that says no."""
    return False


def raises(error):
    """A predicate with a bug."""
    raise ZeroDivisionError("the predicate")


def is_hidden(wrap):
    """The error of the call is neither raised nor the cause of what is raised."""
    try:
        wrap(fail)()
    except ZeroDivisionError as error:
        return error.__cause__ is None
    return False


def tenacity_a2():
    """An async predicate that says no is accepted for a plain function, never run, and taken for yes."""
    import tenacity

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrap = tenacity.retry(retry=tenacity.retry_if_exception(no), stop=tenacity.stop_after_attempt(3))
        assert count(wrap)[1] == 3


def tenacity_a4():
    """The error of a predicate takes the place of the error of the call."""
    import tenacity

    assert is_hidden(tenacity.retry(retry=tenacity.retry_if_exception(raises)))


def stamina_a2():
    """An async predicate is accepted and never run: the first failure ends in a TypeError instead."""
    import stamina

    asked = []

    async def yes(error):
        asked.append(error)
        return True

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert count(stamina.retry(on=yes, attempts=3, wait_max=0)) == ("TypeError", 1)
    assert asked == []


def stamina_a4():
    """The error of a predicate takes the place of the error of the call."""
    import stamina

    assert is_hidden(stamina.retry(on=raises, attempts=3, wait_max=0))


def tenacity_r5():
    """A condition that takes anything is asked about Ctrl-C as well, and decides."""
    import tenacity

    wrap = tenacity.retry(
        retry=tenacity.retry_if_exception(lambda e: True), stop=tenacity.stop_after_attempt(3)
    )
    assert count(wrap, KeyboardInterrupt)[1] == 3


def tenacity_r6():
    """The same for the cancellation of a task, which then goes on."""
    import tenacity

    wrap = tenacity.retry(
        retry=tenacity.retry_if_exception(lambda e: True), stop=tenacity.stop_after_attempt(3)
    )
    assert asyncio.run(cancelled(wrap)) == "goes on"


def tenacity_r8():
    """A cycle keeps the arguments of a failed call."""
    import tenacity

    assert keeps_the_argument(tenacity.retry(stop=tenacity.stop_after_attempt(2), reraise=True))


def tenacity_r13():
    """What a ``before_sleep`` callback raises ends the call in place of the retry."""
    import tenacity

    ended, calls = count(tenacity.retry(before_sleep=lambda state: [][0]))
    assert ended == "IndexError" and calls == 1


def tenacity_r15():
    """A generator function is accepted, and never retried."""
    import tenacity

    assert attempt(list, tenacity.retry(stop=tenacity.stop_after_attempt(3))(produce)()) == "ConnectionError"


def tenacity_r16():
    """A plain function that returns a coroutine is accepted, and never retried."""
    import tenacity

    assert is_not_retried(tenacity.retry(stop=tenacity.stop_after_attempt(3)))


def tenacity_r18():
    """A RetryError cannot be pickled: it holds a future with a lock."""
    import tenacity

    try:
        tenacity.retry(stop=tenacity.stop_after_attempt(1))(fail)()
    except tenacity.RetryError as error:
        assert attempt(pickle.dumps, error) == "TypeError"


def tenacity_r19():
    """The waits are drawn from the global random numbers."""
    import tenacity

    before = random.getstate()
    wait = tenacity.wait_random_exponential(multiplier=0.001)
    slept(tenacity.retry(wait=wait, stop=tenacity.stop_after_attempt(2)))
    assert random.getstate() != before


def tenacity_r20():
    """Without a wait it sleeps for zero seconds."""
    import tenacity

    assert slept(tenacity.retry(stop=tenacity.stop_after_attempt(2))) == [0]


def tenacity_r26():
    """A future is handed on, and its failure is never retried."""
    import tenacity

    assert hands_the_future_on(tenacity.retry(stop=tenacity.stop_after_attempt(3)))


def stamina_r2():
    """A negative wait is accepted, and is an error when it is due."""
    import stamina

    wrap = stamina.retry(on=ConnectionError, attempts=2, wait_initial=-1.0, wait_jitter=0)
    assert attempt(wrap(fail)) == "ValueError"


def stamina_r5():
    """A hook that takes anything is asked about Ctrl-C as well, and decides."""
    import stamina

    wrap = stamina.retry(on=lambda e: True, attempts=3, wait_max=0)
    assert count(wrap, KeyboardInterrupt)[1] == 3


def stamina_r6():
    """The same for the cancellation of a task, which then goes on."""
    import stamina

    assert asyncio.run(cancelled(stamina.retry(on=lambda e: True, attempts=3, wait_max=0))) == "goes on"


def stamina_r8():
    """A cycle keeps the arguments of a failed call."""
    import stamina

    assert keeps_the_argument(stamina.retry(on=ConnectionError, attempts=2, wait_max=0))


def stamina_r11():
    """An attempt starts after the timeout, since the wait before it is not counted."""
    import stamina

    begun, starts = time.monotonic(), []
    wrap = stamina.retry(on=ConnectionError, timeout=0.1, attempts=9, wait_initial=0.08, wait_jitter=0)

    def work():
        starts.append(time.monotonic() - begun)
        raise ConnectionError

    attempt(wrap(work))
    assert starts[-1] > 0.1


def stamina_r13():
    """What a hook raises ends the call in place of the retry."""
    import stamina

    stamina.instrumentation.set_on_retry_hooks([lambda details: [][0]])
    try:
        ended, calls = count(stamina.retry(on=ConnectionError, attempts=3, wait_max=0))
    finally:
        stamina.instrumentation.set_on_retry_hooks(None)
    assert ended == "IndexError" and calls == 1


def stamina_r16():
    """An object with an async call is accepted, and never retried."""
    import stamina

    assert is_not_retried(stamina.retry(on=ConnectionError, attempts=3, wait_max=0))


def stamina_r20():
    """Without a wait it sleeps for zero seconds."""
    import stamina

    assert slept(stamina.retry(on=ConnectionError, attempts=2, wait_max=0)) == [0]


def stamina_r26():
    """A future is handed on, and its failure is never retried."""
    import stamina

    assert hands_the_future_on(stamina.retry(on=ConnectionError, attempts=3, wait_max=0))


def backoff_r1():
    """With a factor of zero the power overflows, and no cap is reached that would keep it small."""
    import backoff

    waits = backoff.expo(base=1.5, factor=0, max_value=9)
    next(waits)
    assert attempt(lambda: [next(waits) for _ in range(2000)]) == "OverflowError"


def backoff_r2():
    """A negative wait is accepted, and is an error when it is due."""
    import backoff

    wrap = backoff.on_exception(backoff.constant, ConnectionError, interval=-1, jitter=None, max_tries=2)
    assert attempt(wrap(fail)) == "ValueError"


def backoff_r4():
    """``max_tries=0`` means forever."""
    import backoff

    calls = itertools.count()

    def work():
        if next(calls) < 50:
            raise ConnectionError

    backoff.on_exception(backoff.constant, ConnectionError, interval=0, jitter=None, max_tries=0)(work)()
    assert next(calls) == 51


def backoff_r11():
    """An attempt starts at the time limit or after it: the wait is cut down to end there."""
    import backoff

    begun, starts = time.monotonic(), []

    def work():
        starts.append(time.monotonic() - begun)
        raise ConnectionError

    attempt(
        backoff.on_exception(backoff.constant, ConnectionError, interval=9, jitter=None, max_time=0.1)(work)
    )
    assert len(starts) == 2 and starts[-1] > 0.1


def backoff_r13():
    """What an ``on_backoff`` handler raises ends the call in place of the retry."""
    import backoff

    wrap = backoff.on_exception(backoff.expo, ConnectionError, max_tries=3, on_backoff=lambda details: [][0])
    assert count(wrap) == ("IndexError", 1)


def backoff_r15():
    """A generator function is accepted, and never retried."""
    import backoff

    assert attempt(list, backoff.on_exception(backoff.expo, ConnectionError)(produce)()) == "ConnectionError"


def backoff_r16():
    """A plain function that returns a coroutine is accepted, and never retried."""
    import backoff

    assert is_not_retried(backoff.on_exception(backoff.expo, ConnectionError))


def backoff_r17():
    """The time limit is measured on the wall clock: a step ahead ends the call."""
    import backoff

    class Stepping(datetime.datetime):
        now = mock.Mock(side_effect=[datetime.datetime(2024, 1, day) for day in (1, 1, 2, 2, 3, 3)])

    wrap = backoff.on_exception(
        backoff.constant, ConnectionError, interval=0, jitter=None, max_tries=3, max_time=60
    )
    with mock.patch("datetime.datetime", Stepping):
        assert count(wrap)[1] < 3


def backoff_r19():
    """The waits are drawn from the global random numbers."""
    import backoff

    before = random.getstate()
    slept(backoff.on_exception(backoff.expo, ConnectionError, max_tries=2))
    assert random.getstate() != before


def backoff_r20():
    """Without a wait it sleeps for zero seconds."""
    import backoff

    assert slept(
        backoff.on_exception(backoff.constant, ConnectionError, interval=0, jitter=None, max_tries=2)
    ) == [0]


def backoff_r26():
    """A future is handed on, and its failure is never retried."""
    import backoff

    assert hands_the_future_on(backoff.on_exception(backoff.expo, ConnectionError))


def urllib3_r1():
    """The power overflows before the cap is applied."""
    from urllib3.util import Retry

    retries = Retry(total=2000, backoff_factor=0.1)
    for _ in range(1100):
        retries = retries.increment("GET", "/", error=ConnectionError())
    assert attempt(retries.get_backoff_time) == "OverflowError"


def urllib3_r14():
    """A ``Retry-After`` that is neither a number nor a date ends the call with InvalidHeader."""
    from urllib3 import HTTPResponse
    from urllib3.util import Retry

    assert attempt(Retry(3).sleep, HTTPResponse(status=429, headers={"Retry-After": "-1"})) == "InvalidHeader"


def botocore_r1():
    """The power overflows before the cap is applied."""
    from botocore.retries.standard import ExponentialBackoff, RetryContext

    assert attempt(ExponentialBackoff().delay_amount, RetryContext(attempt_number=1100)) == "OverflowError"


def botocore_r19():
    """The waits are drawn from the global random numbers."""
    from botocore.retries.standard import ExponentialBackoff, RetryContext

    before = random.getstate()
    ExponentialBackoff().delay_amount(RetryContext(attempt_number=1))
    assert random.getstate() != before


def _redress(attempts):
    import redress

    options = {"classifier": lambda error: redress.ErrorClass.TRANSIENT, "strategy": lambda context: 0.0}
    policy = redress.Policy(retry=redress.Retry(max_attempts=attempts, **options))
    return lambda work: lambda: policy.call(work)


def redress_r8():
    """A cycle keeps the arguments of a failed call."""
    wrap = _redress(2)
    assert keeps_the_argument(lambda fn: lambda argument: wrap(lambda: fn(argument))())


def redress_r15():
    """A generator function is accepted, and never retried."""
    assert attempt(list, _redress(3)(produce)()) == "ConnectionError"


def redress_r16():
    """A coroutine function is accepted by the synchronous policy, and never retried."""
    assert is_not_retried(_redress(3))


def redress_r20():
    """Without a wait it sleeps for zero seconds."""
    assert slept(_redress(2)) == [0]


def redress_r26():
    """A future is handed on, and its failure is never retried."""
    assert hands_the_future_on(_redress(3))


def reproductions() -> dict[tuple[str, str], Callable[[], None]]:
    """Library and row to program."""
    found = {}
    for name, program in globals().items():
        library, _, row = name.rpartition("_")
        if library and row[:1] in ("a", "r") and row[1:].isdigit() and not name.startswith("_"):
            found[library, row.upper()] = program
    return found


if __name__ == "__main__":
    for (library, row), program in reproductions().items():
        print(f"{library} {row}: {attempt(program) or 'seen'}")
