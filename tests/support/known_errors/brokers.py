"""Errors of message brokers, searches, remote calls, mail, file transfer, shells and containers."""

from __future__ import annotations

import ftplib
import imaplib
import poplib
import smtplib
import ssl
from types import SimpleNamespace
from typing import Any

from known_errors.case import Answer, Case, group, made, one

_KAFKA = "kafka.errors"
_AMQP = "amqp.exceptions"
_KOMBU = "kombu.exceptions"
_CELERY = "celery.exceptions"
_BILLIARD = "billiard.exceptions"
_SSH = "paramiko.ssh_exception"
_DOCKER = "docker.errors"
_ELASTIC = "elastic_transport"


class _Named:
    """As grpc.StatusCode's members are."""

    def __init__(self, name: str) -> None:
        self.name = name


def _grpc(name: str) -> BaseException:
    """A call's error, as grpc raises it: a class of its own below RpcError, with a method ``code``."""
    base = type(made("grpc.RpcError"))
    error: Any = type("_InactiveRpcError", (base,), {"__module__": "grpc._channel"})("x")
    error.code = lambda: _Named(name)
    return error


def _elastic(name: str, status: int) -> BaseException:
    error: Any = made(f"elasticsearch.{name}", "x", base="elasticsearch.ApiError")
    # The client's own errors read their status from there.
    error.meta = SimpleNamespace(status=status, headers={})
    if not hasattr(error, "status_code"):
        error.status_code = status
    return error


def _confluent(name: str) -> BaseException:
    """confluent-kafka's exception around its KafkaError."""

    class KafkaError:
        def name(self) -> str:
            return name

        def retriable(self) -> bool:
            return name in {"NOT_LEADER_FOR_PARTITION", "LEADER_NOT_AVAILABLE"}

    return type("KafkaException", (Exception,), {"__module__": "cimpl"})(KafkaError())


def _docker(status: int, text: str = "x", name: str = "APIError") -> BaseException:
    error: Any = made(f"{_DOCKER}.{name}", text, base="requests.exceptions.HTTPError")
    error.response, error.explanation = Answer(status), text
    return error


def _container(status: int) -> BaseException:
    return made(f"{_DOCKER}.ContainerError", "x", exit_status=status, base=f"{_DOCKER}.DockerException")


GRPC = [
    ("transient", "away, or not in time, or a conflict", ["UNAVAILABLE", "DEADLINE_EXCEEDED", "ABORTED"]),
    ("resource", "used up", ["RESOURCE_EXHAUSTED"]),
    ("validation", "this request is wrong", ["INVALID_ARGUMENT", "OUT_OF_RANGE", "ALREADY_EXISTS"]),
    ("recoverable", "log in again", ["UNAUTHENTICATED"]),
    ("data-integrity", "lost or damaged", ["DATA_LOSS"]),
    (
        "permanent",
        "it does not say that repeating helps",
        [
            *("NOT_FOUND", "PERMISSION_DENIED", "FAILED_PRECONDITION", "UNIMPLEMENTED"),
            *("INTERNAL", "UNKNOWN", "CANCELLED"),
        ],
    ),
]

CASES: list[Case] = [
    *[
        Case(f"grpc {name}", lambda name=name: _grpc(name), category, why)  # type: ignore[misc]
        for category, why, names in GRPC
        for name in names
    ],
    one("transient", "not in time", "grpc.FutureTimeoutError", "x"),
    # Kafka
    *group("transient", "no answer in time", _KAFKA, ["KafkaTimeoutError", "RequestTimedOutError"]),
    *group(
        "transient",
        "the library's own flag",
        _KAFKA,
        ["LeaderNotAvailableError", "NotControllerError", "NotEnoughReplicasError", "KafkaStorageError"],
        base=f"{_KAFKA}.KafkaError",
        retriable=True,
    ),
    *group("transient", "no broker", _KAFKA, ["KafkaConnectionError", "NodeNotReadyError"]),
    *group(
        "transient", "the group divides again", _KAFKA, ["RebalanceInProgressError", "UnknownMemberIdError"]
    ),
    *group(
        "recoverable", "read again from another place", _KAFKA, ["CommitFailedError", "OffsetOutOfRangeError"]
    ),
    *group("resource", "the quota", _KAFKA, ["ThrottlingQuotaExceededError"]),
    *group(
        "configuration", "login", _KAFKA, ["SaslAuthenticationFailedError", "UnsupportedSaslMechanismError"]
    ),
    *group(
        "permanent", "may not", _KAFKA, ["TopicAuthorizationFailedError", "GroupAuthorizationFailedError"]
    ),
    *group("permanent", "another took its place", _KAFKA, ["ProducerFencedError", "FencedInstanceIdError"]),
    *group("validation", "this record", _KAFKA, ["MessageSizeTooLargeError", "InvalidTopicError"]),
    *group("data-integrity", "damaged", _KAFKA, ["CorruptRecordError"]),
    *group("permanent", "another version", _KAFKA, ["UnsupportedVersionError"]),
    *[
        Case(f"confluent {name}", lambda name=name: _confluent(name), category, why)  # type: ignore[misc]
        for name, category, why in [
            ("_ALL_BROKERS_DOWN", "transient", "no broker"),
            ("_MSG_TIMED_OUT", "transient", "not in time"),
            ("NOT_LEADER_FOR_PARTITION", "transient", "its own flag"),
            ("_QUEUE_FULL", "resource", "its own queue"),
            ("_AUTHENTICATION", "configuration", "login"),
            ("TOPIC_AUTHORIZATION_FAILED", "permanent", "may not"),
            ("MSG_SIZE_TOO_LARGE", "validation", "this record"),
        ]
    ],
    # AMQP, Kombu, Celery
    *group(
        "transient",
        "py-amqp: a new connection helps",
        _AMQP,
        ["ConnectionForced", "ConsumerCancelled", "ResourceLocked", "NoConsumers"],
        base=f"{_AMQP}.RecoverableConnectionError",
    ),
    *group("resource", "the broker is short", _AMQP, ["ResourceError", "Blocked"]),
    *group(
        "configuration",
        "user, host or queue",
        _AMQP,
        ["AccessRefused", "NotAllowed", "NotFound", "PreconditionFailed"],
    ),
    *group(
        "permanent",
        "py-amqp: a new connection does not help",
        _AMQP,
        ["FrameError", "UnexpectedFrame", "InternalError"],
        base=f"{_AMQP}.IrrecoverableConnectionError",
    ),
    *group("transient", "not taken", _AMQP, ["MessageNacked"]),
    *group("validation", "too large", _AMQP, ["ContentTooLarge"]),
    *group("transient", "no broker", _KOMBU, ["OperationalError"], "x"),
    *group("data-integrity", "cannot be read", _KOMBU, ["DecodeError"], "x"),
    *group("validation", "cannot be sent", _KOMBU, ["EncodeError"], "x"),
    *group("security", "a kind that is not accepted", _KOMBU, ["ContentDisallowed"], "x"),
    one(
        "resource",
        "the pool is used up",
        f"{_KOMBU}.ConnectionLimitExceeded",
        3,
        base=f"{_KOMBU}.LimitExceeded",
    ),
    *group("transient", "too slow", _BILLIARD, ["SoftTimeLimitExceeded", "TimeLimitExceeded"], 3),
    one(
        "resource",
        "SIGKILL: out of memory",
        f"{_BILLIARD}.WorkerLostError",
        "Worker exited prematurely: signal 9 (SIGKILL)",
    ),
    one(
        "transient",
        "the machine stopped it",
        f"{_BILLIARD}.WorkerLostError",
        "Worker exited prematurely: signal 15",
    ),
    *group("permanent", "a request to the worker", _CELERY, ["Retry", "Ignore", "Reject"]),
    *group("transient", "the result is late", _CELERY, ["TimeoutError"], "x"),
    *group("configuration", "not known here", _CELERY, ["NotRegistered", "ImproperlyConfigured"], "x"),
    *group("permanent", "used up", _CELERY, ["MaxRetriesExceededError"], "x"),
    *group(
        "transient",
        "the place for results",
        _CELERY,
        ["BackendGetMetaError"],
        "x",
        base=f"{_CELERY}.BackendError",
    ),
    *group("security", "a wrong signature", _CELERY, ["SecurityError"], "x"),
    # Elasticsearch
    one("transient", "no node", f"{_ELASTIC}.ConnectionError", "x"),
    one("transient", "not in time", f"{_ELASTIC}.ConnectionTimeout", "x"),
    one(
        "security",
        "certificate",
        f"{_ELASTIC}.TlsError",
        "certificate verify failed",
        errors=(ssl.SSLCertVerificationError(1, "certificate verify failed"),),
    ),
    one("validation", "cannot be sent", f"{_ELASTIC}.SerializationError", "x"),
    *[
        Case(f"elastic {status}", lambda name=name, status=status: _elastic(name, status), category, why)  # type: ignore[misc]
        for name, status, category, why in [
            ("NotFoundError", 404, "permanent", "not there"),
            ("ConflictError", 409, "recoverable", "read the document again"),
            ("BadRequestError", 400, "validation", "this request"),
            ("AuthenticationException", 401, "recoverable", "log in again"),
            ("ApiError", 429, "transient", "too many requests"),
            ("ApiError", 503, "transient", "busy"),
        ]
    ],
    # Mail
    Case("smtp 421", lambda: smtplib.SMTPConnectError(421, b"x"), "transient", "the server closes"),
    Case("smtp 450", lambda: smtplib.SMTPSenderRefused(450, b"x", "a"), "transient", "4yz"),
    Case("smtp 452", lambda: smtplib.SMTPDataError(452, b"x"), "resource", "short of storage"),
    Case("smtp 535", lambda: smtplib.SMTPAuthenticationError(535, b"x"), "configuration", "login"),
    Case("smtp 550", lambda: smtplib.SMTPSenderRefused(550, b"x", "a"), "validation", "this sender"),
    Case("smtp 554", lambda: smtplib.SMTPDataError(554, b"x"), "permanent", "5yz"),
    Case(
        "smtp refused", lambda: smtplib.SMTPRecipientsRefused({"a": (550, b"x")}), "validation", "recipients"
    ),
    Case(
        "smtp later",
        lambda: smtplib.SMTPRecipientsRefused({"a": (451, b"x")}),
        "transient",
        "all of them later",
    ),
    Case(
        "smtp both",
        lambda: smtplib.SMTPRecipientsRefused({"a": (451, b"x"), "b": (550, b"x")}),
        "validation",
        "one of them for good",
    ),
    Case("smtp closed", lambda: smtplib.SMTPServerDisconnected("x"), "transient", "closed"),
    Case("smtp no tls", lambda: smtplib.SMTPNotSupportedError("x"), "configuration", "the server lacks it"),
    Case("imap abort", lambda: imaplib.IMAP4.abort("x"), "transient", "imaplib says to connect again"),
    Case("imap login", lambda: imaplib.IMAP4.error("[AUTHENTICATIONFAILED] x"), "configuration", "login"),
    Case("imap busy", lambda: imaplib.IMAP4.error("[UNAVAILABLE] x"), "transient", "says so"),
    Case("imap full", lambda: imaplib.IMAP4.error("[OVERQUOTA] x"), "resource", "says so"),
    Case(
        "imap order",
        lambda: imaplib.IMAP4.error("command SEARCH illegal in state AUTH"),
        "permanent",
        "a defect",
    ),
    Case("pop in use", lambda: poplib.error_proto(b"-ERR [IN-USE] x"), "transient", "says so"),
    Case("pop login", lambda: poplib.error_proto(b"-ERR [AUTH] x"), "configuration", "login"),
    Case("ftp 421", lambda: ftplib.error_temp("421 x"), "transient", "the server closes"),
    Case("ftp 450", lambda: ftplib.error_temp("450 x"), "transient", "4yz"),
    Case("ftp 452", lambda: ftplib.error_temp("452 x"), "resource", "short of storage"),
    Case("ftp 530", lambda: ftplib.error_perm("530 x"), "configuration", "login"),
    Case("ftp 550", lambda: ftplib.error_perm("550 no such file"), "permanent", "not there"),
    Case("ftp 550 denied", lambda: ftplib.error_perm("550 permission denied"), "permanent", "may not"),
    Case("ftp 552", lambda: ftplib.error_perm("552 x"), "resource", "the quota"),
    Case("ftp 553", lambda: ftplib.error_perm("553 x"), "validation", "this name"),
    Case("ftp proto", lambda: ftplib.error_proto("x"), "permanent", "no FTP"),
    # SSH
    one("configuration", "login", f"{_SSH}.AuthenticationException", "Authentication failed."),
    one("transient", "login not in time", f"{_SSH}.AuthenticationException", "Authentication timeout."),
    one(
        "configuration",
        "the key is locked",
        f"{_SSH}.PasswordRequiredException",
        "x",
        base=f"{_SSH}.AuthenticationException",
    ),
    one("security", "another machine", f"{_SSH}.BadHostKeyException", "h", None, None),
    one("security", "any machine", f"{_SSH}.SSHException", "Server 'h' not found in known_hosts"),
    one("transient", "broke", f"{_SSH}.SSHException", "Error reading SSH protocol banner"),
    one("transient", "not in time", f"{_SSH}.SSHException", "Timeout opening channel."),
    one("transient", "broke earlier", f"{_SSH}.SSHException", "SSH session not active"),
    one("resource", "short of channels", f"{_SSH}.ChannelException", 4, "Resource shortage", code=4),
    one("transient", "the target of the forwarding is away", f"{_SSH}.ChannelException", 2, "x", code=2),
    one("configuration", "not allowed", f"{_SSH}.ChannelException", 1, "x", code=1),
    one("permanent", "no algorithm in common", f"{_SSH}.IncompatiblePeer", "x"),
    one(
        "transient",
        "no address took it",
        f"{_SSH}.NoValidConnectionsError",
        {("127.0.0.1", 22): OSError(111, "x")},
    ),
    # Docker
    Case("docker 404", lambda: _docker(404), "permanent", "not there"),
    Case("docker 500", lambda: _docker(500), "transient", "the engine's trouble"),
    Case(
        "docker full", lambda: _docker(500, "write: no space left on device"), "resource", "the engine's disk"
    ),
    Case("docker port", lambda: _docker(500, "port is already allocated"), "configuration", "another has it"),
    Case(
        "docker pulls", lambda: _docker(429, "toomanyrequests: pull rate limit"), "transient", "the registry"
    ),
    Case("docker image", lambda: _docker(404, name="ImageNotFound"), "configuration", "no such image"),
    one(
        "transient",
        "the engine is down",
        f"{_DOCKER}.DockerException",
        "Error while fetching server API version: x",
    ),
    Case("container 137", lambda: _container(137), "resource", "out of memory"),
    Case("container 143", lambda: _container(143), "transient", "stopped from outside"),
    Case("container 2", lambda: _container(2), "configuration", "used wrongly"),
    Case("container 139", lambda: _container(139), "permanent", "crashed"),
]
