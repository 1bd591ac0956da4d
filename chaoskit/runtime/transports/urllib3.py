"""Retry, breaker and deadline in a pool manager of urllib3."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

from chaoskit.core.extras import missing as _missing_extra
from chaoskit.runtime.breaker.breaker import CircuitBreaker
from chaoskit.runtime.failures.classifier import Classifier
from chaoskit.runtime.failures.taxonomy import BreakerOpen, DeadlineExceeded
from chaoskit.runtime.retrying.policy import RetryPolicy
from chaoskit.runtime.transports.exchange import IDEMPOTENT, HttpExchange, http_rules, shorter

try:
    from urllib3 import BaseHTTPResponse, PoolManager, Retry, Timeout
    from urllib3.exceptions import ConnectTimeoutError, NewConnectionError
except ModuleNotFoundError as _error:
    raise _missing_extra(_error, "urllib3", "urllib3", "chaoskit.runtime.RetryingPool") from None

__all__ = ["RetryingPool"]


class RetryingPool(PoolManager):
    """A ``urllib3.PoolManager`` whose requests are protected like those of :class:`RetryingAdapter`.

    urllib3's own retries are off, except for redirects: of a request's ``retries`` only their limit counts,
    ten by default. A breaker's rejection arrives as urllib3's ``NewConnectionError``, a passed deadline as
    ``ConnectTimeoutError``.

    Raises:
        UsageError: a policy, breaker or classifier of a wrong type, or methods that are not names.
    """

    def __init__(
        self,
        policy: RetryPolicy | None = None,
        *,
        breaker: CircuitBreaker | Callable[[str], CircuitBreaker] | None = None,
        classifier: Classifier | None = None,
        repeat: Iterable[str] = IDEMPOTENT,
        **pool: Any,
    ) -> None:
        self._rules = http_rules(policy, breaker, classifier, repeat)
        # urllib3 follows a redirect with a nested call, which belongs to the attempt that met it.
        self._within = threading.local()
        super().__init__(**pool)

    # Declared as in PoolManager, which differs from its base in the same way.
    def urlopen(  # type: ignore[override]
        self, method: str, url: str, redirect: bool = True, **kw: Any
    ) -> BaseHTTPResponse:
        """Send a request, repeatedly if necessary."""
        if getattr(self._within, "now", False):
            return super().urlopen(method, url, redirect, **kw)
        body, headers = kw.get("body"), kw.get("headers") or self.headers
        place = body.tell() if body is not None and hasattr(body, "seek") else None
        exchange = HttpExchange(
            self._rules,
            method,
            urlsplit(url).netloc,
            headers,
            body is None or isinstance(body, str | bytes) or place is not None,
        )
        kw["retries"] = _redirects_only(kw.get("retries"))
        asked = kw.pop("timeout", None)

        def send() -> BaseHTTPResponse:
            self._within.now = True
            try:
                return PoolManager.urlopen(self, method, url, redirect, **_timed(kw, asked))
            finally:
                self._within.now = False

        def again(answer: BaseHTTPResponse | None) -> None:
            if answer is not None:
                answer.close()
            if place is not None and body is not None:
                body.seek(place)

        try:
            response: BaseHTTPResponse = exchange.carry(send, again)
        except BreakerOpen as rejected:
            raise NewConnectionError(self, str(rejected)) from rejected  # type: ignore[arg-type]
        except DeadlineExceeded as late:
            raise ConnectTimeoutError(self, str(late)) from late
        return response


def _redirects_only(asked: Any) -> Retry:
    """urllib3's retries turned off, except for redirects: as many as ``asked`` allows, ten if it is None."""
    given = Retry(redirect=10) if asked is None else Retry.from_int(asked)
    most = given.total if given.redirect is None else given.redirect
    return given.new(total=None, connect=0, read=0, status=0, other=0, redirect=most)


def _timed(kw: dict[str, Any], asked: Any) -> dict[str, Any]:
    """The arguments of one attempt, with the timeout reduced to the time that is left until the deadline."""
    if isinstance(asked, Timeout):
        left = shorter(None)
        cut = (
            asked
            if left is None
            else Timeout(shorter(asked.total), asked.connect_timeout, asked.read_timeout)
        )
    else:
        cut = shorter(asked)
    return kw if cut is None else {**kw, "timeout": cut}
