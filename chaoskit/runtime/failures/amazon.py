"""The codes of Amazon's services, which botocore's errors carry and the command line prints.

Sources: botocore/data/_retry.json; botocore.retries.standard; the error pages of S3, EC2 and STS.
"""

from __future__ import annotations

from chaoskit.runtime.failures import taxonomy as t
from chaoskit.runtime.failures.rules import Rule

__all__ = ["ANSWERS"]

ANSWERS = (
    Rule(
        name="aws.throttled",
        verdict=t.RateLimited,
        codes=(
            "Throttling",
            "Throttling.*",
            "ThrottlingException",
            "ThrottledException",
            "ThrottlingError",
            "RequestThrottled",
            "RequestThrottledException",
            "TooManyRequestsException",
            "TooManyRequests",
            "ProvisionedThroughputExceededException",
            "ProvisionedThroughputExceeded",
            "RequestLimitExceeded",
            "BandwidthLimitExceeded",
            "LimitExceededException",
            "SlowDown",
            "EC2ThrottledException",
        ),
        why="botocore's list of throttling codes: it repeats them itself",
    ),
    Rule(
        name="aws.in-progress",
        verdict=t.TransientError,
        codes=(
            "TransactionInProgressException",
            "PriorRequestNotComplete",
            "ReplicatedWriteConflictException",
            "OperationAborted",
            "ConditionalRequestConflict",
            "TransactionConflictException",
            "ConcurrentModification",
            "ConcurrentModificationException",
        ),
        why="another change of the same resource is in progress; botocore repeats the first three",
    ),
    Rule(
        name="aws.timeout",
        verdict=t.Overloaded,
        codes=("RequestTimeout", "RequestTimeoutException"),
        why="botocore's list of transient codes",
    ),
    Rule(
        name="aws.unavailable",
        verdict=t.TransientError,
        codes=(
            "InternalError",
            "InternalFailure",
            "InternalServerError",
            "ServiceUnavailable",
            "ServiceUnavailableException",
            "IDPCommunicationError",
            "IncompleteBody",
        ),
        why="trouble with the service, or on the way to it; the S3 and STS pages say to repeat",
    ),
    Rule(
        name="aws.capacity",
        verdict=t.ResourceError,
        codes=(
            "QuotaExceeded",
            "QuotaExceededException",
            "ServiceQuotaExceededException",
            "InsufficientInstanceCapacity",
            "InsufficientCapacity",
            "InstanceLimitExceeded",
            "VcpuLimitExceeded",
        ),
        why="a quota or the machines of the region are used up until something is freed",
    ),
    Rule(
        name="aws.digest",
        verdict=t.DataIntegrityError,
        codes=(
            "BadDigest",
            "InvalidDigest",
            "XAmzContentSHA256Mismatch",
            "XAmzContentChecksumMismatch",
            "InvalidPart",
        ),
        why="the data that arrived is not what was sent",
    ),
    Rule(
        name="aws.expired",
        verdict=t.RecoverableError,
        codes=("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"),
        why="new credentials help, the same ones do not",
    ),
    Rule(
        name="aws.clock",
        verdict=t.ConfigurationError,
        codes=("RequestTimeTooSkewed", "RequestInTheFuture"),
        why="the clock of this machine is wrong",
    ),
    Rule(
        name="aws.credentials",
        verdict=t.ConfigurationError,
        codes=(
            "InvalidAccessKeyId",
            "InvalidClientTokenId",
            "SignatureDoesNotMatch",
            "InvalidSignatureException",
            "AuthFailure",
            "UnrecognizedClientException",
            "IncompleteSignature",
            "MissingAuthenticationToken",
            "MissingAuthenticationTokenException",
            "InvalidToken",
            "NotSignedUp",
            "OptInRequired",
        ),
        why="the credentials are wrong",
    ),
    Rule(
        name="aws.denied",
        verdict=t.PermissionRefused,
        codes=(
            "AccessDenied",
            "AccessDeniedException",
            "UnauthorizedOperation",
            "AllAccessDisabled",
            "KMS.DisabledException",
        ),
        why="the credentials are right, but do not allow it",
    ),
    Rule(
        name="aws.wrong-place",
        verdict=t.ConfigurationError,
        codes=(
            "NoSuchBucket",
            "PermanentRedirect",
            "AuthorizationHeaderMalformed",
            "IllegalLocationConstraintException",
        ),
        why="the bucket or the region is wrong",
    ),
    Rule(
        name="aws.invalid",
        verdict=t.ValidationError,
        codes=(
            "ValidationException",
            "ValidationError",
            "InvalidParameterValue",
            "InvalidParameterException",
            "InvalidParameterCombination",
            "InvalidRequest",
            "InvalidRequestException",
            "InvalidArgument",
            "MalformedXML",
            "MissingParameter",
            "EntityTooLarge",
            "EntityTooSmall",
            "KeyTooLongError",
        ),
        why="this request is wrong",
    ),
    Rule(
        name="aws.condition",
        verdict=t.ValidationError,
        codes=("ConditionalCheckFailedException", "PreconditionFailed"),
        why="the condition of the write does not hold: another value is there",
    ),
)
