"""The errors of requests. Statuses of answers are judged by the rules for HTTP."""

from __future__ import annotations

from chaoskit.runtime.failures import taxonomy as t
from chaoskit.runtime.failures.library import Library, classes
from chaoskit.runtime.failures.rules import Rule

__all__ = ["LIBRARY"]

_MODULE = "requests.exceptions"

LIBRARY = Library(
    name="requests",
    source="requests.exceptions; what urllib3's Retry repeats",
    rules=(
        Rule(
            name="requests.certificate",
            verdict=t.SecurityError,
            types=classes(_MODULE, "SSLError"),
            message=r"certificate.verify.failed|hostname mismatch|doesn't match",
            why="the other side could not prove its identity",
        ),
        Rule(
            name="requests.not-tls",
            verdict=t.ConfigurationError,
            types=classes(_MODULE, "SSLError"),
            message=r"wrong.version.number|unknown protocol|http request|UNSUPPORTED_PROTOCOL",
            why="the client spoke HTTPS to a port that speaks something else",
        ),
        Rule(
            name="requests.connect",
            verdict=t.Unreachable,
            types=classes(_MODULE, "ConnectTimeout", "ProxyError"),
            why="no connection could be made in time",
        ),
        Rule(
            name="requests.read",
            verdict=t.Overloaded,
            types=classes(_MODULE, "ReadTimeout"),
            why="connected, but no answer in time",
        ),
        Rule(
            name="requests.broken",
            verdict=t.TransientError,
            types=classes(_MODULE, "ChunkedEncodingError"),
            why="the connection broke in the middle of the answer",
        ),
        Rule(
            name="requests.undecodable",
            verdict=t.DataIntegrityError,
            types=classes(_MODULE, "ContentDecodingError"),
            why="the body is not in the encoding that its header names",
        ),
        Rule(
            name="requests.json",
            verdict=t.MalformedData,
            types=classes(_MODULE, "JSONDecodeError"),
            why="the answer is not JSON",
        ),
        Rule(
            name="requests.wrong-url",
            verdict=t.ConfigurationError,
            types=classes(
                _MODULE,
                "InvalidURL",
                "InvalidProxyURL",
                "MissingSchema",
                "InvalidSchema",
                "URLRequired",
                "InvalidHeader",
            ),
            why="the address or a header is wrong before anything is sent",
        ),
        Rule(
            name="requests.invalid-json",
            verdict=t.ValidationError,
            types=classes(_MODULE, "InvalidJSONError"),
            why="the data to be sent is not JSON",
        ),
        Rule(
            name="requests.redirects",
            verdict=t.PermanentError,
            types=classes(_MODULE, "TooManyRedirects"),
            why="the redirects go in a circle",
        ),
        Rule(
            name="requests.consumed",
            verdict=t.PermanentError,
            types=classes(_MODULE, "StreamConsumedError", "UnrewindableBodyError"),
            why="a body that can be read only once was needed again",
        ),
    ),
    vague=(
        Rule(
            name="requests.tls",
            verdict=t.TransientError,
            types=classes(_MODULE, "SSLError"),
            why="the handshake broke, and no cause says how",
        ),
        Rule(
            name="requests.connection",
            verdict=t.Unreachable,
            types=classes(_MODULE, "ConnectionError"),
            why="only says that a connection failed; a cause would say more",
        ),
        Rule(
            name="requests.timeout",
            verdict=t.Overloaded,
            types=classes(_MODULE, "Timeout", "RetryError"),
            why="timed out, or too many retries below",
        ),
    ),
)
