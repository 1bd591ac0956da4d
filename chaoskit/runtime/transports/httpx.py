"""Retry, breaker and deadline below a client of httpx, synchronous and asyncio."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from chaoskit.core.extras import missing as _missing_extra
from chaoskit.runtime import kinds
from chaoskit.runtime.breaker.breaker import CircuitBreaker
from chaoskit.runtime.failures.classifier import Classifier
from chaoskit.runtime.failures.taxonomy import BreakerOpen, DeadlineExceeded
from chaoskit.runtime.retrying.policy import RetryPolicy
from chaoskit.runtime.transports.exchange import IDEMPOTENT, HttpExchange, HttpRules, http_rules, shorter

try:
    from httpx import (
        AsyncBaseTransport,
        AsyncHTTPTransport,
        BaseTransport,
        ByteStream,
        ConnectError,
        ConnectTimeout,
        HTTPTransport,
        Request,
        Response,
    )
except ModuleNotFoundError as _error:
    raise _missing_extra(_error, "httpx", "httpx", "chaoskit.runtime.RetryingTransport") from None

__all__ = ["AsyncRetryingTransport", "RetryingTransport"]


class RetryingTransport(BaseTransport):
    """A transport for ``httpx.Client(transport=RetryingTransport())`` that protects every request.

    The same failures are repeated as by :class:`RetryingAdapter`; errors are httpx's. ``inner`` is the
    transport that sends, ``httpx.HTTPTransport()`` if None. A breaker's rejection arrives as
    ``httpx.ConnectError``, a passed deadline as ``httpx.ConnectTimeout``, each with the runtime's error as
    its cause.

    Raises:
        UsageError: a policy, breaker or classifier of a wrong type, or methods that are not names.
    """

    def __init__(
        self,
        policy: RetryPolicy | None = None,
        *,
        inner: BaseTransport | None = None,
        breaker: CircuitBreaker | Callable[[str], CircuitBreaker] | None = None,
        classifier: Classifier | None = None,
        repeat: Iterable[str] = IDEMPOTENT,
    ) -> None:
        self._rules = http_rules(policy, breaker, classifier, repeat)
        kinds.able("inner", inner, "a transport of httpx", "handle_request", "close", optional=True)
        self._inner = HTTPTransport() if inner is None else inner

    def handle_request(self, request: Request) -> Response:
        """Send the request, repeatedly if necessary; called by the client."""
        asked = request.extensions.get("timeout")

        def send() -> Response:
            return self._inner.handle_request(_timed(request, asked))

        def again(answer: Response | None) -> None:
            if answer is not None:
                answer.close()

        with _translated(request):
            response: Response = _exchange(self._rules, request).carry(send, again)
        return response

    def close(self) -> None:
        """Close the inner transport."""
        self._inner.close()


class AsyncRetryingTransport(AsyncBaseTransport):
    """The same as :class:`RetryingTransport`, for ``httpx.AsyncClient``.

    Raises:
        UsageError: a policy, breaker or classifier of a wrong type, or methods that are not names.
    """

    def __init__(
        self,
        policy: RetryPolicy | None = None,
        *,
        inner: AsyncBaseTransport | None = None,
        breaker: CircuitBreaker | Callable[[str], CircuitBreaker] | None = None,
        classifier: Classifier | None = None,
        repeat: Iterable[str] = IDEMPOTENT,
    ) -> None:
        self._rules = http_rules(policy, breaker, classifier, repeat)
        kinds.instance("inner", inner, AsyncBaseTransport, optional=True)
        self._inner = AsyncHTTPTransport() if inner is None else inner

    async def handle_async_request(self, request: Request) -> Response:
        """Send the request, repeatedly if necessary; called by the client."""
        asked = request.extensions.get("timeout")

        async def send() -> Response:
            return await self._inner.handle_async_request(_timed(request, asked))

        async def again(answer: Response | None) -> None:
            if answer is not None:
                await answer.aclose()

        with _translated(request):
            response: Response = await _exchange(self._rules, request).acarry(send, again)
        return response

    async def aclose(self) -> None:
        """Close the inner transport."""
        await self._inner.aclose()


def _exchange(rules: HttpRules, request: Request) -> HttpExchange:
    # Bytes in memory can be sent again; a stream is consumed as it is sent.
    replayable = isinstance(request.stream, ByteStream)
    return HttpExchange(
        rules, request.method, request.url.netloc.decode("ascii"), request.headers, replayable
    )


def _timed(request: Request, asked: Any) -> Request:
    """The request with its timeouts reduced to the time that is left until the deadline."""
    if isinstance(asked, dict):
        timeout = {name: shorter(seconds) for name, seconds in asked.items()}
        request.extensions = {**request.extensions, "timeout": timeout}
    return request


@contextmanager
def _translated(request: Request) -> Iterator[None]:
    try:
        yield
    except BreakerOpen as rejected:
        raise ConnectError(str(rejected), request=request) from rejected
    except DeadlineExceeded as late:
        raise ConnectTimeout(str(late), request=request) from late
