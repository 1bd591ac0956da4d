"""The messages on a workload's sockets: turns of a stream, and HTTP requests in clear text.

They are seen at the methods of ``socket.socket``, which all Python clients use in the end. TLS and C
libraries send theirs in C; a caveat names a socket that is handed to these.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Callable
from typing import Any

from chaoskit.core.operation import Bytes, NetworkDetail
from chaoskit.faults import traffic
from chaoskit.faults.shapes import Delayed
from chaoskit.inject import http, made
from chaoskit.inject.base import PeerRequest
from chaoskit.inject.inprocess.call import PythonCall
from chaoskit.inject.inprocess.run import WatchedRun
from chaoskit.inject.inprocess.underway import LongOperation

_KEPT = 1 << 20
"""Bytes of a request, and of an answer, that are kept."""
_SLICES = 64
"""This many pieces show whether a program joins them; the rest comes at once."""
_PATIENCE = 1.0
"""Seconds that a server has to answer the first of two deliveries."""

_OF_STREAMS = (
    *(traffic.Unsent, traffic.Cut, traffic.Sliced, traffic.Corrupted),
    *(traffic.Partitioned, traffic.KilledAt, Delayed),
)
_OF_HTTP = (traffic.Answered, traffic.AwsError, traffic.Spoilt, traffic.Twice)

Take = Callable[[int, int], bytes]
"""Receives up to this many bytes with these flags, as the socket itself does."""


class Utterance:
    """One request and its answer, or one turn of another protocol."""

    def __init__(
        self, peer: str, number: int, begun: LongOperation, method: str = "", path: str = ""
    ) -> None:
        self.peer, self.number, self.begun = peer, number, begun
        self.method, self.path = method, path
        self.sent = self.received = self.head = self.status = self.passed = self.pieces = 0
        self.kind = ""
        self.said = bytearray()
        self.shape = begun.shape
        self.recorded = False
        self.asked = http.Messages(self._ask)
        self.request: http.Body | None = None
        self.answered = http.Messages(self._answer)
        self.whole = not method
        """True if all of the request was sent, according to its head."""
        self.complete = False
        self.answer: tuple[http.Head, http.Body] | None = None

    def hear(self, data: bytes) -> None:
        """Note a part of the request."""
        self.sent += len(data)
        if len(self.said) + len(data) <= _KEPT:
            self.said += data
        if self.method:
            self._follow(self.asked, data, self._asked_part)

    def come(self, data: bytes) -> None:
        """Note a part of the answer."""
        self.received += len(data)
        if self.method:
            self._follow(self.answered, data, self._answered_part)

    def over(self) -> NetworkDetail:
        """All that is known of it."""
        known = bytes(self.said) if len(self.said) == self.sent else b""
        return NetworkDetail(
            *(self.peer, self.sent, self.received),
            head=self.head,
            method=self.method,
            path=self.path,
            status=self.status,
            kind=self.kind,
            request=Bytes(known) if known or not self.method else None,
            connection=self.number,
        )

    def _follow(self, messages: http.Messages, data: bytes, took: Callable[[bytes, bool], None]) -> None:
        try:
            messages.feed(data, took)
        except http.NotHttp:
            # Only its bytes are known.
            self.whole = self.complete = True

    def _ask(self, head: http.Head, raw: bytes) -> http.Body:
        self.request = http.request_body(head, _KEPT)
        return self.request

    def _asked_part(self, part: bytes, done: bool) -> None:
        self.whole = self.whole or done

    def _answer(self, head: http.Head, raw: bytes) -> http.Body:
        status = http.status_of(head)
        body = http.answer_body(head, self.method, status, _KEPT)
        if not 100 <= status < 200 or status == 101:
            self.status, self.head, self.answer = status, len(raw), (head, body)
            self.kind = head.get(b"content-type").partition(b";")[0].strip().decode("latin-1").lower()
        return body

    def _answered_part(self, part: bytes, done: bool) -> None:
        self.complete = self.complete or (done and self.answer is not None)


class Stream:
    """One connection of the workload to a peer."""

    def __init__(self, run: WatchedRun, sock: Any, target: str, number: int, silenced: set[str]) -> None:
        self._run, self._sock = run, sock
        self._target = target
        self.peer = self._peer = target.rpartition(":")[0]
        self._declared = any(peer.name == self._peer for peer in run.plan.peers)
        self._number = number
        self._silenced = silenced
        self._turn = ""
        self._now: Utterance | None = None
        self._held = bytearray()
        """Data of a request that has not been passed on yet."""
        self._served: bytearray | None = None
        """The answer in place of the peer's; its end is the end of the connection."""
        self._end = ""

    def over(self) -> None:
        """Complete the record of the last message."""
        now, self._now = self._now, None
        if now is not None:
            self._record(now)
            now.begun.known(now.status or now.received, now.over())

    # What is asked.

    def send(self, data: bytes, pass_on: Callable[[bytes], int]) -> int:
        """Send, or do what a strike does to that; return how many bytes the caller may take as sent.

        Raises:
            OSError: the socket's own, or that of a connection ended by a strike. ProcessKilled: if a strike
            kills.
        """
        self._run.refuse_if_dead()
        if self._end in ("gone", "eof"):
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
        if self._end or self._served is not None:
            return len(data)
        if self._now is None or (self._turn != "client" and self._now.whole):
            self._turn = "client"
            if self._begin(data):
                return len(data)
        now = self._now
        assert now is not None
        if isinstance(now.shape, traffic.Twice):
            now.hear(data)
            self._held += data
            if now.whole:
                self._twice(now)
            return len(data)
        done = pass_on(data)
        now.hear(data[:done])
        if now.whole and now.method:
            self._record(now)
        return done

    def _begin(self, data: bytes) -> bool:
        """True if a strike has answered the request."""
        self.over()
        line = http.may_be(data)
        if not line:
            self._now = self._spoken("exchange", self._peer)
        else:
            method, path = http.request_line(http.Head(data.partition(b"\r\n")[0]))
            self._now = self._spoken("http", f"{self._peer},{method},{path}", method, path)
        now = self._now
        match now.shape:
            case traffic.Unsent():
                now.begun.prove("reset before anything of the request was passed on")
                self._finish("reset")
            case traffic.KilledAt(moment="request"):
                now.begun.kill("before anything of the request was passed on")
            case traffic.Partitioned():
                now.begun.prove(f"nothing passes between the workload and {self._peer} any more")
                self._silenced.add(self._peer)
                self._end = "silent"
            case traffic.Answered(status=status, done=False) | traffic.AwsError(status=status) as shape:
                now.begun.prove(f"answered {status}, nothing was passed on")
                self._serve(made.answer(shape, close=True))
            case _:
                return False
        return True

    def _spoken(self, family: str, target: str, method: str = "", path: str = "") -> Utterance:
        detail = NetworkDetail(self._peer, method=method, path=path, connection=self._number)
        begun = self._run.begin(PythonCall(family, target, "send", bool, lambda: detail))
        known = (*_OF_STREAMS, *_OF_HTTP) if method else _OF_STREAMS
        if begun.shape is not None and not isinstance(begun.shape, known):
            begun.impossible("what is said over this connection knows no such fault")
        elif isinstance(begun.shape, Delayed) and self._sock.gettimeout() == 0:
            begun.impossible("a socket that does not wait is not kept waiting here; use backend='kernel'")
        return Utterance(self._peer, self._number, begun, method, path)

    def _record(self, now: Utterance, times: int = 1) -> None:
        said = bytes(now.said)
        if now.recorded or not self._declared or not (said and now.whole):
            return
        now.recorded = True
        body = said if now.request is None else bytes(now.request.payload)
        self._run.requests += [PeerRequest(now.peer, now.method, now.path, body)] * times

    def _twice(self, now: Utterance) -> None:
        raw, self._held = bytes(self._held), bytearray()
        with self._run.within(), socket.socket(self._sock.family) as other:
            other.settimeout(_PATIENCE)
            other.connect(self._sock.getpeername())
            other.sendall(raw)
            try:
                other.recv(1)
            except TimeoutError:
                # The peer has received the request in any case.
                pass
            timeout = self._sock.gettimeout()
            self._sock.settimeout(_PATIENCE)
            try:
                self._sock.sendall(raw)
            finally:
                self._sock.settimeout(timeout)
        now.begun.prove("delivered twice")
        self._record(now, 2)
        now.shape = None

    # What is answered.

    def receive(self, wanted: int, take: Take) -> bytes:
        """Receive, or do what a strike does to that.

        Raises:
            OSError: the socket's own, or that of a connection ended or silenced by a strike. ProcessKilled:
            if a strike kills.
        """
        self._run.refuse_if_dead()
        if self._served is not None:
            part, self._served = bytes(self._served[:wanted]), self._served[wanted:]
            return part
        if self._end:
            return self._ended()
        if self._now is None:
            # The peer speaks first.
            if not take(1, socket.MSG_PEEK):
                return b""
            self._now = self._spoken("greeting", self._peer)
        return self._answered(self._now, wanted, take)

    def _answered(self, now: Utterance, wanted: int, take: Take) -> bytes:
        match now.shape:
            case traffic.Cut(how=how, after=after):
                return self._cut(now, wanted, take, how, after)
            case traffic.Sliced(size=size) if now.pieces < _SLICES:
                wanted = min(wanted, size)
            case traffic.Spoilt():
                return self._spoilt(now, wanted, take)
        data = take(wanted, 0)
        if not data:
            self.over()
            return data
        self._turn = "server"
        match now.shape:
            case traffic.KilledAt():
                now.begun.kill("when the answer came")
            case traffic.Answered(status=status) as shape:
                now.begun.prove(f"the peer had answered; {status} instead of that")
                self._serve(made.answer(shape, close=True))
                return self.receive(wanted, take)
            case traffic.Corrupted(at=at) if now.received <= at < now.received + len(data):
                place = at - now.received
                data = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
                now.begun.prove("one bit flipped")
            case traffic.Sliced(size=size):
                now.pieces += 1
                if now.pieces == 1:
                    now.begun.prove(f"the answer in pieces of {size} bytes")
            case Delayed(seconds=seconds):
                with self._run.within():
                    time.sleep(seconds)
                now.begun.prove(f"the answer held for {seconds:g} s")
                # Once: the rest of the answer was on its way meanwhile.
                now.shape = None
        now.come(data)
        return data

    def _cut(self, now: Utterance, wanted: int, take: Take, how: str, after: int) -> bytes:
        left = after - now.received
        # Some data must have come by then: it shows that the other side has done its work.
        data = take(min(wanted, left) if left else 1, 0)
        self._turn = "server"
        if data[:left] or not data:
            now.come(data[:left])
            return data[:left]
        now.begun.prove(f"{how} after {after} bytes of the answer")
        self._finish(how)
        return self._ended()

    def _spoilt(self, now: Utterance, wanted: int, take: Take) -> bytes:
        assert isinstance(now.shape, traffic.Spoilt)
        while not now.complete:
            data = take(1 << 16, 0)
            now.come(data)
            self._held += data
            if not data:
                break
        self._turn = "server"
        head, body = now.answer or (None, None)
        if head is None or body is None or not body.complete or len(body.payload) < 2:
            now.begun.impossible(f"an answer of {now.received} bytes cannot be spoilt")
            self._serve(bytes(self._held))
        else:
            now.begun.prove(f"the answer spoilt: {now.shape.how}")
            self._serve(made.spoilt(head, bytes(body.payload), now.shape.how))
        return self.receive(wanted, take)

    # How it ends.

    def _serve(self, answer: bytes) -> None:
        self._served = bytearray(answer)
        self._wake()

    def _finish(self, how: str) -> None:
        self._end = how
        if how != "silent":
            self._wake()

    def _wake(self) -> None:
        """Make the socket readable for a program that waits for that."""
        with self._run.within():
            try:
                self._sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                # The other side was faster.
                pass

    def _ended(self) -> bytes:
        if self._end == "reset":
            self._end = "gone"
            raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        if self._end == "silent":
            timeout = self._sock.gettimeout()
            if timeout is None:
                self._run.hang()
            if timeout == 0:
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            raise TimeoutError("timed out")
        return b""
