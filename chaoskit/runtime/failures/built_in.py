"""The rules that come built in, as data: what a failure looks like, and which class of the taxonomy it is.

Sources: errno(3); the exit codes of ``timeout(1)``, bash(1) (128 + signal) and sysexits(3h); RFC 9110 and
RFC 6585 for HTTP; Microsoft's list of system error codes; the error tables of the S3 API; SQLite's texts.
"""

from __future__ import annotations

from chaoskit.runtime.failures import taxonomy as t
from chaoskit.runtime.failures.rules import Rule

__all__ = ["BUILT_IN", "VAGUE"]

# By number, since Windows lacks most of the names, and exit codes come from other machines.
_SIGNALS = {
    "HUP": 1,
    "INT": 2,
    "ABRT": 6,
    "BUS": 7,
    "FPE": 8,
    "KILL": 9,
    "SEGV": 11,
    "TERM": 15,
    "XCPU": 24,
    "XFSZ": 25,
}


def _killed_by(*names: str) -> tuple[int, ...]:
    numbers = [_SIGNALS[name] for name in names]
    # A shell adds 128 to the number; subprocess gives its negative.
    return (*(128 + n for n in numbers), *(-n for n in numbers))


def _interrupts() -> tuple[Rule, ...]:
    return (
        Rule(
            # First of all: no rule for a text or a status may take Ctrl-C for a failure to be repeated.
            name="interrupt",
            verdict=t.PermanentError,
            types=(KeyboardInterrupt, SystemExit, GeneratorExit, "asyncio.exceptions.CancelledError"),
        ),
    )


# Before the errnos: what these classes have in ``errno`` is numbered by OpenSSL or by the resolver.
_NETWORK_FIRST = (
    Rule(name="tls.certificate", verdict=t.SecurityError, types=("ssl.SSLCertVerificationError",)),
    Rule(name="tls", verdict=t.TransientError, types=("ssl.SSLError",)),
    Rule(name="dns", verdict=t.Unreachable, types=("socket.gaierror", "socket.herror")),
)

_HTTP_CODES = (
    Rule(
        name="aws.throttled",
        verdict=t.RateLimited,
        codes=(
            "SlowDown",
            "Throttling",
            "ThrottlingException",
            "ThrottledException",
            "RequestLimitExceeded",
            "TooManyRequestsException",
            "ProvisionedThroughputExceededException",
            "BandwidthLimitExceeded",
        ),
    ),
    Rule(name="aws.timeout", verdict=t.Overloaded, codes=("RequestTimeout", "RequestTimeoutException")),
    Rule(
        name="aws.expired",
        verdict=t.RecoverableError,
        codes=("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"),
    ),
    Rule(
        name="aws.credentials",
        verdict=t.ConfigurationError,
        codes=("InvalidAccessKeyId", "SignatureDoesNotMatch", "AuthFailure", "UnrecognizedClientException"),
    ),
    Rule(name="aws.clock", verdict=t.ConfigurationError, codes=("RequestTimeTooSkewed",)),
    Rule(name="http.rate-limited", verdict=t.RateLimited, statuses=(429,)),
    Rule(
        # Before http.overloaded: a 503 that says when to come back is a limit, not a breakdown.
        name="http.retry-after",
        verdict=t.RateLimited,
        statuses=(503,),
        when=lambda e: "retry-after" in e.headers,
    ),
    Rule(name="http.overloaded", verdict=t.Overloaded, statuses=(408, 425, 503, 504)),
    Rule(name="http.unauthorized", verdict=t.RecoverableError, statuses=(401, 407)),
    Rule(name="http.locked", verdict=t.TransientError, statuses=(423,)),
    Rule(name="http.version", verdict=t.ServiceVersionMismatch, statuses=(426, 505)),
    Rule(name="http.storage-full", verdict=t.ResourceError, statuses=(507,)),
    Rule(name="http.unsupported", verdict=t.PermanentError, statuses=(501,)),
    Rule(name="http.invalid", verdict=t.ValidationError, statuses=(400, 406, 411, 413, 414, 415, 416, 422)),
    # The remaining 4xx: by RFC 9110 the client has to change the request.
    Rule(name="http.client-error", verdict=t.PermanentError, statuses=(range(400, 500),)),
    Rule(name="http.server-error", verdict=t.TransientError, statuses=(range(500, 600),)),
)

_CLIENT_LIBRARIES = (
    Rule(
        name="network.connect",
        verdict=t.Unreachable,
        types=(
            "requests.exceptions.ConnectTimeout",
            "requests.exceptions.ProxyError",
            "urllib3.exceptions.ConnectTimeoutError",
            "urllib3.exceptions.NewConnectionError",
            "urllib3.exceptions.NameResolutionError",
            "httpx.ConnectTimeout",
            "httpx.ConnectError",
            "httpx.PoolTimeout",
            "aiohttp.client_exceptions.ConnectionTimeoutError",
            "aiohttp.client_exceptions.ClientConnectorError",
            "botocore.exceptions.ConnectTimeoutError",
            "botocore.exceptions.EndpointConnectionError",
        ),
    ),
    Rule(
        name="network.read",
        verdict=t.Overloaded,
        types=(
            "requests.exceptions.ReadTimeout",
            "urllib3.exceptions.ReadTimeoutError",
            "httpx.ReadTimeout",
            "httpx.WriteTimeout",
            "aiohttp.client_exceptions.SocketTimeoutError",
            "aiohttp.client_exceptions.ServerTimeoutError",
            "botocore.exceptions.ReadTimeoutError",
        ),
    ),
    Rule(
        name="network.broken",
        verdict=t.TransientError,
        types=(
            "requests.exceptions.ChunkedEncodingError",
            "urllib3.exceptions.ProtocolError",
            "urllib3.exceptions.IncompleteRead",
            "http.client.IncompleteRead",
            "http.client.RemoteDisconnected",
            "httpx.NetworkError",
            "httpx.RemoteProtocolError",
            "aiohttp.client_exceptions.ServerDisconnectedError",
            "aiohttp.client_exceptions.ClientPayloadError",
            "botocore.exceptions.ConnectionClosedError",
            "botocore.exceptions.ResponseStreamingError",
        ),
    ),
    Rule(
        name="aws.no-credentials",
        verdict=t.ConfigurationError,
        types=("botocore.exceptions.NoCredentialsError", "botocore.exceptions.PartialCredentialsError"),
    ),
    Rule(
        name="http.wrong-url",
        verdict=t.ConfigurationError,
        types=(
            "requests.exceptions.InvalidURL",
            "requests.exceptions.MissingSchema",
            "httpx.UnsupportedProtocol",
            "httpx.InvalidURL",
        ),
    ),
)

# Where the library's error only says "connection"; its cause, if it has one, knows better.
_CLIENT_LIBRARIES_LAST = (
    Rule(
        name="network.connection",
        verdict=t.Unreachable,
        types=(
            "requests.exceptions.ConnectionError",
            "urllib3.exceptions.MaxRetryError",
            "aiohttp.client_exceptions.ClientConnectionError",
        ),
    ),
    Rule(
        name="network.timeout",
        verdict=t.Overloaded,
        types=("requests.exceptions.Timeout", "urllib3.exceptions.TimeoutError", "httpx.TimeoutException"),
    ),
)

_FILES = (
    Rule(name="disk-full", verdict=t.DiskFull, errnos=("ENOSPC",)),
    Rule(name="quota", verdict=t.QuotaExceeded, errnos=("EDQUOT",)),
    Rule(name="permission", verdict=t.PermissionRefused, errnos=("EACCES", "EPERM")),
    Rule(name="read-only", verdict=t.ReadOnlyFilesystem, errnos=("EROFS",)),
    Rule(name="stale-handle", verdict=t.StaleHandle, errnos=("ESTALE",)),
    Rule(name="too-many-files", verdict=t.TooManyFiles, errnos=("EMFILE", "ENFILE")),
    Rule(name="not-found", verdict=t.FileMissing, errnos=("ENOENT", "ENOTDIR")),
    Rule(name="memory.errno", verdict=t.OutOfMemory, errnos=("ENOMEM", "ENOBUFS")),
    Rule(
        name="network.unreachable",
        verdict=t.Unreachable,
        errnos=("ECONNREFUSED", "EHOSTUNREACH", "ENETUNREACH", "ENETDOWN", "EHOSTDOWN", "ETIMEDOUT"),
    ),
    Rule(
        name="network.reset",
        verdict=t.TransientError,
        errnos=("ECONNRESET", "ECONNABORTED", "EPIPE", "ENETRESET", "ENOTCONN"),
    ),
    Rule(
        name="busy",
        verdict=t.TransientError,
        errnos=("EAGAIN", "EINTR", "EBUSY", "ETXTBSY", "EDEADLK", "ENOLCK"),
    ),
    Rule(name="windows.disk-full", verdict=t.DiskFull, winerrors=(39, 112)),
    Rule(name="windows.quota", verdict=t.QuotaExceeded, winerrors=(1295,)),
    Rule(name="windows.permission", verdict=t.PermissionRefused, winerrors=(5,)),
    Rule(name="windows.read-only", verdict=t.ReadOnlyFilesystem, winerrors=(19,)),
    Rule(name="windows.not-found", verdict=t.FileMissing, winerrors=(2, 3)),
    Rule(name="windows.too-many-files", verdict=t.TooManyFiles, winerrors=(4,)),
    Rule(name="windows.in-use", verdict=t.TransientError, winerrors=(32, 33)),
    Rule(name="windows.network", verdict=t.Unreachable, winerrors=(53, 59, 64, 121, 1231, 10060, 10061)),
    # The last of these: every other errno. An OSError without one comes from a library, not from the system.
    Rule(name="filesystem", verdict=t.FilesystemError, types=(OSError,), when=lambda e: e.errno is not None),
)

_SQLITE = "sqlite3.Error"
_DATABASES = (
    Rule(
        name="sqlite.locked",
        verdict=t.TransientError,
        types=(_SQLITE,),
        # By text: one class, OperationalError, stands for busy, full and broken.
        message=r"database (table |schema )?is locked|locking protocol",
    ),
    Rule(name="sqlite.full", verdict=t.DiskFull, types=(_SQLITE,), message=r"database or disk is full"),
    Rule(
        name="sqlite.read-only", verdict=t.ReadOnlyFilesystem, types=(_SQLITE,), message=r"readonly database"
    ),
    Rule(
        name="sqlite.corrupt",
        verdict=t.DataIntegrityError,
        types=(_SQLITE,),
        message=r"malformed|is not a database|integrity",
    ),
    Rule(
        name="sqlite.constraint",
        verdict=t.ValidationError,
        types=("sqlite3.IntegrityError", "sqlite3.DataError"),
    ),
    Rule(name="sqlite.cannot-open", verdict=t.FilesystemError, types=(_SQLITE,), message=r"unable to open"),
    # By name, so that no driver has to be imported for it.
    Rule(name="postgres.connection", verdict=t.Unreachable, types=("psycopg.OperationalError",)),
    Rule(
        name="postgres.conflict",
        verdict=t.TransientError,
        types=(
            "psycopg.errors.SerializationFailure",
            "psycopg.errors.DeadlockDetected",
            "psycopg.errors.LockNotAvailable",
        ),
    ),
)

_DATA = (
    Rule(
        name="archive.unsafe",
        verdict=t.UnsafeArchive,
        types=("tarfile.FilterError",),
    ),
    Rule(
        name="archive.corrupt",
        verdict=t.CorruptArchive,
        types=(
            "tarfile.ReadError",
            "zipfile.BadZipFile",
            "gzip.BadGzipFile",
            "zlib.error",
            "lzma.LZMAError",
            # The class says where it is defined, which differs from where it is imported.
            "_lzma.LZMAError",
            EOFError,
        ),
    ),
    Rule(name="data.json", verdict=t.MalformedData, types=("json.decoder.JSONDecodeError",)),
    Rule(name="data.csv", verdict=t.MalformedData, types=("_csv.Error",)),
    Rule(name="data.encoding", verdict=t.MalformedData, types=(UnicodeDecodeError,)),
    Rule(
        name="data.pickle",
        verdict=t.DataIntegrityError,
        types=("pickle.UnpicklingError", "_pickle.UnpicklingError"),
    ),
)

# Before the exit codes: most programs end with 1 and say in words what was wrong.
_STDERR = (
    Rule(
        name="stderr.memory",
        verdict=t.OutOfMemory,
        stderr=r"out of memory|oom-?kill|cannot allocate memory|std::bad_alloc|MemoryError",
    ),
    Rule(name="stderr.disk-full", verdict=t.DiskFull, stderr=r"no space left on device|disk full"),
    Rule(name="stderr.quota", verdict=t.QuotaExceeded, stderr=r"disk quota exceeded"),
    Rule(name="stderr.read-only", verdict=t.ReadOnlyFilesystem, stderr=r"read-only file system"),
    Rule(
        name="stderr.permission",
        verdict=t.PermissionRefused,
        stderr=r"permission denied|operation not permitted",
    ),
    Rule(name="stderr.too-many-files", verdict=t.TooManyFiles, stderr=r"too many open files"),
    Rule(
        name="stderr.unreachable",
        verdict=t.Unreachable,
        stderr=r"connection refused|could not resolve host|name or service not known|"
        r"network is unreachable|no route to host",
    ),
    Rule(
        name="stderr.reset",
        verdict=t.TransientError,
        stderr=r"connection reset|broken pipe|temporary failure|try again",
    ),
    Rule(name="stderr.timeout", verdict=t.Overloaded, stderr=r"timed? ?out"),
    Rule(name="stderr.not-found", verdict=t.FileMissing, stderr=r"no such file or directory"),
    Rule(
        name="stderr.usage",
        verdict=t.ConfigurationError,
        stderr=r"^usage:|unrecognized (option|argument)|invalid option",
    ),
)

_EXIT_CODES = (
    # SIGKILL without anyone asking is in practice the kernel out of memory.
    Rule(name="exit.killed", verdict=t.OutOfMemory, exit_codes=_killed_by("KILL")),
    Rule(name="exit.timeout", verdict=t.Overloaded, exit_codes=(124,)),
    Rule(name="exit.terminated", verdict=t.TransientError, exit_codes=_killed_by("TERM", "INT", "HUP")),
    Rule(name="exit.file-too-large", verdict=t.DiskFull, exit_codes=_killed_by("XFSZ")),
    Rule(name="exit.cpu-limit", verdict=t.ResourceError, exit_codes=_killed_by("XCPU")),
    Rule(name="exit.crashed", verdict=t.PermanentError, exit_codes=_killed_by("SEGV", "ABRT", "BUS", "FPE")),
    # 1 says little; that the same command fails again is the safer guess.
    Rule(name="exit.usage", verdict=t.ConfigurationError, exit_codes=(1, 2, 64, 78, 126, 127)),
    Rule(name="exit.data", verdict=t.ValidationError, exit_codes=(65, 66)),
    Rule(name="exit.unavailable", verdict=t.Unreachable, exit_codes=(68, 69)),
    Rule(name="exit.try-again", verdict=t.TransientError, exit_codes=(75,)),
    Rule(name="exit.permission", verdict=t.PermissionRefused, exit_codes=(77,)),
    Rule(name="exit.other", verdict=t.PermanentError, when=lambda e: bool(e.exit_code)),
)

_GENERAL = (
    Rule(name="memory", verdict=t.OutOfMemory, types=(MemoryError,)),
    Rule(name="process.timeout", verdict=t.Overloaded, types=("subprocess.TimeoutExpired",)),
    Rule(name="connection.refused", verdict=t.Unreachable, types=(ConnectionRefusedError,)),
    Rule(name="connection", verdict=t.TransientError, types=(ConnectionError,)),
    Rule(name="timeout", verdict=t.Overloaded, types=(TimeoutError, "concurrent.futures._base.TimeoutError")),
    Rule(name="permission.type", verdict=t.PermissionRefused, types=(PermissionError,)),
    Rule(name="not-found.type", verdict=t.FileMissing, types=(FileNotFoundError, NotADirectoryError)),
    Rule(name="import", verdict=t.ConfigurationError, types=(ImportError,)),
    # After the classes for data: JSONDecodeError and UnicodeDecodeError are ValueErrors, too.
    Rule(name="value", verdict=t.ValidationError, types=(ValueError,)),
    Rule(
        name="programming",
        verdict=t.PermanentError,
        types=(
            TypeError,
            AttributeError,
            NameError,
            LookupError,
            AssertionError,
            ArithmeticError,
            SyntaxError,
            NotImplementedError,
            RecursionError,
        ),
    ),
)

# The order matters: what is more specific stands before what is more general.
BUILT_IN: tuple[Rule, ...] = (
    *_interrupts(),
    *_NETWORK_FIRST,
    *_HTTP_CODES,
    *_CLIENT_LIBRARIES,
    *_FILES,
    *_DATABASES,
    *_DATA,
    *_STDERR,
    *_EXIT_CODES,
    *_GENERAL,
)

# Tried when no link of the chain has matched anything above.
VAGUE: tuple[Rule, ...] = _CLIENT_LIBRARIES_LAST
