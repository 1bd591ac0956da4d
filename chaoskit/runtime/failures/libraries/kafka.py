"""The errors of kafka-python, aiokafka and confluent-kafka."""

from __future__ import annotations

from chaoskit.runtime.failures import taxonomy as t
from chaoskit.runtime.failures.library import Library
from chaoskit.runtime.failures.rules import Rule
from chaoskit.runtime.failures.symptoms import Symptoms

__all__ = ["LIBRARY"]


def _both(*names: str) -> tuple[str, ...]:
    # Different versions write some of the names with and without Error at the end.
    return tuple(
        f"{home}.{name}{end}"
        for home in ("kafka.errors", "aiokafka.errors")
        for name in names
        for end in ("", "Error")
    )


def _name(error: BaseException) -> object:
    # confluent-kafka wraps a KafkaError, which has the name of its code, in an exception.
    inner = error.args[0] if error.args else None
    name = getattr(inner, "name", None)
    return name() if callable(name) else ""


def _retriable(symptoms: Symptoms) -> bool:
    """Return True if the library itself says that the request may be sent again."""
    error = symptoms.error
    if getattr(error, "retriable", False) is True:
        return True
    said = getattr(error.args[0], "retriable", None) if error is not None and error.args else None
    return callable(said) and bool(said())


_ANY = ("kafka.errors.KafkaError", "aiokafka.errors.KafkaError", "cimpl.KafkaException")

LIBRARY = Library(
    name="kafka",
    source="the flag retriable of kafka-python, aiokafka and librdkafka; Kafka's table of error codes",
    code_of=_name,
    rules=(
        Rule(
            name="kafka.throttled",
            verdict=t.ResourceError,
            types=_both("ThrottlingQuotaExceeded", "QuotaViolation"),
            why="the quota is used up",
        ),
        Rule(
            name="kafka.queue-full",
            verdict=t.ResourceError,
            codes=("_QUEUE_FULL", "THROTTLING_QUOTA_EXCEEDED"),
            why="the producer's own queue, or the quota, is full",
        ),
        Rule(
            name="kafka.timeout",
            verdict=t.Overloaded,
            types=_both("KafkaTimeout", "RequestTimedOut"),
            why="no answer in time",
        ),
        Rule(
            name="kafka.timeout.code",
            verdict=t.Overloaded,
            codes=("_MSG_TIMED_OUT", "_TIMED_OUT", "_TIMED_OUT_QUEUE", "REQUEST_TIMED_OUT"),
            why="no answer in time",
        ),
        Rule(
            name="kafka.unreachable",
            verdict=t.Unreachable,
            types=_both(
                "KafkaConnection",
                "NoBrokersAvailable",
                "NodeNotReady",
                "BrokerNotAvailable",
                "KafkaUnavailable",
            ),
            why="no broker can be reached",
        ),
        Rule(
            name="kafka.unreachable.code",
            verdict=t.Unreachable,
            codes=(
                "_ALL_BROKERS_DOWN",
                "_TRANSPORT",
                "_RESOLVE",
                "BROKER_NOT_AVAILABLE",
                "NETWORK_EXCEPTION",
            ),
            why="no broker can be reached",
        ),
        Rule(
            name="kafka.rebalance",
            verdict=t.TransientError,
            types=_both(
                "RebalanceInProgress",
                "IllegalGeneration",
                "UnknownMemberId",
                "MemberIdRequired",
                "StaleMemberEpoch",
            ),
            why="the group is rebalancing: poll and go on",
        ),
        Rule(
            name="kafka.commit-lost",
            verdict=t.RecoverableError,
            types=_both("CommitFailed"),
            why="another member owns the partitions by now: what was read will be read again",
        ),
        Rule(
            name="kafka.retriable",
            verdict=t.TransientError,
            types=_ANY,
            when=_retriable,
            why="the library's own flag: the request may be sent again",
        ),
        Rule(
            name="kafka.fenced",
            verdict=t.PermanentError,
            types=_both(
                "ProducerFenced", "FencedInstanceId", "InvalidProducerEpoch", "TransactionCoordinatorFenced"
            ),
            why="another producer or member took this one's place",
        ),
        Rule(
            name="kafka.credentials",
            verdict=t.ConfigurationError,
            types=_both(
                "SaslAuthenticationFailed",
                "AuthenticationFailed",
                "UnsupportedSaslMechanism",
                "IllegalSaslState",
                "SecurityDisabled",
                "UnacceptableCredential",
                "DelegationTokenNotFound",
            ),
            why="user, password or mechanism is wrong",
        ),
        Rule(
            name="kafka.credentials.code",
            verdict=t.ConfigurationError,
            codes=("_AUTHENTICATION", "SASL_AUTHENTICATION_FAILED", "_SSL", "_INVALID_ARG", "_UNKNOWN_TOPIC"),
            why="user, password, certificate or options are wrong",
        ),
        Rule(
            name="kafka.token-expired",
            verdict=t.RecoverableError,
            types=_both("DelegationTokenExpired"),
            why="a new token helps, the same one does not",
        ),
        Rule(
            name="kafka.denied",
            verdict=t.PermissionRefused,
            types=_both(
                "Authorization",
                "TopicAuthorizationFailed",
                "GroupAuthorizationFailed",
                "ClusterAuthorizationFailed",
                "TransactionalIdAuthorizationFailed",
                "DelegationTokenAuthorizationFailed",
            ),
            why="the user lacks permission",
        ),
        Rule(
            name="kafka.denied.code",
            verdict=t.PermissionRefused,
            codes=(
                "TOPIC_AUTHORIZATION_FAILED",
                "GROUP_AUTHORIZATION_FAILED",
                "CLUSTER_AUTHORIZATION_FAILED",
            ),
            why="the user lacks permission",
        ),
        Rule(
            name="kafka.corrupt",
            verdict=t.DataIntegrityError,
            types=_both("CorruptRecord", "LogTruncation"),
            why="a record is damaged, or the log was cut",
        ),
        Rule(
            name="kafka.corrupt.code",
            verdict=t.DataIntegrityError,
            codes=("_BAD_MSG", "INVALID_MSG", "_LOG_TRUNCATION"),
            why="a record is damaged, or the log was cut",
        ),
        Rule(
            name="kafka.record",
            verdict=t.ValidationError,
            types=_both(
                "MessageSizeTooLarge",
                "RecordListTooLarge",
                "RecordTooLarge",
                "InvalidRecord",
                "InvalidTimestamp",
                "OffsetMetadataTooLarge",
                "InvalidTopic",
                "PolicyViolation",
                "TopicAlreadyExists",
            ),
            why="this record or request is wrong",
        ),
        Rule(
            name="kafka.record.code",
            verdict=t.ValidationError,
            codes=("MSG_SIZE_TOO_LARGE", "INVALID_RECORD", "TOPIC_EXCEPTION", "TOPIC_ALREADY_EXISTS"),
            why="this record or request is wrong",
        ),
        Rule(
            name="kafka.offset",
            verdict=t.RecoverableError,
            types=_both("OffsetOutOfRange", "NoOffsetForPartition"),
            why="the place is no longer in the log: begin at another",
        ),
        Rule(
            name="kafka.version",
            verdict=t.ServiceVersionMismatch,
            types=_both(
                "UnsupportedVersion",
                "UnrecognizedBrokerVersion",
                "UnsupportedForMessageFormat",
                "IncompatibleBrokerVersion",
            ),
            why="the broker speaks another version",
        ),
        Rule(
            name="kafka.set-up",
            verdict=t.ConfigurationError,
            types=_both(
                "KafkaConfiguration",
                "InvalidConfiguration",
                "UnsupportedCodec",
                "InvalidReplicationFactor",
                "InvalidPartitions",
                "InvalidRequiredAcks",
                "InvalidSessionTimeout",
                "InvalidGroupId",
                "InconsistentGroupProtocol",
            ),
            why="the options do not fit the cluster",
        ),
        Rule(
            name="kafka.other",
            verdict=t.PermanentError,
            types=_ANY,
            why="the library does not say that repeating helps",
        ),
    ),
)
