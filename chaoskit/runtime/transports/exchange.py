"""One HTTP request below a session: may it be sent again, and what was the outcome?

This module knows no client. The modules of the clients say how a request is sent, how its answer is closed
and which of the client's errors mean "not connected" and "timed out".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from chaoskit.core.errors import wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.breaker.breaker import CircuitBreaker
from chaoskit.runtime.calling.callables import synchronous
from chaoskit.runtime.deadlines import remaining
from chaoskit.runtime.failures.classifier import DEFAULT, Classifier
from chaoskit.runtime.failures.symptoms import Symptoms, links
from chaoskit.runtime.retrying.policy import RetryPolicy, retry

__all__ = ["IDEMPOTENT", "HttpExchange", "ExchangeFailed", "HttpRules", "cut", "http_rules", "shorter"]

# RFC 9110, 9.2.2: sending such a request several times has the effect of sending it once.
IDEMPOTENT = ("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE")

# These failures happen before a byte of the request is sent, so any method may be repeated.
_NEVER_SENT = frozenset(
    {
        "requests.exceptions.ConnectTimeout",
        "urllib3.exceptions.ConnectTimeoutError",
        "urllib3.exceptions.NewConnectionError",
        "urllib3.exceptions.EmptyPoolError",
        "httpx.ConnectError",
        "httpx.ConnectTimeout",
        "httpx.PoolTimeout",
    }
)
# These say that the server did not carry out the request (RFC 6585, 4; RFC 9110, 15.5.20; RFC 8470, 5.2). Not
# 503: a proxy also sends it when it has lost the answer.
_NOT_CARRIED_OUT = frozenset({421, 425, 429})


class ExchangeFailed(Exception):
    """An attempt failed, by an error (its cause) or by an answer that calls for another attempt.

    Only the policy sees it: the session gets the client's own error, or the answer.
    """

    def __init__(self, text: str, *, response: Any, error: Exception | None, may_repeat: bool) -> None:
        super().__init__(text)
        self.response, self.error, self.may_repeat = response, error, may_repeat
        self.__cause__ = error

    def outcome(self) -> Any:
        """Return the answer for the session, or raise the client's own error unchanged."""
        error, self.__cause__ = self.error, None
        if error is not None:
            raise error
        return self.response


@dataclass(frozen=True, slots=True)
class HttpRules:
    """How a transport treats failures: policy, breaker and classifier, and the methods that it repeats."""

    policy: RetryPolicy
    breaker: CircuitBreaker | Callable[[str], CircuitBreaker] | None
    classifier: Classifier
    repeat: frozenset[str]

    def may_repeat(self, method: str, headers: Mapping[str, Any]) -> bool:
        """Return True if sending the request twice has the same effect as sending it once."""
        # A header by which the service itself recognises a repeated operation.
        keyed = any(str(name).lower() == "idempotency-key" for name in headers)
        return keyed or method.upper() in self.repeat

    def guard(self, host: str) -> Any:
        """The context manager of the breaker for ``host``, put around an attempt."""
        breaker = self.breaker
        if breaker is None:
            return nullcontext()
        return (breaker if isinstance(breaker, CircuitBreaker) else breaker(host)).guard()


def http_rules(
    policy: RetryPolicy | None,
    breaker: CircuitBreaker | Callable[[str], CircuitBreaker] | None,
    classifier: Classifier | None,
    repeat: Iterable[str],
) -> HttpRules:
    """Build the rules from a transport's arguments.

    Raises:
        UsageError: a policy, breaker or classifier of a wrong type, or methods that are not names.
    """
    if policy is not None and not isinstance(policy, RetryPolicy):
        raise wrong("policy", policy, "a RetryPolicy, or None for three attempts")
    if breaker is not None and not isinstance(breaker, CircuitBreaker):
        expected = "a CircuitBreaker, or a function of the host that returns one"
        synchronous("breaker", kinds.able("breaker", breaker, expected, "__call__"))
    if not (classifier is None or isinstance(classifier, Classifier)):
        raise wrong("classifier", classifier, "a Classifier, or None for the built-in rules")
    methods = () if isinstance(repeat, str) or not isinstance(repeat, Iterable) else tuple(repeat)
    listed = isinstance(repeat, Iterable) and not isinstance(repeat, str)
    if not listed or not all(isinstance(one, str) and one.isalpha() for one in methods):
        raise wrong("repeat", repeat, "names of methods, such as ['GET', 'PUT']")
    mine = RetryPolicy(on=_repeatable) if policy is None else retry(policy, on=_repeatable)
    return HttpRules(mine, breaker, classifier or DEFAULT, frozenset(one.upper() for one in methods))


def _repeatable(error: BaseException) -> bool:
    return isinstance(error, ExchangeFailed) and error.may_repeat


@dataclass(frozen=True, slots=True)
class HttpExchange:
    """One request: its rules, method and host, and whether its body can be sent again."""

    rules: HttpRules
    method: str
    host: str
    headers: Mapping[str, Any]
    replayable: bool

    def carry(self, send: Callable[[], Any], again: Callable[[Any], None]) -> Any:
        """Send the request by ``send``, as often as rules and policy allow, and return the answer.

        Before each further attempt, ``again`` is called with the last answer, or None: it closes the answer,
        and sets the body back to its start. When the attempts are used up, the last answer is returned or the
        last error raised, as it would be without this.
        """
        tried = _Tried(self)

        def attempt() -> Any:
            if (before := tried.before()) is not None:
                again(before.response)
            answer, error = None, None
            with self.rules.guard(self.host):
                try:
                    answer = send()
                except Exception as caught:
                    error = caught
                tried.judge(answer, error)
            # Outside the guard: this is not a failure of the other side.
            if error is not None:
                raise error
            return answer

        try:
            return self.rules.policy.call(attempt)
        except ExchangeFailed as error:
            failed = error
        return failed.outcome()

    async def acarry(
        self, send: Callable[[], Awaitable[Any]], again: Callable[[Any], Awaitable[None]]
    ) -> Any:
        """The same as :meth:`carry`, for coroutine functions."""
        tried = _Tried(self)

        async def attempt() -> Any:
            if (before := tried.before()) is not None:
                await again(before.response)
            answer, error = None, None
            async with self.rules.guard(self.host):
                try:
                    answer = await send()
                except Exception as caught:
                    error = caught
                tried.judge(answer, error)
            # Outside the guard: this is not a failure of the other side.
            if error is not None:
                raise error
            return answer

        try:
            return await self.rules.policy.acall(attempt)
        except ExchangeFailed as error:
            failed = error
        return failed.outcome()

    def failure(self, error: Exception) -> ExchangeFailed | None:
        """The failure that an error of an attempt means; None if the other side did not fail."""
        if not self.rules.classifier.classify(error).retryable:
            return None
        safe = self.rules.may_repeat(self.method, self.headers) or _never_sent(error)
        return ExchangeFailed(
            f"{self.method} {self.host}: {type(error).__name__}",
            response=None,
            error=error,
            may_repeat=safe and self.replayable,
        )

    def refusal(self, response: Any) -> ExchangeFailed | None:
        """The failure that an answer means; None if the session gets the answer as it is."""
        status = int(getattr(response, "status_code", None) or response.status)
        if status < 400:
            return None
        failed = ExchangeFailed(
            f"{self.method} {self.host}: {status}", response=response, error=None, may_repeat=False
        )
        if not self.rules.classifier.classify(failed).retryable:
            return None
        safe = self.rules.may_repeat(self.method, self.headers) or status in _NOT_CARRIED_OUT
        failed.may_repeat = safe and self.replayable
        return failed


class _Tried:
    """The outcome of the last attempt at an exchange; the next attempt closes its answer."""

    def __init__(self, exchange: HttpExchange) -> None:
        self._exchange = exchange
        self._failed: list[ExchangeFailed] = []

    def before(self) -> ExchangeFailed | None:
        """Take the outcome of the previous attempt; None if there was none."""
        return self._failed.pop() if self._failed else None

    def judge(self, answer: Any, error: Exception | None) -> None:
        """Raise an outcome that calls for another attempt: inside the guard, where the breaker counts it."""
        failed = self._exchange.refusal(answer) if error is None else self._exchange.failure(error)
        if failed is not None:
            self._failed.append(failed)
            raise failed


def _never_sent(error: BaseException) -> bool:
    return any(not _NEVER_SENT.isdisjoint(Symptoms(link).type_names) for link in links(error))


def shorter(seconds: Any) -> Any:
    """A timeout in seconds (or None), reduced to the time that is left until the deadline."""
    left = remaining()
    if left is None or not (seconds is None or isinstance(seconds, int | float)):
        return seconds
    return left if seconds is None else min(seconds, left)


def cut(timeout: Any) -> Any:
    """The same for a pair of timeouts, one for connecting and one for reading."""
    if isinstance(timeout, tuple):
        return tuple(shorter(one) for one in timeout)
    return shorter(timeout)
