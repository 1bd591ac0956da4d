"""The errors of urllib3."""

from __future__ import annotations

from chaoskit.runtime.failures import taxonomy as t
from chaoskit.runtime.failures.library import Library, classes
from chaoskit.runtime.failures.rules import Rule

__all__ = ["LIBRARY"]

_MODULE = "urllib3.exceptions"

LIBRARY = Library(
    name="urllib3",
    source="urllib3.exceptions; urllib3.util.Retry._is_connection_error and _is_read_error",
    rules=(
        Rule(
            name="urllib3.certificate",
            verdict=t.SecurityError,
            types=classes(_MODULE, "SSLError"),
            message=r"certificate.verify.failed|hostname mismatch|doesn't match|fingerprint",
            why="the other side could not prove its identity",
        ),
        Rule(
            name="urllib3.not-tls",
            verdict=t.ConfigurationError,
            types=classes(_MODULE, "SSLError"),
            message=r"wrong.version.number|unknown protocol|http request|UNSUPPORTED_PROTOCOL",
            why="the client spoke HTTPS to a port that speaks something else",
        ),
        Rule(
            name="urllib3.redirects",
            verdict=t.PermanentError,
            types=classes(_MODULE, "MaxRetryError", "ResponseError"),
            message=r"too many redirects",
            why="the redirects go in a circle, and will do so again",
        ),
        Rule(
            name="urllib3.connect",
            verdict=t.Unreachable,
            types=classes(_MODULE, "ConnectTimeoutError", "NewConnectionError", "NameResolutionError"),
            why="no connection could be made",
        ),
        Rule(
            name="urllib3.read",
            verdict=t.Overloaded,
            types=classes(_MODULE, "ReadTimeoutError"),
            why="connected, but no answer in time",
        ),
        Rule(
            name="urllib3.pool",
            verdict=t.ResourceError,
            types=classes(_MODULE, "EmptyPoolError", "FullPoolError"),
            why="every connection of the pool is in use",
        ),
        Rule(
            name="urllib3.broken",
            verdict=t.TransientError,
            types=classes(_MODULE, "IncompleteRead", "InvalidChunkLength", "BodyNotHttplibCompatible"),
            why="the connection broke in the middle of the answer",
        ),
        Rule(
            name="urllib3.undecodable",
            verdict=t.DataIntegrityError,
            types=classes(_MODULE, "DecodeError"),
            why="the body is not in the encoding that its header names",
        ),
        Rule(
            name="urllib3.wrong-url",
            verdict=t.ConfigurationError,
            types=classes(
                _MODULE, "LocationValueError", "ProxySchemeUnknown", "ProxySchemeUnsupported", "InvalidHeader"
            ),
            why="the address, proxy or header is wrong before anything is sent",
        ),
        Rule(
            name="urllib3.misuse",
            verdict=t.PermanentError,
            types=classes(
                _MODULE,
                "ClosedPoolError",
                "HostChangedError",
                "TimeoutStateError",
                "UnrewindableBodyError",
                "ResponseNotChunked",
            ),
            why="the program uses the pool in a way that it does not allow",
        ),
    ),
    vague=(
        Rule(
            name="urllib3.protocol",
            verdict=t.TransientError,
            types=classes(_MODULE, "ProtocolError"),
            why="the connection broke; a cause would say how",
        ),
        Rule(
            name="urllib3.connection",
            verdict=t.Unreachable,
            types=classes(_MODULE, "MaxRetryError", "ProxyError"),
            why="the retries below are used up; their reason would say more",
        ),
        Rule(
            name="urllib3.tls",
            verdict=t.TransientError,
            types=classes(_MODULE, "SSLError"),
            why="the handshake broke, and no cause says how",
        ),
        Rule(
            name="urllib3.timeout",
            verdict=t.Overloaded,
            types=classes(_MODULE, "TimeoutError"),
            why="timed out",
        ),
        Rule(
            name="urllib3.too-many-errors",
            verdict=t.TransientError,
            types=classes(_MODULE, "ResponseError"),
            why="the server went on answering with errors that the pool repeats",
        ),
    ),
)
