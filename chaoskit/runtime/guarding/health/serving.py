"""Serves the health of a program over HTTP, for probes on the same machine."""

from __future__ import annotations

import ipaddress
import json
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from chaoskit.core.errors import wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.calling.callables import synchronous
from chaoskit.runtime.closing import ClosedOnExit
from chaoskit.runtime.guarding.health.records import HealthReport, HealthStatus
from chaoskit.runtime.numbers import is_whole

__all__ = ["HealthServer"]

PATIENCE = 5.0
"""Seconds for which a client may be silent."""


class HealthServer(ClosedOnExit):
    """Answers ``GET /health`` with the report as JSON, and ``GET /live`` with an empty body, on ``host``.

    ``/health`` is 503 if something is unhealthy, otherwise 200: a degraded program continues, and a probe
    that restarts it would make things worse. ``url`` is its address; ``close()``, or leaving the block, ends
    it.

    Raises:
        UsageError: ``host`` is not a loopback address, and ``beyond_loopback`` does not allow it.
        OSError: the port is taken.
    """

    def __init__(
        self,
        report: Callable[[], HealthReport],
        port: int = 0,
        *,
        host: str = "127.0.0.1",
        beyond_loopback: bool = False,
    ) -> None:
        synchronous("report", report, optional=False)
        kinds.switch("beyond_loopback", beyond_loopback)
        kinds.text("host", host)
        # Names are refused, since a file or a name server decides what "localhost" means.
        if not beyond_loopback and not _is_loopback(host):
            raise wrong("host", host, "an address of loopback", "The report tells strangers what is weak.")
        if not (is_whole(port) and 0 <= port <= 65535):
            raise wrong("port", port, "a number from 0, for any that is free, to 65535")
        handler = type(
            "HealthHandler", (_HealthHandler,), {"report": staticmethod(report), "local": _is_loopback(host)}
        )
        self._server = (_Server6 if ":" in host else _Server)((host, port), handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.1},
            name="chaoskit-health",
            daemon=True,
        )
        self._thread.start()

    @property
    def url(self) -> str:
        """The address at which it answers."""
        host, port = str(self._server.server_address[0]), self._server.server_address[1]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}/health"

    def close(self) -> None:
        """End the server. Calling it again does nothing."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # With True, closing would wait for silent clients.
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that went away: the default is a traceback on the program's own stderr."""


class _Server6(_Server):
    address_family = socket.AF_INET6


class _HealthHandler(BaseHTTPRequestHandler):
    report: Callable[[], HealthReport]
    local: bool
    timeout = PATIENCE
    server_version, sys_version = "chaoskit", ""
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if self.local and not _names_loopback(self.headers.get("Host", "")):
            self.close_connection = True
            self._answer(421, {"error": "expected the host localhost, or an address of loopback"})
        elif path == "/live":
            self._answer(200, {"status": "alive"})
        elif path == "/health":
            report = self.report()
            bad = report.status == HealthStatus.UNHEALTHY
            self._answer(503 if bad else 200, report.to_dict())
        else:
            self._answer(404, {"error": f"there is no {path[:80]!r}; expected /health or /live"})

    do_HEAD = do_GET

    def _answer(self, status: int, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        # A cached report could say that all is well when it no longer is.
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: a probe may come every second."""


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _names_loopback(host: str) -> bool:
    """True if a Host header names this machine, with any port: through a tunnel the port is another one.

    A web page whose own name was made to resolve to loopback sends that name, and is refused.
    """
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    # Old probes send no Host header; every browser sends one.
    return not host or name.lower() == "localhost" or _is_loopback(name)
