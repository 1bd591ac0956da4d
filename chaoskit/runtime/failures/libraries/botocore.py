"""The errors of botocore, and of boto3 and s3transfer above it; the codes that AWS answers with."""

from __future__ import annotations

from chaoskit.runtime.failures import taxonomy as t
from chaoskit.runtime.failures.amazon import ANSWERS
from chaoskit.runtime.failures.library import Library, classes
from chaoskit.runtime.failures.rules import Rule

__all__ = ["LIBRARY"]

_MODULE = "botocore.exceptions"

# Codes come before statuses: AWS sends throttling as 400, 403 and 503.
LIBRARY = Library(
    name="botocore",
    source="botocore/data/_retry.json; botocore.retries.standard; the error pages of S3, EC2 and STS",
    rules=(
        *ANSWERS,
        Rule(
            name="botocore.certificate",
            verdict=t.SecurityError,
            types=classes(_MODULE, "SSLError"),
            message=r"certificate.verify.failed|hostname mismatch|doesn't match",
            why="the other side could not prove its identity",
        ),
        Rule(
            name="botocore.not-tls",
            verdict=t.ConfigurationError,
            types=classes(_MODULE, "SSLError"),
            message=r"wrong.version.number|unknown protocol|http request|UNSUPPORTED_PROTOCOL",
            why="the client spoke HTTPS to a port that speaks something else",
        ),
        Rule(
            name="botocore.connect",
            verdict=t.Unreachable,
            types=classes(_MODULE, "ConnectTimeoutError", "EndpointConnectionError", "ProxyConnectionError"),
            why="no connection could be made",
        ),
        Rule(
            name="botocore.read",
            verdict=t.Overloaded,
            types=classes(_MODULE, "ReadTimeoutError"),
            why="connected, but no answer in time",
        ),
        Rule(
            name="botocore.broken",
            verdict=t.TransientError,
            types=classes(
                _MODULE,
                "ConnectionClosedError",
                "ResponseStreamingError",
                "IncompleteReadError",
                "HTTPClientError",
                "ConnectionError",
                "SSLError",
            ),
            why="the connection broke; botocore repeats these classes itself",
        ),
        Rule(
            name="botocore.checksum",
            verdict=t.DataIntegrityError,
            types=classes(_MODULE, "FlexibleChecksumError", "ChecksumError"),
            why="what arrived is not what was sent",
        ),
        Rule(
            name="botocore.expired",
            verdict=t.RecoverableError,
            types=classes(
                _MODULE,
                "UnauthorizedSSOTokenError",
                "SSOTokenLoadError",
                "TokenRetrievalError",
                "LoginRefreshRequired",
            ),
            why="a new login helps",
        ),
        Rule(
            name="botocore.credentials-away",
            verdict=t.TransientError,
            types=classes(_MODULE, "CredentialRetrievalError", "MetadataRetrievalError"),
            why="the service that hands out credentials did not answer",
        ),
        Rule(
            name="botocore.credentials",
            verdict=t.ConfigurationError,
            types=classes(
                _MODULE,
                "NoCredentialsError",
                "PartialCredentialsError",
                "NoAuthTokenError",
                "ProfileNotFound",
                "UnknownCredentialError",
            ),
            why="there are no credentials, or only half of them",
        ),
        Rule(
            name="botocore.parameters",
            verdict=t.ValidationError,
            types=classes(
                _MODULE,
                "ParamValidationError",
                "ValidationError",
                "MissingParametersError",
                "UnsupportedS3ArnError",
            ),
            why="this request is wrong, so it was not sent",
        ),
        Rule(
            name="botocore.set-up",
            verdict=t.ConfigurationError,
            types=classes(
                _MODULE,
                "NoRegionError",
                "UnknownServiceError",
                "DataNotFoundError",
                "UnknownEndpointError",
                "EndpointVariantError",
                "EndpointProviderError",
                "InvalidEndpointConfigurationError",
                "InvalidConfigError",
                "ConfigNotFound",
                "ConfigParseError",
                "InvalidProxiesConfigError",
                "InvalidRetryConfigurationError",
                "InvalidDNSNameError",
                "InvalidHostLabelError",
                "MissingDependencyException",
                "UnsupportedS3ConfigurationError",
                "UnsupportedS3AccesspointConfigurationError",
            ),
            why="region, service, endpoint or options are wrong",
        ),
        Rule(
            name="botocore.stream",
            verdict=t.PermanentError,
            types=classes(_MODULE, "UnseekableStreamError", "AwsChunkedWrapperError"),
            why="a body that can be read only once was needed again",
        ),
        Rule(
            name="botocore.waited",
            verdict=t.Overloaded,
            types=classes(_MODULE, "WaiterError"),
            message=r"max attempts exceeded",
            why="the awaited state was not reached in time",
        ),
        Rule(
            name="s3transfer.tries",
            verdict=t.TransientError,
            types=("s3transfer.exceptions.RetriesExceededError", "boto3.exceptions.RetriesExceededError"),
            why="the connection broke again and again during a download",
        ),
    ),
    vague=(
        Rule(
            name="botocore.other",
            verdict=t.PermanentError,
            types=classes(_MODULE, "BotoCoreError"),
            why="the client refused, for a reason that no other rule covers",
        ),
    ),
)
