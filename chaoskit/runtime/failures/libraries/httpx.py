"""The errors of httpx and of httpcore below it."""

from __future__ import annotations

from chaoskit.runtime.failures import taxonomy as t
from chaoskit.runtime.failures.library import Library, classes
from chaoskit.runtime.failures.rules import Rule

__all__ = ["LIBRARY"]


def _both(*names: str) -> tuple[str, ...]:
    return (*classes("httpx", *names), *classes("httpcore", *names))


LIBRARY = Library(
    name="httpx",
    source="httpx's tree of exceptions; httpcore",
    rules=(
        Rule(
            # Before the rest: it is about the pool, not about the other side.
            name="httpx.pool",
            verdict=t.ResourceError,
            types=_both("PoolTimeout"),
            why="every connection of the pool is in use",
        ),
        Rule(
            name="httpx.certificate",
            verdict=t.SecurityError,
            types=_both("ConnectError"),
            message=r"certificate.verify.failed|hostname mismatch",
            why="the other side could not prove its identity",
        ),
        Rule(
            name="httpx.not-tls",
            verdict=t.ConfigurationError,
            types=_both("ConnectError"),
            message=r"wrong.version.number|unknown protocol|http request|UNSUPPORTED_PROTOCOL",
            why="the client spoke HTTPS to a port that speaks something else",
        ),
        Rule(
            name="httpx.connect",
            verdict=t.Unreachable,
            types=(*_both("ConnectTimeout", "ConnectError", "ProxyError"), "httpcore.ConnectionNotAvailable"),
            why="no connection could be made",
        ),
        Rule(
            name="httpx.read",
            verdict=t.Overloaded,
            types=_both("ReadTimeout", "WriteTimeout"),
            why="connected, but no progress in time",
        ),
        Rule(
            name="httpx.broken",
            verdict=t.TransientError,
            types=_both("NetworkError", "RemoteProtocolError"),
            why="the connection broke, or the answer was cut",
        ),
        Rule(
            name="httpx.undecodable",
            verdict=t.DataIntegrityError,
            types=("httpx.DecodingError",),
            why="the body is not in the encoding that its header names",
        ),
        Rule(
            name="httpx.wrong-url",
            verdict=t.ConfigurationError,
            types=(*_both("UnsupportedProtocol"), "httpx.InvalidURL"),
            why="the address is wrong before anything is sent",
        ),
        Rule(
            name="httpx.local-protocol",
            verdict=t.ValidationError,
            types=_both("LocalProtocolError"),
            why="the request breaks the protocol, so it was not sent",
        ),
        Rule(
            name="httpx.redirects",
            verdict=t.PermanentError,
            types=("httpx.TooManyRedirects",),
            why="the redirects go in a circle",
        ),
        Rule(
            name="httpx.misuse",
            verdict=t.PermanentError,
            types=classes("httpx", "StreamError", "CookieConflict"),
            why="the program uses the answer in a way that it does not allow",
        ),
    ),
    vague=(
        Rule(name="httpx.timeout", verdict=t.Overloaded, types=_both("TimeoutException"), why="timed out"),
        Rule(
            name="httpx.transport",
            verdict=t.TransientError,
            types=("httpx.TransportError", "httpcore.ProtocolError"),
            why="the transport failed; a cause would say how",
        ),
    ),
)
