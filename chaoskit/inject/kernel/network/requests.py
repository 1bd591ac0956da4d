"""HTTP/1.1 in clear text: each request with its answer is one operation."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from chaoskit.core.operation import Bytes, NetworkDetail
from chaoskit.faults.traffic import Answered, AwsError, KilledAt, Spoilt, Twice, Unsent
from chaoskit.inject import http, made
from chaoskit.inject.base import PeerRequest
from chaoskit.inject.kernel.border import Happening
from chaoskit.inject.kernel.network.ahead import Ahead
from chaoskit.inject.kernel.network.answering import OF_STREAMS, Answering, stopped
from chaoskit.inject.kernel.network.connection import KEPT, Connection
from chaoskit.inject.kernel.network.ghost import Ghost

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class _HttpRequest:
    """A request, from its head to the end of its answer."""

    def __init__(self, connection: Connection, head: http.Head, raw: bytes) -> None:
        self.connection = connection
        self.method, self.path = http.request_line(head)
        self.body = http.request_body(head, KEPT)
        self.expects = head.get(b"expect").lower() == b"100-continue"
        self.raw = bytearray()
        self.sent = self.received = self.head = self.status = 0
        self.kind = ""
        self.answer_head: http.Head | None = None
        self.answer_body: http.Body | None = None
        self.answer_raw = bytearray()
        detail = NetworkDetail(connection.peer, method=self.method, path=self.path)
        target = f"{connection.peer},{self.method},{self.path}"
        self.happening: Happening = connection.begin("http", target, detail)
        self.shape = self.happening.shape
        self.answering = None if self.shape is None else Answering(connection, self.happening)
        self.stopped = False

    @property
    def interim(self) -> bool:
        """True if the present answer is only an interim one (RFC 9110, 15.2)."""
        return 100 <= self.status < 200 and self.status != 101

    @property
    def collected(self) -> bool:
        """True if the request is kept until it is complete."""
        # The most likely case first: of a thousand requests one is struck.
        if self.shape is None:
            return False
        match self.shape:
            case Unsent() | KilledAt("request") | Twice() | AwsError() | Answered(done=False):
                return True
        return False

    def record(self, times: int = 1) -> None:
        """Record that the other side has received it."""
        connection = self.connection
        if connection.destination.declared:
            got = PeerRequest(connection.peer, self.method, self.path, bytes(self.body.payload))
            connection.scene.requests += [got] * times

    def over(self) -> None:
        """Record that it is over."""
        if not self.connection.scene.log.recording:
            return
        # A part of a request must not be sent again as a whole one.
        known = bytes(self.raw) if len(self.raw) == self.sent else b""
        detail = NetworkDetail(
            self.connection.peer,
            sent=self.sent,
            received=self.received,
            head=self.head,
            method=self.method,
            path=self.path,
            status=self.status,
            kind=self.kind,
            request=Bytes(known) if known else None,
            connection=self.connection.number,
        )
        self.happening.known(self.status or self.received, detail)


class Requests:
    """Understands one connection that speaks HTTP; see :class:`…connection.Talk`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._asked: deque[_HttpRequest] = deque()
        self._inward = http.Messages(self._request)
        self._outward = http.Messages(self._answer)
        self._unread = connection.scene.unread
        self._to_server = Ahead(connection.to_server)
        self._to_client = Ahead(connection.to_client)
        self._blind = False

    @property
    def outstanding(self) -> bool:
        """True if some request is not completely answered."""
        self._unread.catch_up()
        return bool(self._asked)

    def from_client(self, data: bytes) -> None:
        """Pass on data of the client."""
        out = self._to_server
        # At once if possible, but not before data that is held back.
        if (out.last or not self._inward.waiting) and self._plain:
            heads = self._unread.heads + http.most_heads(data)
            if self._blind or not self._connection.scene.happenings.near("http", heads):
                self._early(out, data, self._asks, heads)
                return
        self._unread.catch_up()
        out.last = False
        self._asks(data)

    def from_server(self, data: bytes) -> None:
        """Pass on data of the server."""
        out = self._to_client
        if (out.last or not self._outward.waiting) and self._plain:
            self._early(out, data, self._answers, self._unread.heads)
            return
        self._unread.catch_up()
        out.last = False
        self._answers(data)

    def over(self) -> None:
        """Nothing more comes: open requests stay unanswered."""
        self._unread.catch_up()
        while self._asked:
            request = self._asked.popleft()
            # An answer without a length is complete when the connection ends.
            if isinstance(request.shape, Spoilt) and request.answer_head is not None:
                self._spoil(request)
            request.over()

    def _early(self, out: Ahead, data: bytes, understand: Callable[[bytes], object], heads: int) -> None:
        """Pass on data that nothing strikes, and parse it later; in a recording at once, for its stack."""
        out.pass_on(data)
        if self._connection.scene.log.recording:
            understand(data)
        else:
            self._unread.put(understand, data, heads)

    def _asks(self, data: bytes) -> None:
        if self._blind:
            self._to_server(data)
            return
        try:
            self._inward.feed(data, self._request_part)
        except http.NotHttp as why:
            self._give_up(why)
            self._to_server(self._inward.rest)

    def _answers(self, data: bytes) -> None:
        # A server may speak unasked when it closes an idle connection (RFC 9110, 15.5.9).
        if self._blind or not self._asked:
            self._to_client(data)
            return
        try:
            self._outward.feed(data, self._answer_part)
        except http.NotHttp as why:
            self._give_up(why)
            self._to_client(self._outward.rest)

    @property
    def _plain(self) -> bool:
        """True if nothing strikes the open requests, so that data may be passed on before it is parsed."""
        return not self._asked or all(one.shape is None and not one.stopped for one in self._asked)

    def _give_up(self, why: http.NotHttp) -> None:
        # From here on everything is relayed unchanged, so the program notices nothing.
        self._blind = True
        text = f"what was said to {self._connection.peer} could not be followed as HTTP: {why}"
        self._connection.scene.log.caveat("not-http", self._connection.peer, text)

    # What is asked.

    def _request(self, head: http.Head, raw: bytes) -> http.Body:
        request = _HttpRequest(self._connection, head, raw)
        self._asked.append(request)
        if request.shape is not None and not request.collected:
            request.stopped = stopped(self._connection, request.happening)
        return request.body

    def _request_part(self, part: bytes, done: bool) -> None:
        request = self._asked[-1]
        request.sent += len(part)
        if request.stopped:
            return
        if len(request.raw) + len(part) <= KEPT:
            request.raw += part
        if request.collected:
            self._collect(request, done)
            return
        # Only whole requests: servers ignore parts.
        if done:
            request.record()
        self._to_server(part)

    def _collect(self, request: _HttpRequest, done: bool) -> None:
        """Handle a request that must not, or not yet, reach the other side."""
        if not (done or request.expects):
            return
        match request.shape:
            case Answered(status=status) | AwsError(status=status) as shape:
                request.stopped = True
                self._asked.remove(request)
                request.happening.prove(f"answered {status}, nothing was passed on")
                self._connection.to_client(made.answer(shape, close=not done))
                if not done:
                    self._connection.finish()
            case Twice():
                if not done:
                    # The client waits to be asked for the rest.
                    request.expects = False
                    self._connection.to_client(_CONTINUE)
                else:
                    self._twice(request)
            case _:
                request.stopped = True
                stopped(self._connection, request.happening)

    def _twice(self, request: _HttpRequest) -> None:
        request.stopped = True
        raw = bytes(request.raw)
        if len(raw) != request.sent:
            request.happening.impossible(f"a request of {request.sent} bytes is too long to be kept")
            self._connection.to_server(raw)
            return

        def delivered() -> None:
            request.happening.prove("delivered twice")
            request.record(2)
            self._connection.to_server(raw)

        Ghost(self._connection.scene.round, self._connection.destination, raw, delivered)

    # What is answered.

    def _answer(self, head: http.Head, raw: bytes) -> http.Body:
        request = self._asked[0]
        request.status = http.status_of(head)
        body = http.answer_body(head, request.method, request.status, KEPT)
        if request.status == 101:
            # The protocol changes (RFC 9110, 7.8): what follows is not HTTP.
            self._blind = True
        if not request.interim:
            request.head = len(raw)
            request.kind = head.get(b"content-type").partition(b";")[0].strip().decode("latin-1").lower()
            request.answer_head, request.answer_body = head, body
        return body

    def _answer_part(self, part: bytes, done: bool) -> None:
        if not self._asked:
            self._to_client(part)
            return
        request = self._asked[0]
        if request.interim:
            self._to_client(part)
            return
        request.received += len(part)
        self._pass(request, part, done)
        if done and self._asked and self._asked[0] is request:
            self._asked.popleft()
            request.over()

    def _pass(self, request: _HttpRequest, part: bytes, done: bool) -> None:
        if request.shape is None:
            self._to_client(part)
            return
        match request.shape:
            case Answered(status, done=True):
                request.happening.prove(f"the server had answered; {status} instead of that")
                request.shape = None
                self._connection.to_client(made.page(status, close=True))
                self._connection.finish()
            case Spoilt():
                request.answer_raw += part
                if done:
                    self._spoil(request)
            case Twice():
                self._connection.to_client(part)
            case shape if isinstance(shape, OF_STREAMS):
                assert request.answering is not None
                request.answering.take(part)
            case _:
                request.happening.impossible("a request of HTTP knows no such fault")
                request.shape = None
                self._connection.to_client(part)

    def _spoil(self, request: _HttpRequest) -> None:
        head, body, shape = request.answer_head, request.answer_body, request.shape
        assert head is not None
        assert body is not None
        assert isinstance(shape, Spoilt)
        request.shape = None
        whole = bytes(body.payload)
        if not body.complete or len(whole) < 2:
            request.happening.impossible(f"an answer of {request.received} bytes cannot be spoilt")
            self._connection.to_client(bytes(request.answer_raw))
            return
        request.happening.prove(f"the answer spoilt: {shape.how}")
        self._connection.to_client(made.spoilt(head, whole, shape.how))
        if shape.how == "no-length":
            self._connection.finish()
