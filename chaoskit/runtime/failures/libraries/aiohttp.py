"""Rules for the errors of aiohttp's client. Statuses of answers are judged by the rules for HTTP."""

from __future__ import annotations

from chaoskit.runtime.failures import taxonomy as t
from chaoskit.runtime.failures.library import Library, classes
from chaoskit.runtime.failures.rules import Rule

__all__ = ["LIBRARY"]

_MODULE = "aiohttp.client_exceptions"

LIBRARY = Library(
    name="aiohttp",
    source="aiohttp.client_exceptions",
    rules=(
        Rule(
            name="aiohttp.certificate",
            verdict=t.SecurityError,
            types=classes(_MODULE, "ClientConnectorCertificateError", "ServerFingerprintMismatch"),
            why="the other side could not prove its identity",
        ),
        Rule(
            name="aiohttp.not-tls",
            verdict=t.ConfigurationError,
            types=classes(_MODULE, "ClientConnectorSSLError"),
            message=r"wrong.version.number|unknown protocol|http request|UNSUPPORTED_PROTOCOL",
            why="the client spoke HTTPS to a port that speaks something else",
        ),
        Rule(
            name="aiohttp.tls",
            verdict=t.TransientError,
            types=classes(_MODULE, "ClientSSLError"),
            why="the handshake broke",
        ),
        Rule(
            name="aiohttp.connect",
            verdict=t.Unreachable,
            types=classes(_MODULE, "ConnectionTimeoutError", "ClientConnectorError"),
            why="no connection could be made",
        ),
        Rule(
            name="aiohttp.read",
            verdict=t.Overloaded,
            types=classes(_MODULE, "SocketTimeoutError", "ServerTimeoutError"),
            why="connected, but no answer in time",
        ),
        Rule(
            name="aiohttp.broken",
            verdict=t.TransientError,
            types=classes(
                _MODULE, "ServerDisconnectedError", "ClientPayloadError", "ClientConnectionResetError"
            ),
            why="the connection broke in the middle",
        ),
        Rule(
            name="aiohttp.content-type",
            verdict=t.MalformedData,
            types=classes(_MODULE, "ContentTypeError"),
            # An error page instead of the data: its status decides.
            statuses=(range(100, 400),),
            why="the answer does not have the content type that is to be decoded",
        ),
        Rule(
            name="aiohttp.redirects",
            verdict=t.PermanentError,
            types=classes(_MODULE, "TooManyRedirects"),
            why="the redirects go in a circle",
        ),
        Rule(
            name="aiohttp.wrong-url",
            verdict=t.ConfigurationError,
            types=classes(_MODULE, "InvalidURL", "NonHttpUrlClientError"),
            why="the address is wrong before anything is sent",
        ),
        Rule(
            name="aiohttp.misuse",
            verdict=t.PermanentError,
            types=classes(_MODULE, "WSMessageTypeError"),
            why="the program asked for another kind of message than arrived",
        ),
    ),
    vague=(
        Rule(
            name="aiohttp.connection",
            verdict=t.Unreachable,
            types=classes(_MODULE, "ClientConnectionError"),
            why="only says that a connection failed; a cause would say more",
        ),
    ),
)
