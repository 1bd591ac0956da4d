"""Retry, breaker and deadline below a session of requests."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

from chaoskit.core.extras import missing as _missing_extra
from chaoskit.runtime.breaker.breaker import CircuitBreaker
from chaoskit.runtime.failures.classifier import Classifier
from chaoskit.runtime.failures.taxonomy import BreakerOpen, DeadlineExceeded
from chaoskit.runtime.retrying.policy import RetryPolicy
from chaoskit.runtime.transports.exchange import IDEMPOTENT, HttpExchange, cut, http_rules

try:
    from requests import PreparedRequest, Response
    from requests.adapters import HTTPAdapter
    from requests.exceptions import ConnectionError as NoConnection
    from requests.exceptions import ConnectTimeout
    from requests.utils import rewind_body
except ModuleNotFoundError as _error:
    raise _missing_extra(_error, "requests", "requests", "chaoskit.runtime.RetryingAdapter") from None

__all__ = ["RetryingAdapter"]


class RetryingAdapter(HTTPAdapter):
    """An adapter for ``session.mount("https://", RetryingAdapter())`` that protects every request.

    A request is sent again after a failure that the classifier calls retryable, as ``policy`` says (three
    attempts if None; its ``on`` is replaced), and not before ``Retry-After``. Only requests with a method in
    ``repeat`` or an ``Idempotency-Key`` are repeated; a POST is repeated only if it was certainly not carried
    out: no connection was made, or the answer is 421, 425 or 429. A body that can be read only once is never
    sent again. The session gets the last answer, or requests' own error.

    ``breaker`` is asked before each attempt: a breaker, or a function that returns the one for a host. Its
    rejection arrives as ``requests.ConnectionError`` with ``BreakerOpen`` as its cause. A deadline in force
    reduces the timeouts of each attempt; an attempt that it prevents raises ``requests.ConnectTimeout``.

    With ``stream=True`` the caller reads the body, and gets the errors of that unprotected.

    Raises:
        UsageError: a policy, breaker or classifier of a wrong type, or methods that are not names.
    """

    # The attributes that requests pickles.
    __attrs__ = [*HTTPAdapter.__attrs__, "_rules"]  # noqa: RUF012

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
        super().__init__(**pool)

    def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
        """Send the request, repeatedly if necessary; called by the session."""
        given = dict(zip(("stream", "timeout", "verify", "cert", "proxies"), args, strict=False)) | kwargs
        body = request.body
        exchange = HttpExchange(
            self._rules,
            request.method or "GET",
            urlsplit(request.url or "").netloc,
            request.headers,
            body is None or isinstance(body, str | bytes) or isinstance(_position(request), int),
        )

        def send() -> Response:
            answer = HTTPAdapter.send(self, request, **{**given, "timeout": cut(given.get("timeout"))})
            if not given.get("stream"):
                # The session reads the body next. Reading it here makes a connection that breaks half-way one
                # more failed attempt, instead of an error that is never repeated.
                _ = answer.content
            return answer

        def again(answer: Response | None) -> None:
            if answer is not None:
                answer.close()
            if isinstance(_position(request), int):
                rewind_body(request)

        try:
            response: Response = exchange.carry(send, again)
        except BreakerOpen as rejected:
            raise NoConnection(str(rejected), request=request) from rejected
        except DeadlineExceeded as late:
            raise ConnectTimeout(str(late), request=request) from late
        return response

    def close(self) -> None:
        """Close the idle connections, even if one of their answers is still referenced."""
        # urllib3 2 closes the connections of a pool when the last reference to it is gone; but every answer
        # has one, and so has an error whose traceback a log handler keeps.
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            for key in manager.pools.keys():  # noqa: SIM118 - it is not a mapping that could be iterated over
                pool = manager.pools.get(key)
                if pool is not None:
                    pool.close()
        super().close()


def _position(request: PreparedRequest) -> object:
    # The position where the body began, recorded by requests if it can be set back.
    return getattr(request, "_body_position", None)
