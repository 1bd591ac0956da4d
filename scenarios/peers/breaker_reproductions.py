"""The shortest programs that show each row that fails for a circuit breaker of another library.

Each function needs the library and the standard library alone, and asserts what is seen, so that it
passes as long as the library behaves so. Run the file to run them all.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

# ruff: noqa: PT018
# mypy: ignore-errors


def fail(*_):
    raise ConnectionError("down")


def attempt(call, *args):
    try:
        return call(*args)
    except BaseException as error:
        return type(error).__name__


def pybreaker_b1():
    """The call that trips raises CircuitBreakerError (``throw_new_error_on_trip=False`` fixes it)."""
    import pybreaker

    breaker = pybreaker.CircuitBreaker(fail_max=1)
    assert attempt(breaker.call, fail) == "CircuitBreakerError"


def pybreaker_b2():
    """Beside a probe the next caller is not rejected: it waits until the probe is back."""
    import pybreaker

    breaker = pybreaker.CircuitBreaker(fail_max=1, reset_timeout=0)
    attempt(breaker.call, fail)
    probe = threading.Thread(target=breaker.call, args=(time.sleep, 0.5))
    probe.start()
    time.sleep(0.1)
    started = time.monotonic()
    attempt(breaker.call, lambda: None)
    assert time.monotonic() - started > 0.3
    probe.join()


def pybreaker_b3():
    """Two calls of a healthy service of 0.2 s each take 0.4 s: one waits for the other."""
    import pybreaker

    breaker = pybreaker.CircuitBreaker()
    started = time.monotonic()
    calls = [threading.Thread(target=breaker.call, args=(time.sleep, 0.2)) for _ in range(2)]
    for call in calls:
        call.start()
    for call in calls:
        call.join()
    assert time.monotonic() - started > 0.38


def pybreaker_b4():
    """An excluded error resets the count: a failure on each side of it never opens a breaker of two."""
    import pybreaker

    breaker = pybreaker.CircuitBreaker(fail_max=2, exclude=[KeyError])
    attempt(breaker.call, fail)
    attempt(breaker.call, {}.__getitem__, "missing")
    attempt(breaker.call, fail)
    assert breaker.current_state == "closed"


def pybreaker_b5():
    """Ctrl-C counts as a failure of the service."""
    import pybreaker

    def interrupted():
        raise KeyboardInterrupt

    breaker = pybreaker.CircuitBreaker(fail_max=1)
    attempt(breaker.call, interrupted)
    assert breaker.current_state == "open"


def pybreaker_b6():
    """A call begun before the breaker opened and closed again resets the count when it comes back.

    Calls of several threads do not overlap (see B3), so it takes a nested call to see it.
    """
    import pybreaker

    breaker = pybreaker.CircuitBreaker(fail_max=2, reset_timeout=0)

    def early():
        attempt(breaker.call, fail)
        attempt(breaker.call, fail)
        breaker.call(lambda: None)
        attempt(breaker.call, fail)

    breaker.call(early)
    assert breaker.fail_counter == 0


def pybreaker_b7():
    """A probe that hangs keeps every caller waiting (``reset_timeout`` is long over)."""
    import pybreaker

    breaker = pybreaker.CircuitBreaker(fail_max=1, reset_timeout=0)
    attempt(breaker.call, fail)
    hang = threading.Event()
    threading.Thread(target=breaker.call, args=(hang.wait,), daemon=True).start()
    time.sleep(0.1)
    other = threading.Thread(target=attempt, args=(breaker.call, lambda: None), daemon=True)
    other.start()
    other.join(1.0)
    assert other.is_alive()
    hang.set()


def pybreaker_b8():
    """The open period of a day ends when the wall clock is set ahead by a day."""
    from datetime import datetime, timedelta
    from unittest.mock import patch

    import pybreaker

    breaker = pybreaker.CircuitBreaker(fail_max=1, reset_timeout=86400)
    attempt(breaker.call, fail)
    with patch("pybreaker.datetime") as stepped:
        stepped.now = lambda tz: datetime.now(tz) + timedelta(days=1)
        assert breaker.call(lambda: "let through") == "let through"


def pybreaker_b10():
    """The caller gets the listener's error and loses the call's."""
    import pybreaker

    class Listener(pybreaker.CircuitBreakerListener):
        def state_change(self, cb, old, new):
            raise RuntimeError("the listener's own trouble")

    breaker = pybreaker.CircuitBreaker(fail_max=1, listeners=[Listener()])
    assert attempt(breaker.call, fail) == "RuntimeError"


def pybreaker_b11():
    """Excluding a class with a metaclass excludes every error."""
    import abc

    import pybreaker

    class Abstract(Exception, metaclass=abc.ABCMeta):
        pass

    breaker = pybreaker.CircuitBreaker(fail_max=1, exclude=[Abstract])
    attempt(breaker.call, fail)
    assert breaker.current_state == "closed"


def pybreaker_b14():
    """One healthy call reads the storage several times, and what the storage raises reaches the caller."""
    import pybreaker

    reads = []

    class Storage(pybreaker.CircuitMemoryStorage):
        @property
        def state(self):
            reads.append(1)
            if len(reads) > 10:
                raise OSError("the store is down")
            return "closed"

    breaker = pybreaker.CircuitBreaker(state_storage=Storage("closed"))
    before = len(reads)
    breaker.call(lambda: None)
    assert len(reads) > before
    assert "OSError" in [attempt(breaker.call, lambda: None) for _ in range(10)]


def pybreaker_b15():
    """A child forked while another thread is in a call hangs at its own first call."""
    import pybreaker

    breaker = pybreaker.CircuitBreaker()
    hang = threading.Event()
    threading.Thread(target=breaker.call, args=(hang.wait,), daemon=True).start()
    time.sleep(0.1)
    assert hangs_in_child(lambda: breaker.call(lambda: None))
    hang.set()


def circuitbreaker_b2():
    """In half-open every caller is let through, not one."""
    import circuitbreaker

    breaker = circuitbreaker.CircuitBreaker(failure_threshold=1, recovery_timeout=1)
    attempt(breaker(fail))
    time.sleep(1.1)
    together = threading.Barrier(5, timeout=5)
    got = []
    calls = [threading.Thread(target=lambda: got.append(breaker(together.wait)())) for _ in range(5)]
    for call in calls:
        call.start()
    for call in calls:
        call.join()
    assert len(got) == 5


def circuitbreaker_b4():
    """An error that is not expected resets the count."""
    import circuitbreaker

    breaker = circuitbreaker.CircuitBreaker(failure_threshold=2, expected_exception=ConnectionError)
    for backend in (fail, lambda: {}["missing"], fail):
        attempt(breaker(backend))
    assert breaker.state == "closed"


def circuitbreaker_b5():
    """Ctrl-C in the half-open probe closes the breaker."""
    import circuitbreaker

    def interrupted():
        raise KeyboardInterrupt

    breaker = circuitbreaker.CircuitBreaker(failure_threshold=1, recovery_timeout=1)
    attempt(breaker(fail))
    time.sleep(1.1)
    attempt(breaker(interrupted))
    assert breaker.state == "closed"


def circuitbreaker_b6():
    """A call that began before the breaker opened closes it when it comes back."""
    import circuitbreaker

    breaker = circuitbreaker.CircuitBreaker(failure_threshold=1)
    hang = threading.Event()
    early = threading.Thread(target=breaker(hang.wait))
    early.start()
    attempt(breaker(fail))
    assert breaker.state == "open"
    hang.set()
    early.join()
    assert breaker.state == "closed"


def circuitbreaker_b9():
    """A failure threshold of zero becomes five, and a recovery timeout of zero becomes thirty seconds."""
    import circuitbreaker

    breaker = circuitbreaker.CircuitBreaker(failure_threshold=0, recovery_timeout=0)
    for _ in range(4):
        attempt(breaker(fail))
    assert breaker.state == "closed"
    attempt(breaker(fail))
    assert breaker.state == "open" and breaker.open_remaining == 30


def aiobreaker_b1():
    """The call that trips raises CircuitBreakerError; there is no setting against it."""
    import aiobreaker

    breaker = aiobreaker.CircuitBreaker(fail_max=1)
    assert attempt(breaker.call, fail) == "CircuitBreakerError"


def aiobreaker_b2():
    """In half-open every caller is let through, not one."""
    from datetime import timedelta

    import aiobreaker

    breaker = aiobreaker.CircuitBreaker(fail_max=1, timeout_duration=timedelta(microseconds=1))
    attempt(breaker.call, fail)
    time.sleep(0.01)
    together = threading.Barrier(5, timeout=5)
    got = []
    calls = [threading.Thread(target=lambda: got.append(breaker.call(together.wait))) for _ in range(5)]
    for call in calls:
        call.start()
    for call in calls:
        call.join()
    assert len(got) == 5


def aiobreaker_b4():
    """An excluded error resets the count."""
    import aiobreaker

    breaker = aiobreaker.CircuitBreaker(fail_max=2, exclude=[KeyError])
    attempt(breaker.call, fail)
    attempt(breaker.call, {}.__getitem__, "missing")
    attempt(breaker.call, fail)
    assert breaker.current_state.name == "CLOSED"


def aiobreaker_b6():
    """A call that began earlier resets the count of failures that came after it began."""
    import aiobreaker

    breaker = aiobreaker.CircuitBreaker(fail_max=2)
    hang = threading.Event()
    early = threading.Thread(target=breaker.call, args=(hang.wait,))
    early.start()
    attempt(breaker.call, fail)
    breaker.open()
    breaker.close()
    attempt(breaker.call, fail)
    hang.set()
    early.join()
    assert breaker.fail_counter == 0


def aiobreaker_b8():
    """The open period of a day ends when the wall clock is set ahead by a day."""
    from datetime import UTC, datetime, timedelta
    from unittest.mock import patch

    import aiobreaker

    day = timedelta(days=1)
    now = datetime.now(UTC).replace(tzinfo=None)
    with patch("aiobreaker.circuitbreaker.datetime") as clock, patch("aiobreaker.state.datetime") as other:
        clock.utcnow = other.utcnow = lambda: now
        breaker = aiobreaker.CircuitBreaker(fail_max=1, timeout_duration=day)
        attempt(breaker.call, fail)
        clock.utcnow = other.utcnow = lambda: now + day
        assert breaker.call(lambda: "let through") == "let through"


def aiobreaker_b9():
    """An open period of zero becomes sixty seconds."""
    from datetime import timedelta

    import aiobreaker

    breaker = aiobreaker.CircuitBreaker(timeout_duration=timedelta(0))
    assert breaker.timeout_duration == timedelta(seconds=60)


def aiobreaker_b10():
    """The caller gets the listener's error and loses the call's."""
    import aiobreaker

    class Listener(aiobreaker.CircuitBreakerListener):
        def failure(self, breaker, exception):
            raise RuntimeError("the listener's own trouble")

    breaker = aiobreaker.CircuitBreaker(listeners=[Listener()])
    assert attempt(breaker.call, fail) == "RuntimeError"


def aiobreaker_b11():
    """Excluding a class with a metaclass excludes every error."""
    import abc

    import aiobreaker

    class Abstract(Exception, metaclass=abc.ABCMeta):
        pass

    breaker = aiobreaker.CircuitBreaker(fail_max=1, exclude=[Abstract])
    attempt(breaker.call, fail)
    assert breaker.current_state.name == "CLOSED"


def aiobreaker_b14():
    """One healthy call reads the storage, and what the storage raises reaches the caller."""
    import aiobreaker
    from aiobreaker.storage.memory import CircuitMemoryStorage

    reads = []

    class Storage(CircuitMemoryStorage):
        @property
        def state(self):
            reads.append(1)
            if len(reads) > 10:
                raise OSError("the store is down")
            return aiobreaker.CircuitBreakerState.CLOSED

    breaker = aiobreaker.CircuitBreaker(state_storage=Storage(aiobreaker.CircuitBreakerState.CLOSED))
    before = len(reads)
    breaker.call(lambda: None)
    assert len(reads) > before
    assert "OSError" in [attempt(breaker.call, lambda: None) for _ in range(10)]


def interlock_b4():
    """An error that the classifier does not count as a failure counts as a success: it thins the rate out."""
    import interlock

    class OnlyDown:
        def is_failure(self, *, result, exception):
            return isinstance(exception, ConnectionError)

    config = interlock.Config(failure_rate_threshold=1.0, window_size=2, minimum_number_of_calls=2)
    breaker = interlock.CircuitBreaker(name="x", config=config, classifier=OnlyDown())
    for backend in (fail, lambda: {}["missing"], fail):
        attempt(breaker.call, backend)
    assert breaker.state == "closed"


def interlock_b7():
    """A probe that hangs keeps half-open for good: an hour later, every other call is still rejected."""
    import interlock

    class Clock:
        now = 0.0

        def monotonic(self):
            return self.now

    clock = Clock()
    config = interlock.Config(window_size=1, minimum_number_of_calls=1, permitted_calls_in_half_open=1)
    breaker = interlock.CircuitBreaker(name="x", config=config, clock=clock)
    attempt(breaker.call, fail)
    clock.now += 60
    hang = threading.Event()
    threading.Thread(target=breaker.call, args=(hang.wait,), daemon=True).start()
    time.sleep(0.1)
    clock.now += 3600
    assert attempt(breaker.call, lambda: None) == "CircuitOpenError"
    hang.set()


def interlock_b15():
    """Of children forked while another thread makes calls, some hang at their own first call."""
    import interlock

    breaker = interlock.CircuitBreaker(name="x")
    stop = threading.Event()

    def busy():
        while not stop.is_set():
            breaker.call(lambda: None)

    threads = [threading.Thread(target=busy) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        assert any(hangs_in_child(lambda: breaker.call(lambda: None)) for _ in range(500))
    finally:
        stop.set()


def hangs_in_child(call, seconds=0.5):
    """Return True if ``call`` hangs in a forked child."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            call()
        finally:
            os._exit(0)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if os.waitpid(child, os.WNOHANG)[0]:
            return False
        time.sleep(0.0005)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return True


def reproductions() -> dict[tuple[str, str], Callable[[], None]]:
    """All of them, by library and row."""
    found = {}
    for name, value in globals().items():
        library, _, row = name.rpartition("_b")
        if library and row.isdigit():
            found[library, f"B{row}"] = value
    return found


if __name__ == "__main__":
    for (library, row), program in reproductions().items():
        program()
        print(f"{library} {row}: {program.__doc__.splitlines()[0]}")
