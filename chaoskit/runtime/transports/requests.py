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
    """An adapter for ``session.mount("https://", RetryingAdapter())``: it protects every request.

    A request is sent again after a failure that the classifier calls retryable, as ``policy`` says (three
    attempts if None; its ``on`` is replaced), after ``Retry-After`` where the answer has one. Only methods in
    ``repeat`` are, and any request with an ``Idempotency-Key``; a POST is repeated where it was certainly not
    carried out: no connection came about, or the answer is 421, 425 or 429. A body that can be read only once
    is never sent again. The session sees the last answer, or requests' own error.

    ``breaker`` is asked before each attempt: one, or a function that returns the one for a host. Its
    rejection arrives as ``requests.ConnectionError`` with ``BreakerOpen`` as its cause. A deadline in force
    cuts the timeouts of each attempt; what it keeps from beginning is ``requests.ConnectTimeout``.

    What breaks while a body is read that was asked for with ``stream=True`` is past this, and the caller's.

    Raises:
        UsageError: for a policy, breaker or classifier of another type, and for methods other than names.
    """

    # What requests pickles.
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
        """Send the request, again if need be; called by the session."""
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
                # The session reads it next. Read here, a connection that breaks half-way is one more failed
                # attempt, and not an error that nothing repeats.
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
        """Close the connections that are not in use, also if an answer of one is kept somewhere."""
        # urllib3 2 closes those of a pool when nothing refers to it any more; each answer does, and so does
        # an error with a traceback through it, in a log record that some handler keeps.
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            for key in manager.pools.keys():  # noqa: SIM118 - it is not a mapping that could be iterated over
                pool = manager.pools.get(key)
                if pool is not None:
                    pool.close()
        super().close()


def _position(request: PreparedRequest) -> object:
    # Where requests has found the body to begin, for one that can be set back.
    return getattr(request, "_body_position", None)
