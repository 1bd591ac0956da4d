"""HTTP/1.1 messages in transit: where a head ends, and where a body does (RFC 9112).

It understands only as much as it takes to separate messages. Anything that does not look like HTTP raises
:class:`NotHttp`, and the connection is then relayed as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable

LONGEST_HEAD = 1 << 18
"""Bytes of the longest head; servers refuse heads much shorter than this (RFC 9112, 3)."""
_METHODS = rb"GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS|TRACE"
_REQUEST = re.compile(rb"([A-Z]+) (\S+) HTTP/1\.[01]\r?$")
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})(?: [^\r\n]*)?\r?$")
_BEGINNING = re.compile(rb"(" + _METHODS + rb")( |$)")
_EMPTY_LINE = b"\r\n\r\n"
_NO_FIELD = re.compile(rb"^[^:\r\n]*(?:\r|$)", re.MULTILINE)


class NotHttp(Exception):
    """The data is not HTTP; the argument says where that showed."""


class Head:
    """The head of a message: its first line, and its fields in order with names in lower case."""

    __slots__ = ("_fields", "_lower", "_raw", "first")

    def __init__(
        self, first: bytes, fields: list[tuple[bytes, bytes]] | None = None, raw: bytes = b""
    ) -> None:
        """``raw`` are the lines of the fields, if they have not been parsed yet."""
        self.first = first
        self._fields = fields
        self._raw = b"\r\n" + raw
        self._lower = self._raw.lower()

    @classmethod
    def parse(cls, raw: bytes) -> Head:
        """Parse a head; ``raw`` ends with the empty line. Raises NotHttp for a line that is not a field."""
        first, _, lines = raw[: -len(_EMPTY_LINE)].partition(b"\r\n")
        # Servers refuse folded lines, too (RFC 9112, 5.2), which have no colon.
        wrong = _NO_FIELD.search(lines) if lines else None
        if wrong is not None:
            raise NotHttp(f"field {wrong[0].strip()[:40]!r}")
        return cls(first, None, lines)

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        """All fields, parsed at the first call: usually two or three are enough."""
        if self._fields is None:
            pairs = (line.partition(b":") for line in self._raw.split(b"\r\n") if line)
            self._fields = [(name.strip().lower(), value.strip()) for name, _, value in pairs]
        return self._fields

    def get(self, name: bytes) -> bytes:
        """The value of the last field of that name; empty if there is none."""
        # The last one: several fields of one name are rare, and only framing matters here.
        if self._fields is not None:
            return next((value for key, value in reversed(self._fields) if key == name), b"")
        at = self._lower.rfind(b"\r\n" + name + b":")
        if at < 0:
            return b""
        at += len(name) + 3
        end = self._raw.find(b"\r\n", at)
        return self._raw[at : end if end >= 0 else None].strip()

    def without(self, *names: bytes) -> Head:
        """The same head with some fields left out."""
        return Head(self.first, [one for one in self.fields if one[0] not in names])

    def raw(self) -> bytes:
        """The head as it is sent."""
        lines = [self.first, *(name.title() + b": " + value for name, value in self.fields)]
        return b"\r\n".join(lines) + _EMPTY_LINE


def may_be(data: bytes) -> bool | None:
    """True if a connection begins with an HTTP request; None if too little was sent to tell."""
    if not _BEGINNING.match(data):
        return False
    line, end, _ = data.partition(b"\n")
    if end:
        return _REQUEST.match(line) is not None
    return None if len(data) < LONGEST_HEAD else False


def most_heads(data: bytes) -> int:
    """How many heads may end in ``data``; one of them may have begun before."""
    return data.count(_EMPTY_LINE) + 1


def request_line(head: Head) -> tuple[str, str]:
    """Method and path, without query and fragment. Raises NotHttp if there are none."""
    match = _REQUEST.match(head.first)
    if match is None:
        raise NotHttp(f"request line {head.first[:40]!r}")
    target = match[2].decode("latin-1")
    if "://" in target:
        # To a proxy the whole address is sent (RFC 9112, 3.2.2).
        target = "/" + target.partition("://")[2].partition("/")[2]
    return match[1].decode(), re.split("[?#]", target, maxsplit=1)[0]


def status_of(head: Head) -> int:
    """The status of an answer. Raises NotHttp if there is none."""
    match = _STATUS.match(head.first)
    if match is None:
        raise NotHttp(f"status line {head.first[:40]!r}")
    return int(match[1])


class Body:
    """Follows a body to its end. ``payload`` collects its content, without the borders of chunks."""

    __slots__ = ("_left", "_line", "_most", "_step", "complete", "done", "payload")

    def __init__(self, length: int | None, chunked: bool, most: int) -> None:
        self._left = length
        self._most = most
        self._line = b""
        self._step: Callable[[bytes], int] = self._size if chunked else self._plain
        self.payload = bytearray()
        self.done = not chunked and length == 0
        self.complete = True
        """True if ``payload`` has everything so far: it is not longer than the limit."""

    def feed(self, data: bytes) -> int:
        """Follow ``data``; return how many of its bytes belong to this body."""
        used = 0
        while used < len(data) and not self.done:
            used += self._step(data[used:] if used else data)
        return used

    def _plain(self, data: bytes) -> int:
        taken = len(data) if self._left is None else min(self._left, len(data))
        self._keep(data[:taken])
        if self._left is not None:
            self._left -= taken
            self.done = not self._left
        return taken

    def _size(self, data: bytes) -> int:
        taken = self._to_line_end(data)
        if self._line.endswith(b"\n"):
            try:
                self._left = int(self._line.partition(b";")[0], 16)
            except ValueError:
                raise NotHttp(f"size of a chunk {self._line[:20]!r}") from None
            self._step = self._in_chunk if self._left else self._trailer
            self._line = b""
        return taken

    def _in_chunk(self, data: bytes) -> int:
        assert self._left is not None
        taken = min(self._left, len(data))
        self._keep(data[:taken])
        self._left -= taken
        if not self._left:
            self._step = self._behind_chunk
        return taken

    def _behind_chunk(self, data: bytes) -> int:
        taken = self._to_line_end(data)
        if self._line.endswith(b"\n"):
            self._line, self._step = b"", self._size
        return taken

    def _trailer(self, data: bytes) -> int:
        taken = self._to_line_end(data)
        if self._line.endswith(b"\n"):
            # An empty line ends the trailers, and the message with them.
            self.done = not self._line.strip()
            self._line = b""
        return taken

    def _to_line_end(self, data: bytes) -> int:
        end = data.find(b"\n") + 1
        taken = end or len(data)
        self._line += data[:taken]
        if len(self._line) > LONGEST_HEAD:
            raise NotHttp("a line without an end")
        return taken

    def _keep(self, data: bytes) -> None:
        # A part of a longer body is of no use, since its end is missing.
        if self.complete and len(self.payload) + len(data) <= self._most:
            self.payload += data
        else:
            self.complete = False


def request_body(head: Head, most: int) -> Body:
    """The body that follows the head of a request; without a length there is none (RFC 9112, 6.3)."""
    if b"chunked" in head.get(b"transfer-encoding").lower():
        return Body(None, chunked=True, most=most)
    return Body(_length(head) or 0, chunked=False, most=most)


def answer_body(head: Head, method: str, status: int, most: int) -> Body:
    """The body that follows the head of an answer; without a length it ends with the connection."""
    if method == "HEAD" or status in (204, 304) or status < 200:
        return Body(0, chunked=False, most=most)
    if b"chunked" in head.get(b"transfer-encoding").lower():
        return Body(None, chunked=True, most=most)
    return Body(_length(head), chunked=False, most=most)


def _length(head: Head) -> int | None:
    text = head.get(b"content-length")
    if not text:
        return None
    if not text.isdigit():
        raise NotHttp(f"Content-Length {text[:20]!r}")
    return int(text)


class Messages:
    """Cuts a stream into heads and bodies.

    ``begin`` takes each head, with its raw bytes, and returns the body that follows.
    """

    def __init__(self, begin: Callable[[Head, bytes], Body]) -> None:
        self._begin = begin
        self._pending = b""
        self.body: Body | None = None
        self.rest = b""
        """Bytes not passed on when the data turned out not to be HTTP."""

    @property
    def waiting(self) -> int:
        """The number of bytes of a head whose end has not arrived."""
        return len(self._pending)

    def feed(self, data: bytes, took: Callable[[bytes, bool], object]) -> None:
        """Follow ``data``; call ``took`` with each part of a message, and with True if the message ends with
        it.

        A head is passed whole, together with what follows it. Raises NotHttp for anything else; bytes not
        passed on are then in :attr:`rest`.
        """
        # A head may arrive in any number of pieces, and several messages in one.
        data = self._pending + data
        self._pending = b""
        while data:
            head, self.rest = b"", data
            if self.body is None:
                end = data.find(_EMPTY_LINE)
                if end < 0:
                    if len(data) > LONGEST_HEAD:
                        raise NotHttp("a head without an end")
                    self._pending = data
                    return
                head, data = data[: end + len(_EMPTY_LINE)], data[end + len(_EMPTY_LINE) :]
                self.body = self._begin(Head.parse(head), head)
            used = self.body.feed(data)
            done = self.body.done
            part, data = head + data[:used], data[used:]
            if done:
                self.body = None
            took(part, done)
