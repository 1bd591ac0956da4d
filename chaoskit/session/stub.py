"""An HTTP server that answers from a table of routes; it is a real server, in another process."""

from __future__ import annotations

import fnmatch
import json
import socket
import socketserver
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import Any, ClassVar

from chaoskit.core.errors import wrong

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_EXPECTED = (
    "bytes, text, a dict or list that becomes JSON, a status, (status, body), (status, headers, body), or a "
    "function of the request that returns one of these"
)


@dataclass(frozen=True, slots=True)
class StubRequest:
    """The argument of a route's function. ``path`` has no query; names in ``headers`` are in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


Routes = Mapping[str, Any]
"""Maps ``"GET /item/*"``, or ``"/health"`` for any method, to the answer."""


def checked(routes: Routes) -> Routes:
    """Return ``routes`` if they can be served.

    Raises:
        UsageError: for a malformed route, and for an answer that cannot be sent.
    """
    for route, answer in routes.items():
        method, _, path = route.rpartition(" ")
        if not path.startswith("/") or (method and method not in _METHODS):
            raise wrong("route", route, "a method and a path, as in 'POST /pay', or a path alone")
        if not callable(answer):
            _triple(answer)
    return routes


def serve(listener: socket.socket, routes: Routes) -> None:
    """Answer requests on ``listener`` forever."""

    class Served(_ByRoutes):
        table: ClassVar[Routes] = routes

    # Bound and listening already, so no client comes too early.
    server = _HttpServer(listener.getsockname(), Served, bind_and_activate=False)
    server.socket = listener
    server.serve_forever(poll_interval=3600)


class _HttpServer(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore it: connections that break are what this server is for."""


class _ByRoutes(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # Head and body in one segment.
    table: ClassVar[Routes] = {}

    def _answer(self) -> None:
        path, _, query = self.path.partition("?")
        length = int(self.headers.get("Content-Length") or 0)
        body = self._chunks() if self.headers.get("Transfer-Encoding") else self.rfile.read(length)
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = StubRequest(self.command, path, query, headers, body)
        status, fields, content = _triple(_answer_of(self.table, request))
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name, value)
        if "content-length" not in {name.lower() for name in fields} and status not in (204, 304):
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD" and status not in (204, 304):
            self.wfile.write(content)

    def handle_expect_100(self) -> bool:
        """Ask for the body at once, since the client waits for this."""
        self.send_response_only(100)
        self.end_headers()
        self.wfile.flush()
        return True

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _answer

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return body

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: requests are records of the test."""


def _answer_of(routes: Routes, request: StubRequest) -> Any:
    for route, answer in routes.items():
        method, _, path = route.rpartition(" ")
        if method in ("", request.method) and fnmatch.fnmatchcase(request.path, path):
            return answer(request) if callable(answer) else answer
    return 404, f"no route for {request.method} {request.path}"


def _triple(answer: Any) -> tuple[int, dict[str, str], bytes]:
    """Status, header fields and body of an answer, in whichever form it is given."""
    status, body = 200, answer
    headers: dict[str, str] = {}
    if isinstance(answer, int) and not isinstance(answer, bool):
        status, body = answer, b""
    elif isinstance(answer, tuple) and len(answer) == 2:
        status, body = answer
    elif isinstance(answer, tuple) and len(answer) == 3:
        status, headers, body = answer
    kind, content = _content(body)
    known = {name.lower() for name in headers}
    return int(status), {**({} if "content-type" in known else {"Content-Type": kind}), **headers}, content


def _content(body: Any) -> tuple[str, bytes]:
    if isinstance(body, bytes):
        return "application/octet-stream", body
    if isinstance(body, str):
        return "text/plain; charset=utf-8", body.encode()
    if isinstance(body, dict | list):
        return "application/json", json.dumps(body).encode()
    raise wrong("answer of a route", body, _EXPECTED)


Start = Callable[[int], object] | Sequence[str] | Routes
"""How a peer is started: a function that takes the port, a command, or HTTP routes."""
