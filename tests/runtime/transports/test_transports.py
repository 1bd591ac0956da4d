"""Sessions of HTTP clients over a transport that retries: what is sent again, how often, and what is seen."""

from __future__ import annotations

import asyncio
import io
import pickle
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
import requests
import urllib3

from chaoskit.core.errors import UsageError
from chaoskit.runtime import (
    AsyncRetryingTransport,
    BreakerOpen,
    CircuitBreaker,
    Classifier,
    Constant,
    DeadlineExceeded,
    PermanentError,
    RetryingAdapter,
    RetryingPool,
    RetryingTransport,
    RetryPolicy,
    Rule,
    TransientError,
    VirtualClock,
    deadline,
)

BROKEN = "broken"
"""Instead of a status: the server closes the connection without an answer."""
HALF = "half"
"""The server closes it in the middle of the body."""


@dataclass
class Server:
    """Answers with what ``script`` has, the last of it again and again, and records what it was asked."""

    script: list[Any]
    seen: list[tuple[str, bytes]] = field(default_factory=list)
    url: str = ""

    def answer(self) -> tuple[Any, dict[str, str]]:
        one = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        return one if isinstance(one, tuple) else (one, {})


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    running = []

    def start(*script: Any) -> Server:
        server = Server(list(script))

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def reply(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                server.seen.append((self.command, body))
                status, headers = server.answer()
                if status == BROKEN:
                    self.close_connection = True
                    return
                self.send_response(200 if status == HALF else status)
                length = "9" if status == HALF else "2"
                for name, value in {**headers, "Content-Length": length, "Connection": "close"}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(b"ok" if self.command != "HEAD" else b"")

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_PATCH = reply

            def log_message(self, *args: Any) -> None:
                pass

        http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        server.url = f"http://127.0.0.1:{http.server_port}/"
        running.append((http, thread))
        return server

    yield start
    for http, thread in running:
        http.shutdown()
        http.server_close()
        thread.join()


def policy(**options: Any) -> RetryPolicy:
    return RetryPolicy(**{"on": Exception, "wait": Constant(0), **options})


class Requests:
    """One client as the tests see it: a status or an error."""

    errors = requests.RequestException
    unreachable, late = requests.ConnectionError, requests.ConnectTimeout

    @staticmethod
    def ask(url: str, method: str = "GET", headers: Any = None, body: Any = None, **options: Any) -> int:
        with requests.Session() as session:
            session.trust_env = False
            session.mount("http://", RetryingAdapter(**{"policy": policy(), **options}))
            return session.request(method, url, headers=headers, data=body, timeout=5).status_code


class Urllib3:
    errors = urllib3.exceptions.HTTPError
    unreachable, late = urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError

    @staticmethod
    def ask(url: str, method: str = "GET", headers: Any = None, body: Any = None, **options: Any) -> int:
        with RetryingPool(**{"policy": policy(), **options}) as pool:
            return pool.request(method, url, headers=headers, body=body, timeout=5.0).status


class Httpx:
    errors = httpx.HTTPError
    unreachable, late = httpx.ConnectError, httpx.ConnectTimeout

    @staticmethod
    def ask(url: str, method: str = "GET", headers: Any = None, body: Any = None, **options: Any) -> int:
        with httpx.Client(
            transport=RetryingTransport(**{"policy": policy(), **options}), trust_env=False
        ) as client:
            return client.request(method, url, headers=headers, content=body).status_code


class AsyncHttpx(Httpx):
    @staticmethod
    def ask(url: str, method: str = "GET", headers: Any = None, body: Any = None, **options: Any) -> int:
        async def run() -> int:
            transport = AsyncRetryingTransport(**{"policy": policy(), **options})
            async with httpx.AsyncClient(transport=transport, trust_env=False) as client:
                return (await client.request(method, url, headers=headers, content=body)).status_code

        return asyncio.run(run())


CLIENTS = [Requests, Urllib3, Httpx, AsyncHttpx]
every_client = pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.__name__)


@every_client
@pytest.mark.parametrize("first", [500, 502, 503, 504, 429, 408, BROKEN])
def test_a_failure_that_passes_is_not_seen(client, first, serve):
    """A GET that fails once and then works is one successful request to the session."""
    server = serve(first, 200)
    assert client.ask(server.url) == 200
    assert [method for method, _ in server.seen] == ["GET", "GET"]


@every_client
def test_the_last_answer_is_the_sessions(client, serve):
    """When the attempts are used up the session gets the answer, as it would without the transport."""
    server = serve(503)
    assert client.ask(server.url) == 503
    assert len(server.seen) == 3


@every_client
def test_the_last_error_is_the_clients(client, serve):
    """When the connection goes on breaking the caller sees the client's own error, and nothing of ours."""
    server = serve(BROKEN)
    with pytest.raises(client.errors) as caught:
        client.ask(server.url)
    assert len(server.seen) == 3
    chain = [caught.value, caught.value.__cause__, caught.value.__context__]
    assert all("ExchangeFailed" not in type(one).__name__ for one in chain)


@every_client
@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 501])
def test_an_answer_that_would_be_the_same_is_not_asked_for_again(client, status, serve):
    """What the client has to change is given to the session at once."""
    server = serve(status, 200)
    assert client.ask(server.url) == status
    assert len(server.seen) == 1


@every_client
@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize("first", [500, 502, 503, 504, BROKEN])
def test_what_may_have_been_carried_out_is_not_sent_twice(client, method, first, serve):
    """A POST or PATCH whose effect is not known is sent once."""
    server = serve(first, 200)
    if first == BROKEN:
        with pytest.raises(client.errors):
            client.ask(server.url, method, body=b"x")
    else:
        assert client.ask(server.url, method, body=b"x") == first
    assert len(server.seen) == 1


@every_client
@pytest.mark.parametrize("first", [429, 421, 425])
def test_what_was_certainly_not_carried_out_is_sent_again(client, first, serve):
    """A POST that the server says it has not taken is repeated, body and all."""
    server = serve(first, 200)
    assert client.ask(server.url, "POST", body=b"pay 5") == 200
    assert server.seen == [("POST", b"pay 5"), ("POST", b"pay 5")]


@every_client
def test_a_post_that_never_left_is_sent_again(client):
    """Refused connections are tried as often as the policy says, whatever the method."""
    calls = []

    def breaker_of(host: str) -> CircuitBreaker:
        calls.append(host)
        return CircuitBreaker(failures=100)

    with pytest.raises(client.errors):
        client.ask("http://127.0.0.1:1/", "POST", body=b"x", breaker=breaker_of)
    assert calls == ["127.0.0.1:1"] * 3


@every_client
def test_a_key_or_a_list_of_methods_makes_a_post_repeatable(client, serve):
    """An Idempotency-Key says that the service knows a repetition; ``repeat`` says it for all requests."""
    server = serve(503, 200)
    assert client.ask(server.url, "POST", headers={"Idempotency-Key": "7"}, body=b"x") == 200
    server = serve(503, 200)
    assert client.ask(server.url, "POST", body=b"x", repeat=["POST"]) == 200
    server = serve(503, 200)
    assert client.ask(server.url, "GET", repeat=[]) == 503


@pytest.mark.parametrize("client", [Requests, Urllib3])
def test_a_file_is_sent_from_its_start_again(client, serve):
    """A body that can be set back is set back to where it began."""
    server = serve(503, 200)
    body = io.BytesIO(b"skipped|content")
    body.read(8)
    assert client.ask(server.url, "PUT", body=body, headers={"Content-Length": "7"}) == 200
    assert server.seen == [("PUT", b"content"), ("PUT", b"content")]


@every_client
def test_a_body_that_can_be_read_once_is_sent_once(client, serve):
    """A generator is used up by the first attempt, so there is no second one."""
    if client is AsyncHttpx:

        async def parts() -> Any:
            yield b"x"

    else:

        def parts() -> Any:
            yield b"x"

    server = serve(503, 200)
    assert client.ask(server.url, "PUT", body=parts(), headers={"Content-Length": "1"}) == 503
    assert len(server.seen) == 1


@pytest.mark.parametrize("client", [Requests, Urllib3, Httpx])
def test_retry_after_is_obeyed(client, serve):
    """The wait between two attempts is what the answer asked for."""
    clock = VirtualClock()
    server = serve((429, {"Retry-After": "7"}), 200)
    assert client.ask(server.url, policy=policy(clock=clock)) == 200
    assert clock.monotonic() - VirtualClock().monotonic() == pytest.approx(7)


@every_client
def test_an_open_breaker_rejects_in_the_clients_words(client, serve):
    """The breaker counts each attempt; while it is open the session sees the client's own error."""
    server = serve(503)
    breaker = CircuitBreaker(failures=3)
    assert client.ask(server.url, breaker=breaker) == 503
    with pytest.raises(client.unreachable) as caught:
        client.ask(server.url, breaker=breaker)
    assert isinstance(caught.value.__cause__, BreakerOpen)
    assert len(server.seen) == 3


@every_client
def test_an_answer_that_is_no_failure_of_the_service_leaves_the_breaker_closed(client, serve):
    """A 404, and an address that is wrong, say nothing about the health of the other side."""
    breaker = CircuitBreaker(failures=1)
    assert client.ask(serve(404).url, breaker=breaker) == 404
    assert breaker.state == "closed"


@every_client
def test_a_failed_post_counts_for_the_breaker(client, serve):
    """What is not repeated is a failure of the service all the same."""
    breaker = CircuitBreaker(failures=1)
    assert client.ask(serve(500).url, "POST", body=b"x", breaker=breaker) == 500
    assert breaker.state == "open"


@pytest.mark.parametrize("client", [Requests, Urllib3, Httpx])
def test_a_passed_deadline_begins_nothing(client, serve):
    """A request after the deadline is not sent; the session sees the client's error for a time-out."""
    server = serve(200)
    with deadline(0), pytest.raises(client.late) as caught:
        client.ask(server.url)
    assert isinstance(caught.value.__cause__, DeadlineExceeded)
    assert server.seen == []


@every_client
def test_the_classifier_decides(client, serve):
    """A rule of the user's makes a status final."""
    final = Classifier([Rule(name="final", verdict=PermanentError, statuses=(503,))])
    server = serve(503, 200)
    assert client.ask(server.url, classifier=final) == 503
    assert len(server.seen) == 1


@pytest.mark.parametrize("client", [Requests, Urllib3])
def test_a_body_that_breaks_off_is_a_failed_attempt(client, serve):
    """What was not asked for as a stream is read within the attempt."""
    server = serve(HALF, 200)
    assert client.ask(server.url) == 200
    assert len(server.seen) == 2
    server = serve(HALF, 200)
    with pytest.raises(client.errors):
        client.ask(server.url, "POST", body=b"x")
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("retries", "requests_made"), [(None, 11), (2, 3), (urllib3.Retry(9, redirect=1), 2), (False, 1)]
)
def test_a_circle_of_redirects_is_gone_through_once(retries, requests_made, serve):
    """As far as the limit of the request, and the circle itself is not a failure that passes."""
    server = serve((302, {"Location": "/"}))
    with RetryingPool(policy()) as pool:
        if retries is False:
            assert pool.request("GET", server.url, retries=False).status == 302
        else:
            with pytest.raises(urllib3.exceptions.MaxRetryError, match="too many redirects"):
                pool.request("GET", server.url, retries=retries)
    assert len(server.seen) == requests_made


def test_a_redirect_belongs_to_the_attempt_that_met_it(serve):
    """urllib3 follows redirects from within: the attempts are not multiplied."""
    server = serve((302, {"Location": "/there"}), 503, (302, {"Location": "/there"}), 200)
    assert Urllib3.ask(server.url) == 200
    assert len(server.seen) == 4


def test_a_closed_session_has_no_connection_open_although_an_answer_is_kept():
    """Closing closes them; urllib3 alone waits until nothing refers to the answer any more."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        with requests.Session() as session:
            session.trust_env = False
            adapter = RetryingAdapter(policy())
            session.mount("http://", adapter)
            kept = session.get(f"http://127.0.0.1:{http.server_port}/")
            connection = kept.raw._pool.pool.queue[-1]
            assert connection.sock is not None
        assert connection.sock is None
        http.shutdown()
        thread.join()


def test_an_adapter_can_be_pickled():
    """A session with the adapter travels to another process, as requests' own do."""
    adapter = pickle.loads(pickle.dumps(RetryingAdapter(policy(attempts=7))))
    assert adapter._rules.policy.attempts == 7


@pytest.mark.parametrize("kind", [RetryingAdapter, RetryingPool, RetryingTransport, AsyncRetryingTransport])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"policy": 3}, "policy is 3"),
        ({"breaker": "x"}, "breaker is 'x'"),
        ({"classifier": "x"}, "classifier is 'x'"),
        ({"repeat": "GET"}, "repeat is 'GET'"),
        ({"repeat": ["GET /"]}, "repeat is"),
    ],
)
def test_what_cannot_be_is_refused(kind, options, message):
    """When the transport is made, not at the first request."""
    with pytest.raises(UsageError, match=message):
        kind(**options)


@every_client
def test_the_first_status_of_a_failure_is_four_hundred(client, serve):
    """A rule of the user's may say that even this one passes."""
    passes = Classifier([Rule(name="passes", verdict=TransientError, statuses=(400,))])
    server = serve(400, 200)
    assert client.ask(server.url, classifier=passes) == 200
    assert len(server.seen) == 2


def test_attempts_behind_a_redirect_are_not_multiplied(serve):
    """However often the place that it leads to fails."""
    there = (302, {"Location": "/there"})
    server = serve(there, 503, there, 503, there, 503)
    with RetryingPool(policy(attempts=3)) as pool:
        assert pool.request("GET", server.url).status == 503
    assert len(server.seen) == 6


def test_each_request_of_a_pool_has_its_attempts(serve):
    """Those after the first one as well."""
    server = serve(503, 200, 503, 200)
    with RetryingPool(policy()) as pool:
        assert [pool.request("GET", server.url).status for _ in range(2)] == [200, 200]
    assert len(server.seen) == 4
