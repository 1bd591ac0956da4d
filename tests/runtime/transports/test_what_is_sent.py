"""What each attempt is sent with, and what is closed: seen by a transport in place of the network."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
import requests
import urllib3

from chaoskit.runtime import (
    AsyncRetryingTransport,
    Constant,
    RetryingAdapter,
    RetryingPool,
    RetryingTransport,
    RetryPolicy,
    VirtualClock,
    deadline,
)
from chaoskit.runtime.transports.exchange import cut, shorter

POLICY = RetryPolicy(on=Exception, wait=Constant(0), attempts=2)
URL = "http://localhost/"
LEFT = 2.0
"""Seconds until the deadline: of a virtual clock, so that they stay what they are."""


class Answer(httpx.Response):
    """An answer of httpx that knows whether it was closed."""

    closed = 0

    def close(self) -> None:
        self.closed += 1
        super().close()

    async def aclose(self) -> None:
        self.closed += 1
        await super().aclose()


class Inner(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Answers with 503 and then 200. Keeps what it was asked with, and what was still open then."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.answers: list[Answer] = []
        self.open_before: list[list[Answer]] = []
        self.closed = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(dict(request.extensions.get("timeout", {})))
        self.open_before.append([one for one in self.answers if not one.closed])
        self.answers.append(Answer(200 if self.answers else 503, stream=httpx.ByteStream(b"")))
        return self.answers[-1]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return self.handle_request(request)

    def close(self) -> None:
        self.closed += 1

    async def aclose(self) -> None:
        self.closed += 1


def ask_httpx(inner: Inner, timeout: Any) -> int:
    with httpx.Client(transport=RetryingTransport(POLICY, inner=inner), timeout=timeout) as client:
        return client.get(URL).status_code


def ask_async_httpx(inner: Inner, timeout: Any) -> int:
    async def run() -> int:
        transport = AsyncRetryingTransport(POLICY, inner=inner)
        async with httpx.AsyncClient(transport=transport, timeout=timeout) as client:
            return (await client.get(URL)).status_code

    return asyncio.run(run())


both_clients = pytest.mark.parametrize("ask", [ask_httpx, ask_async_httpx])


@both_clients
def test_each_attempt_of_httpx_is_cut_to_what_is_left(ask):
    """Every timeout of a client is cut to the deadline, one that is off as well, and no shorter one grows."""
    inner = Inner()
    with deadline(LEFT, clock=VirtualClock()):
        assert ask(inner, httpx.Timeout(5.0, connect=1.0, pool=None)) == 200
    assert inner.asked == [{"connect": 1.0, "read": LEFT, "write": LEFT, "pool": LEFT}] * 2


@both_clients
def test_without_a_deadline_the_clients_timeouts_stay(ask):
    """What the client was given is what is sent."""
    inner = Inner()
    assert ask(inner, httpx.Timeout(5.0, pool=None)) == 200
    assert inner.asked == [{"connect": 5.0, "read": 5.0, "write": 5.0, "pool": None}] * 2


@both_clients
def test_the_answer_of_a_failed_attempt_is_closed_and_so_is_the_transport_below(ask):
    """A connection goes back before the next attempt needs one; closing the client closes what sends."""
    inner = Inner()
    assert ask(inner, 5.0) == 200
    assert inner.open_before == [[], []]
    assert inner.closed == 1


def sent_by_requests(monkeypatch: pytest.MonkeyPatch, timeout: Any) -> list[Any]:
    asked: list[Any] = []

    def send(self: Any, request: Any, **given: Any) -> requests.Response:
        asked.append(given["timeout"])
        response = requests.Response()
        response.status_code, response.url, response.request = 200, URL, request
        return response

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", send)
    with requests.Session() as session:
        session.trust_env = False
        session.mount("http://", RetryingAdapter(POLICY))
        session.get(URL, timeout=timeout)
    return asked


@pytest.mark.parametrize(
    ("timeout", "sent"), [(5, LEFT), (1, 1), (None, LEFT), ((1, 5), (1, LEFT)), ((None, 1), (LEFT, 1))]
)
def test_an_attempt_of_requests_is_cut_to_what_is_left(monkeypatch, timeout, sent):
    """One number, a pair and none: each is what is left until the deadline, or shorter."""
    with deadline(LEFT, clock=VirtualClock()):
        assert sent_by_requests(monkeypatch, timeout) == [sent]
    assert sent_by_requests(monkeypatch, timeout) == [timeout]


class Closing:
    """Stands for an answer of urllib3."""

    def __init__(self, status: int) -> None:
        self.status, self.headers, self.closed = status, {}, 0

    def close(self) -> None:
        self.closed += 1


def sent_by_urllib3(
    monkeypatch: pytest.MonkeyPatch, **given: Any
) -> tuple[list[dict[str, Any]], list[Closing]]:
    asked: list[Any] = []
    answers = [Closing(503), Closing(200)]

    def urlopen(self: Any, method: str, url: str, redirect: bool = True, **kw: Any) -> Closing:
        asked.append(kw)
        return answers[len(asked) - 1]

    monkeypatch.setattr(urllib3.PoolManager, "urlopen", urlopen)
    with RetryingPool(POLICY) as pool:
        assert pool.urlopen("GET", URL, **given).status == 200
    return asked, answers


@pytest.mark.parametrize(("timeout", "sent"), [(5.0, LEFT), (1.0, 1.0), (None, LEFT)])
def test_an_attempt_of_urllib3_is_cut_to_what_is_left(monkeypatch, timeout, sent):
    """A number or none, for each attempt."""
    with deadline(LEFT, clock=VirtualClock()):
        asked, _ = sent_by_urllib3(monkeypatch, timeout=timeout)
    assert [one["timeout"] for one in asked] == [sent, sent]


def test_a_timeout_object_of_urllib3_keeps_its_parts(monkeypatch):
    """Its total is cut to the deadline; what it says of connecting and reading stays."""
    timeout = urllib3.Timeout(connect=1.0, read=5.0)
    with deadline(LEFT, clock=VirtualClock()):
        asked, _ = sent_by_urllib3(monkeypatch, timeout=timeout)
    sent = asked[0]["timeout"]
    assert (sent.total, sent.connect_timeout, sent._read) == (LEFT, 1.0, 5.0)
    asked, _ = sent_by_urllib3(monkeypatch, timeout=timeout)
    assert asked[0]["timeout"] is timeout


def test_urllib3_itself_retries_nothing_and_follows_ten_redirects(monkeypatch):
    """Its own retries would multiply ours; without a deadline it gets no timeout that it was not given."""
    asked, answers = sent_by_urllib3(monkeypatch)
    for one in asked:
        retries = one["retries"]
        assert (retries.connect, retries.read, retries.status, retries.other) == (0, 0, 0, 0)
        assert (retries.total, retries.redirect) == (None, 10)
        assert "timeout" not in one
    assert [one.closed for one in answers] == [1, 0]


@pytest.mark.parametrize("given", ["soon", (1, 2)])
def test_what_is_no_number_is_left_to_the_client(given):
    """Objects that a client has for it are neither compared nor replaced."""
    with deadline(LEFT, clock=VirtualClock()):
        assert shorter(given) is given


def test_a_pair_is_cut_part_by_part():
    """A tuple of timeouts stays one, with as many parts."""
    with deadline(LEFT, clock=VirtualClock()):
        assert cut((5, None, 1)) == (LEFT, LEFT, 1)
    assert cut((5, None)) == (5, None)
