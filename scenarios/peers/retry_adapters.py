"""Adapters that let the R rows drive other libraries' retries, used as their documents say."""

from __future__ import annotations

import datetime
import functools
import importlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest import mock

from chaoskit.contracts.retry import RetryPlan
from chaoskit.contracts.virtual import RecordingClock

Fn = Callable[..., Any]


class Peer:
    """What the adapters share: the clocks of the standard library run in virtual time."""

    name = ""
    features: frozenset[str] = frozenset()
    jitters: tuple[tuple[float, float], ...] = ((1.0, 1.0),)

    def __init__(self) -> None:
        self.clock = RecordingClock()

    @contextmanager
    def world(self) -> Iterator[RecordingClock]:
        self.clock = clock = RecordingClock()
        with (
            mock.patch.object(time, "sleep", clock.sleep),
            mock.patch.object(time, "monotonic", clock.monotonic),
            mock.patch.object(time, "time", clock.time),
        ):
            yield clock

    def errors(self) -> list[BaseException]:
        return []

    def awrap(self, fn: Fn, plan: RetryPlan) -> Fn:
        return self.wrap(fn, plan)

    def wrap(self, fn: Fn, plan: RetryPlan) -> Fn:
        raise NotImplementedError


class Tenacity(Peer):
    """``tenacity.retry`` with ``reraise=True``."""

    name = "tenacity"
    features = frozenset({"async", "chains", "deadline", "errors", "jitter", "listeners", "predicate"})
    jitters = ((1.0, 1.0), (0.0, 1.0))

    def wrap(self, fn: Fn, plan: RetryPlan) -> Fn:
        import tenacity as t

        stop: Any = t.stop_after_attempt(plan.attempts)
        if plan.deadline is not None:
            stop = stop | t.stop_before_delay(plan.deadline)
        condition: Any = t.retry_if_exception_type(plan.on)
        if plan.predicate is not None:
            condition = t.retry_if_exception(plan.predicate)
        if plan.through_causes:
            condition = t.retry_if_exception_cause_type(ConnectionError)
        options: dict[str, Any] = {
            "reraise": True,
            "stop": stop,
            "retry": condition,
            "wait": self._wait(t, plan),
        }
        if plan.listener is not None:
            listener = plan.listener
            options["before_sleep"] = lambda state: listener()
        return t.retry(**options)(fn)  # type: ignore[no-any-return]

    def _wait(self, t: Any, plan: RetryPlan) -> Any:
        if plan.jitter[0] == plan.jitter[1]:
            return t.wait_exponential(multiplier=plan.initial, max=plan.cap, exp_base=plan.factor)
        return t.wait_random_exponential(multiplier=plan.initial, max=plan.cap, exp_base=plan.factor)

    def errors(self) -> list[BaseException]:
        import tenacity as t

        try:
            t.retry(stop=t.stop_after_attempt(1))(_fails)()
        except t.RetryError as error:
            return [error]
        return []


class Stamina(Peer):
    """``stamina.retry``; its back-off is jittered by addition, so only the plain one is asked for."""

    name = "stamina"
    features = frozenset({"async", "deadline", "predicate", "listeners"})

    def wrap(self, fn: Fn, plan: RetryPlan) -> Fn:
        import stamina

        listener = plan.listener
        hooks = [] if listener is None else [lambda details: listener()]
        stamina.instrumentation.set_on_retry_hooks(hooks)
        decorator = stamina.retry(
            on=plan.on if plan.predicate is None else plan.predicate,
            attempts=plan.attempts,
            timeout=plan.deadline,
            wait_initial=plan.initial,
            wait_max=plan.cap,
            wait_jitter=0.0,
            wait_exp_base=plan.factor,
        )
        return decorator(fn)  # type: ignore[no-any-return]


class Backoff(Peer):
    """``backoff.on_exception`` with ``expo``; full jitter is its own ``full_jitter``."""

    name = "backoff"
    features = frozenset({"async", "deadline", "jitter", "listeners"})
    jitters = ((1.0, 1.0), (0.0, 1.0))

    @contextmanager
    def world(self) -> Iterator[RecordingClock]:
        with super().world() as clock:
            moment = lambda: datetime.datetime.fromtimestamp(clock.time())  # noqa: E731
            shim = SimpleNamespace(datetime=SimpleNamespace(now=moment), timedelta=datetime.timedelta)
            with mock.patch("backoff._sync.datetime", shim), mock.patch("backoff._async.datetime", shim):
                yield clock

    def wrap(self, fn: Fn, plan: RetryPlan) -> Fn:
        import backoff

        listener = plan.listener
        return backoff.on_exception(  # type: ignore[no-any-return]
            backoff.expo,
            plan.on,
            max_tries=plan.attempts,
            max_time=plan.deadline,
            jitter=None if plan.jitter[0] == plan.jitter[1] else backoff.full_jitter,
            on_backoff=[] if listener is None else (lambda details: listener()),
            logger=None,
            base=plan.factor,
            factor=plan.initial,
            max_value=plan.cap,
        )(fn)


class Urllib3(Peer):
    """``urllib3.Retry``, driven as its connection pool does."""

    name = "urllib3"
    features = frozenset({"errors", "retry-after"})

    def wrap(self, fn: Fn, plan: RetryPlan) -> Fn:
        from urllib3 import HTTPResponse
        from urllib3.util import Retry

        policy = Retry(
            total=plan.attempts - 1,
            backoff_factor=plan.initial,
            backoff_max=plan.cap,
            status_forcelist=[429],
        )

        @functools.wraps(fn)
        def call(*args: Any, **kwargs: Any) -> Any:
            retries = policy
            while True:
                try:
                    return fn(*args, **kwargs)
                except plan.on as error:
                    headers = getattr(getattr(error, "response", None), "headers", None)
                    response = None if headers is None else HTTPResponse(status=429, headers=headers)
                    retries = retries.increment(
                        "GET", "/", error=error if response is None else None, response=response
                    )
                    retries.sleep(response)

        return call

    def errors(self) -> list[BaseException]:
        from urllib3.exceptions import MaxRetryError, NameResolutionError, NewConnectionError

        pool: Any = None
        return [
            MaxRetryError(pool, "/", ConnectionError("x")),
            NewConnectionError(pool, "x"),
            NameResolutionError("h", pool, OSError("x")),
        ]  # type: ignore[arg-type]


class Botocore(Peer):
    """botocore's ``standard`` retries: its back-off and its limit of attempts."""

    name = "botocore"
    features = frozenset({"errors", "jitter"})
    jitters = ((0.0, 1.0),)

    def wrap(self, fn: Fn, plan: RetryPlan) -> Fn:
        from botocore.retries.standard import ExponentialBackoff, MaxAttemptsChecker, RetryContext

        wait = ExponentialBackoff(max_backoff=plan.cap)
        checker = MaxAttemptsChecker(max_attempts=plan.attempts)

        @functools.wraps(fn)
        def call(*args: Any, **kwargs: Any) -> Any:
            attempt = 0
            while True:
                attempt += 1
                try:
                    return fn(*args, **kwargs)
                except plan.on as error:
                    context = RetryContext(attempt_number=attempt, caught_exception=error)
                    if not checker.is_retryable(context):
                        raise
                    time.sleep(wait.delay_amount(context))

        return call

    def errors(self) -> list[BaseException]:
        from botocore.exceptions import ClientError, EndpointConnectionError

        return [ClientError({"Error": {"Code": "x"}}, "Get"), EndpointConnectionError(endpoint_url="u")]


class Redress(Peer):
    """``redress.Policy`` with a classifier that calls the plan's errors transient."""

    name = "redress"
    features = frozenset({"async", "deadline"})

    def _options(self, plan: RetryPlan) -> dict[str, Any]:
        import redress as r

        def classify(error: BaseException) -> Any:
            return r.ErrorClass.TRANSIENT if isinstance(error, plan.on) else r.ErrorClass.PERMANENT

        def wait(context: Any) -> float:
            return min(plan.cap, plan.initial * plan.factor ** min(context.attempt - 1, 100))

        deadline = 1e9 if plan.deadline is None else plan.deadline
        return {
            "classifier": classify,
            "strategy": wait,
            "max_attempts": plan.attempts,
            "deadline_s": deadline,
        }

    def wrap(self, fn: Fn, plan: RetryPlan) -> Fn:
        import redress as r

        policy = r.Policy(retry=r.Retry(**self._options(plan)))

        @functools.wraps(fn)
        def call(*args: Any, **kwargs: Any) -> Any:
            return policy.call(lambda: fn(*args, **kwargs))

        return call

    def awrap(self, fn: Fn, plan: RetryPlan) -> Fn:
        import redress as r

        policy = r.AsyncPolicy(retry=r.AsyncRetry(**self._options(plan)))

        @functools.wraps(fn)
        async def call(*args: Any, **kwargs: Any) -> Any:
            return await policy.call(lambda: fn(*args, **kwargs))

        return call


def _fails() -> None:
    raise ConnectionError("down")


PEERS: tuple[type[Peer], ...] = (Tenacity, Stamina, Backoff, Urllib3, Botocore, Redress)


def installed(kind: type[Peer]) -> bool:
    """Return True if the adapter's library can be imported."""
    try:
        importlib.import_module(kind.name)
    except ImportError:
        return False
    return True
