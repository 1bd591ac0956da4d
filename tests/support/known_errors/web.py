"""Errors of HTTP clients, of AWS, of mail and file transfer, of SSH and of Docker."""

from __future__ import annotations

import errno
import http.client
import ssl
import urllib.error
import xmlrpc.client
from typing import Any

from known_errors.case import Answer, Case, caused, found, group, made, one

_REQUESTS = "requests.exceptions"
_URLLIB3 = "urllib3.exceptions"
_AIOHTTP = "aiohttp.client_exceptions"
_BOTO = "botocore.exceptions"

STATUS = [
    ("transient", "in time or not at all", (408, 425, 503, 504)),
    ("transient", "the server's trouble", (500, 502, 520, 521, 522, 524, 530)),
    ("transient", "too many requests", (429, 509)),
    ("transient", "over another connection it works", (421,)),
    ("transient", "locked for now", (423,)),
    ("transient", "busy, or the proxy's own time-out", (529, 598, 599)),
    ("resource", "short of storage", (507,)),
    ("recoverable", "log in again", (401, 407)),
    ("validation", "this request is wrong", (400, 406, 411, 413, 414, 415, 416, 422, 431)),
    ("permanent", "the client has to change something", (402, 403, 404, 405, 409, 410, 412, 451)),
    ("permanent", "the server cannot do it", (501, 505, 506, 508)),
    ("permanent", "not followed, or in a circle", (301, 302, 304, 308)),
    ("configuration", "a captive portal answers instead", (511,)),
]


def _requests(status: int, **headers: str) -> BaseException:
    return made(f"{_REQUESTS}.HTTPError", f"{status} Error", response=Answer(status, **headers))


def _httpx(status: int) -> BaseException:
    return made("httpx.HTTPStatusError", f"{status}", response=Answer(status))


def _urllib(status: int) -> BaseException:
    error = urllib.error.HTTPError("http://service.test/", status, "x", {}, None)  # type: ignore[arg-type]
    error.close()  # It is an open answer as well, and is warned about where it is left open.
    return error


def _statuses() -> list[Case]:
    makers: list[tuple[str, Any]] = [("requests", _requests), ("httpx", _httpx), ("urllib", _urllib)]
    return [
        Case(f"{library} {status}", lambda make=make, status=status: make(status), category, why)  # type: ignore[misc]
        for category, why, statuses in STATUS
        for position, status in enumerate(statuses)
        # Each status once, by the clients in turn.
        for library, make in [makers[(position + len(why)) % 3]]
    ]


def _max_retry(inner: str, *arguments: Any) -> BaseException:
    reason = made(f"{_URLLIB3}.{inner}", *arguments)
    below = made(f"{_URLLIB3}.MaxRetryError", None, "http://service.test/", reason)
    below.reason = reason  # type: ignore[attr-defined]
    return below


def _aws(code: str, status: int) -> BaseException:
    response = {"Error": {"Code": code, "Message": "x"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    error = made(f"{_BOTO}.ClientError", response, "Operation")
    error.response = response  # type: ignore[attr-defined]
    return error


def _boto(name: str, error: str = "x") -> BaseException:
    kind = found(f"{_BOTO}.{name}")
    # Their texts are made from names, of which each class wants others.
    needed = (
        *("endpoint_url", "proxy_url", "provider", "profile_name", "profile", "service_name", "report"),
        *("error_msg", "checksum_type", "expected_checksum", "actual_checksum", "actual_bytes"),
        *("expected_bytes", "cred_var", "known_service_names", "region_name"),
    )
    known = dict.fromkeys(needed, "x")
    return made(f"{_BOTO}.{name}", error) if kind is None else kind(error=error, **known)


AWS = [
    (
        "transient",
        "throttled: botocore repeats it itself",
        [
            *(("Throttling", 400), ("ThrottlingException", 400), ("ThrottledException", 400)),
            *(("RequestThrottledException", 400), ("RequestThrottled", 403), ("EC2ThrottledException", 503)),
            *(("TooManyRequestsException", 400), ("ProvisionedThroughputExceededException", 400)),
            *(
                ("RequestLimitExceeded", 503),
                ("BandwidthLimitExceeded", 509),
                ("LimitExceededException", 400),
            ),
            ("SlowDown", 503),
        ],
    ),
    (
        "transient",
        "another change is under way: botocore or the manual repeats it",
        [
            *(("TransactionInProgressException", 400), ("PriorRequestNotComplete", 400)),
            *(("ReplicatedWriteConflictException", 409), ("OperationAborted", 409)),
        ],
    ),
    (
        "transient",
        "trouble on the way or of the service",
        [
            *(("RequestTimeout", 400), ("RequestTimeoutException", 408), ("IDPCommunicationError", 400)),
            *(("IncompleteBody", 400), ("InternalError", 500), ("ServiceUnavailable", 503)),
        ],
    ),
    ("resource", "a quota is used up", [("QuotaExceeded", 403), ("ServiceQuotaExceededException", 402)]),
    ("data-integrity", "what arrived is not what was sent", [("BadDigest", 400), ("InvalidDigest", 400)]),
    ("recoverable", "new credentials help", [("ExpiredToken", 400), ("ExpiredTokenException", 400)]),
    (
        "configuration",
        "credentials, clock or region are wrong",
        [
            *(("InvalidAccessKeyId", 403), ("SignatureDoesNotMatch", 403), ("AuthFailure", 401)),
            *(("UnrecognizedClientException", 400), ("RequestTimeTooSkewed", 403), ("NoSuchBucket", 404)),
            ("PermanentRedirect", 301),
        ],
    ),
    (
        "permanent",
        "may not, or is not there",
        [("AccessDenied", 403), ("AccessDeniedException", 400), ("NoSuchKey", 404)],
    ),
    (
        "validation",
        "this request is wrong",
        [
            ("ValidationException", 400),
            ("MalformedXML", 400),
            ("EntityTooLarge", 400),
            ("ConditionalCheckFailedException", 400),
        ],
    ),
]


def _amazon() -> list[Case]:
    return [
        Case(f"AWS {code} {status}", lambda code=code, status=status: _aws(code, status), category, why)  # type: ignore[misc]
        for category, why, codes in AWS
        for code, status in codes
    ]


CASES: list[Case] = [
    *_statuses(),
    *_amazon(),
    Case("503 with Retry-After", lambda: _requests(503, Retry_After="7"), "transient", "it says when"),
    Case("403 with Retry-After", lambda: _requests(403, Retry_After="60"), "transient", "a secondary limit"),
    Case(
        "403 used up",
        lambda: _requests(403, X_RateLimit_Remaining="0"),
        "transient",
        "the allowance is used up",
    ),
    # requests
    *group("transient", "no connection", _REQUESTS, ["ConnectTimeout", "ConnectionError", "ProxyError"]),
    *group("transient", "no answer in time", _REQUESTS, ["ReadTimeout", "Timeout", "RetryError"]),
    *group("transient", "cut in the middle", _REQUESTS, ["ChunkedEncodingError"]),
    *group("data-integrity", "not what its header says", _REQUESTS, ["ContentDecodingError"]),
    *group(
        "configuration",
        "never sent: the address is wrong",
        _REQUESTS,
        ["InvalidURL", "MissingSchema", "InvalidSchema", "URLRequired", "InvalidProxyURL", "InvalidHeader"],
    ),
    *group("permanent", "in a circle, or read twice", _REQUESTS, ["TooManyRedirects", "StreamConsumedError"]),
    *group("validation", "cannot be sent as JSON", _REQUESTS, ["InvalidJSONError"]),
    one(
        "data-integrity",
        "no JSON",
        f"{_REQUESTS}.JSONDecodeError",
        "Expecting value",
        "",
        0,
        base="json.decoder.JSONDecodeError",
    ),
    one(
        "security", "the chain is lost, the text is not", f"{_REQUESTS}.SSLError", "certificate verify failed"
    ),
    one("configuration", "https to a plain port", f"{_REQUESTS}.SSLError", "[SSL: WRONG_VERSION_NUMBER]"),
    one("transient", "the handshake broke", f"{_REQUESTS}.SSLError", "EOF occurred in violation of protocol"),
    Case(
        "requests around urllib3's read timeout",
        lambda: caused(made(f"{_REQUESTS}.ConnectionError"), _max_retry("ReadTimeoutError", None, "/", "x")),
        "transient",
        "the reason says: not in time",
    ),
    Case(
        "requests around a certificate",
        lambda: caused(made(f"{_REQUESTS}.ConnectionError"), ssl.SSLCertVerificationError(1, "x")),
        "security",
        "the cause knows better than the wrapper",
    ),
    # urllib3
    Case(
        "urllib3 no route",
        lambda: _max_retry("NewConnectionError", None, "no route"),
        "transient",
        "no connection came about",
    ),
    Case("urllib3 refused by name", lambda: _max_retry("ProtocolError", "x"), "transient", "broke"),
    one("transient", "no answer in time", f"{_URLLIB3}.ReadTimeoutError", None, "/", "x"),
    one("transient", "no connection", f"{_URLLIB3}.ConnectTimeoutError", None, "x"),
    one("resource", "the pool is used up", f"{_URLLIB3}.EmptyPoolError", None, "x"),
    one("resource", "the pool is full", f"{_URLLIB3}.FullPoolError", None, "x"),
    one("permanent", "the program closed the pool", f"{_URLLIB3}.ClosedPoolError", None, "x"),
    one("transient", "broke", f"{_URLLIB3}.ProtocolError", "Connection broken"),
    one("transient", "cut", f"{_URLLIB3}.IncompleteRead", 3, 9, base="http.client.IncompleteRead"),
    one("data-integrity", "not what its header says", f"{_URLLIB3}.DecodeError", "gzip"),
    one("configuration", "no such address", f"{_URLLIB3}.LocationParseError", "::"),
    one("security", "certificate", f"{_URLLIB3}.SSLError", "certificate verify failed: hostname mismatch"),
    one("transient", "not in time", f"{_URLLIB3}.TimeoutError", "x"),
    one("permanent", "in a circle", f"{_URLLIB3}.ResponseError", "too many redirects"),
    one("transient", "repeated by the pool", f"{_URLLIB3}.ResponseError", "too many 503 error responses"),
    # httpx
    *group("transient", "no connection", "httpx", ["ConnectError", "ConnectTimeout", "ProxyError"], "x"),
    *group("transient", "no progress in time", "httpx", ["ReadTimeout", "WriteTimeout"], "x"),
    *group(
        "transient",
        "broke",
        "httpx",
        ["ReadError", "WriteError", "CloseError"],
        "x",
        base="httpx.NetworkError",
    ),
    *group("transient", "cut", "httpx", ["RemoteProtocolError"], "x"),
    *group("resource", "the pool is used up", "httpx", ["PoolTimeout"], "x"),
    *group("configuration", "the address is wrong", "httpx", ["UnsupportedProtocol", "InvalidURL"], "x"),
    *group("data-integrity", "not what its header says", "httpx", ["DecodingError"], "x"),
    *group("validation", "the request breaks the protocol", "httpx", ["LocalProtocolError"], "x"),
    *group("permanent", "in a circle", "httpx", ["TooManyRedirects"], "x"),
    *group("permanent", "misused", "httpx", ["ResponseNotRead", "StreamConsumed", "StreamClosed"]),
    one("permanent", "misused", "httpx.CookieConflict", "x"),
    one("security", "certificate", "httpx.ConnectError", "[SSL: CERTIFICATE_VERIFY_FAILED]"),
    one("configuration", "https to a plain port", "httpx.ConnectError", "[SSL: WRONG_VERSION_NUMBER]"),
    *group(
        "transient",
        "below httpx",
        "httpcore",
        ["ConnectError", "ReadTimeout", "RemoteProtocolError"],
    ),
    one("transient", "below httpx", "httpcore.ReadError", base="httpcore.NetworkError"),
    *group("resource", "below httpx", "httpcore", ["PoolTimeout"]),
    # aiohttp
    *group(
        "transient",
        "broke",
        _AIOHTTP,
        ["ServerDisconnectedError", "ClientPayloadError", "ClientConnectionResetError"],
    ),
    *group(
        "transient",
        "not in time",
        _AIOHTTP,
        ["ServerTimeoutError", "SocketTimeoutError", "ConnectionTimeoutError"],
    ),
    *group("transient", "no connection", _AIOHTTP, ["ClientConnectionError"]),
    one("configuration", "no address", f"{_AIOHTTP}.InvalidURL", "::"),
    Case(
        "aiohttp refused",
        lambda: made(
            f"{_AIOHTTP}.ClientConnectorError",
            None,
            OSError(errno.ECONNREFUSED, "x"),
            base="builtins.OSError",
        ),
        "transient",
        "no connection",
    ),
    one(
        "security", "another key than was pinned", f"{_AIOHTTP}.ServerFingerprintMismatch", b"a", b"b", "h", 1
    ),
    *[
        one(category, why, f"{_AIOHTTP}.ClientResponseError", None, (), status=status)
        for category, why, status in [
            ("transient", "too many requests", 429),
            ("transient", "the server's trouble", 502),
            ("permanent", "not there", 404),
            ("recoverable", "log in again", 401),
        ]
    ],
    one(
        "data-integrity", "a page in the place of JSON", f"{_AIOHTTP}.ContentTypeError", None, (), status=200
    ),
    one("transient", "an error page", f"{_AIOHTTP}.ContentTypeError", None, (), status=503),
    # botocore's own
    *[
        Case(
            f"botocore {name}",
            lambda name=name: _boto(name),  # type: ignore[misc]
            category,
            why,
        )
        for category, why, names in [
            (
                "transient",
                "no connection",
                ["EndpointConnectionError", "ConnectTimeoutError", "ProxyConnectionError"],
            ),
            ("transient", "broke", ["ConnectionClosedError", "HTTPClientError", "ResponseStreamingError"]),
            ("transient", "no answer in time", ["ReadTimeoutError"]),
            (
                "configuration",
                "no credentials",
                ["NoCredentialsError", "PartialCredentialsError", "ProfileNotFound"],
            ),
            ("configuration", "region or service", ["NoRegionError", "UnknownServiceError"]),
            ("validation", "never sent", ["ParamValidationError"]),
            ("data-integrity", "checksum", ["FlexibleChecksumError", "ChecksumError"]),
            ("recoverable", "log in again", ["UnauthorizedSSOTokenError"]),
            ("transient", "the metadata service is away", ["CredentialRetrievalError"]),
            ("transient", "cut", ["IncompleteReadError"]),
        ]
        for name in names
    ],
    Case(
        "botocore certificate",
        lambda: _boto("SSLError", "certificate verify failed"),
        "security",
        "certificate",
    ),
    Case("botocore handshake", lambda: _boto("SSLError", "EOF"), "transient", "the handshake broke"),
    # the standard library's
    Case("http cut", lambda: http.client.IncompleteRead(b"x", 9), "transient", "cut in the middle"),
    Case("http gone", lambda: http.client.RemoteDisconnected("x"), "transient", "closed without an answer"),
    Case("http status line", lambda: http.client.BadStatusLine("x"), "transient", "cut at the first line"),
    Case("http url", lambda: http.client.InvalidURL("x"), "configuration", "the address is wrong"),
    Case("http line", lambda: http.client.LineTooLong("header"), "data-integrity", "no HTTP"),
    Case("http order", lambda: http.client.CannotSendRequest("x"), "permanent", "a defect"),
    Case(
        "urllib refused",
        lambda: urllib.error.URLError(ConnectionRefusedError(111, "x")),
        "transient",
        "refused",
    ),
    Case(
        "urllib scheme", lambda: urllib.error.URLError("unknown url type: x"), "configuration", "the address"
    ),
    Case("urllib vague", lambda: urllib.error.URLError("x"), "transient", "only says connection"),
    Case("urllib short", lambda: urllib.error.ContentTooShortError("x", None), "transient", "cut"),  # type: ignore[arg-type]
    Case("xmlrpc 503", lambda: xmlrpc.client.ProtocolError("u", 503, "x", {}), "transient", "busy"),
    Case("xmlrpc 404", lambda: xmlrpc.client.ProtocolError("u", 404, "x", {}), "permanent", "not there"),
    Case("xmlrpc fault", lambda: xmlrpc.client.Fault(1, "x"), "permanent", "the procedure's own error"),
]
