"""The errors of Celery, Kombu, py-amqp and billiard."""

from __future__ import annotations

from chaoskit.runtime.failures import taxonomy as t
from chaoskit.runtime.failures.library import Library, classes
from chaoskit.runtime.failures.rules import Rule

__all__ = ["LIBRARY"]

_AMQP = "amqp.exceptions"
_KOMBU = "kombu.exceptions"
_CELERY = "celery.exceptions"
_BILLIARD = "billiard.exceptions"

LIBRARY = Library(
    name="celery",
    source="amqp's Recoverable and Irrecoverable classes; AMQP 0-9-1's reply codes; Celery's page on tasks",
    # amqp keeps its reply code there, which looks like an HTTP status: 404, 403, 530.
    code_of=lambda error: getattr(error, "code", "") or "",
    rules=(
        Rule(
            name="celery.time-limit",
            verdict=t.Overloaded,
            types=classes(_BILLIARD, "SoftTimeLimitExceeded", "TimeLimitExceeded"),
            why="the task exceeded its time limit",
        ),
        Rule(
            name="celery.worker-lost",
            verdict=t.OutOfMemory,
            types=classes(_BILLIARD, "WorkerLostError"),
            message=r"signal 9|SIGKILL|exitcode 137",
            why="an unrequested SIGKILL is in practice the kernel's, for lack of memory",
        ),
        Rule(
            name="celery.worker-ended",
            verdict=t.TransientError,
            types=classes(_BILLIARD, "WorkerLostError", "Terminated"),
            why="the worker exited during the task",
        ),
        Rule(
            name="celery.signals",
            verdict=t.PermanentError,
            types=classes(_CELERY, "Ignore", "Reject", "Retry", "TaskRevokedError"),
            why="a request to the worker, not a failure: it must be passed on",
        ),
        Rule(
            name="celery.wait",
            verdict=t.Overloaded,
            types=classes(_CELERY, "TimeoutError"),
            why="the result did not come in time",
        ),
        Rule(
            name="celery.given-up",
            verdict=t.PermanentError,
            types=classes(_CELERY, "MaxRetriesExceededError"),
            why="the task's own retries are used up",
        ),
        Rule(
            name="celery.backend",
            verdict=t.TransientError,
            types=classes(_CELERY, "BackendError"),
            why="the result backend failed",
        ),
        Rule(
            name="celery.security",
            verdict=t.SecurityError,
            types=(*classes(_CELERY, "SecurityError"), *classes(_KOMBU, "ContentDisallowed")),
            why="a message with a wrong signature, or of a kind that is not accepted",
        ),
        Rule(
            name="celery.set-up",
            verdict=t.ConfigurationError,
            types=(
                *classes(
                    _CELERY, "ImproperlyConfigured", "NotRegistered", "AlreadyRegistered", "QueueNotFound"
                ),
                *classes(_KOMBU, "SerializerNotInstalled", "VersionMismatch"),
            ),
            why="task, queue or serializer is not known here",
        ),
        Rule(
            name="celery.message",
            verdict=t.ValidationError,
            types=(
                *classes(_CELERY, "InvalidTaskError", "IncompleteStream"),
                *classes(_KOMBU, "EncodeError"),
            ),
            why="this message is wrong",
        ),
        Rule(
            name="kombu.decode",
            verdict=t.DataIntegrityError,
            types=classes(_KOMBU, "DecodeError"),
            why="the data that arrived is not what was sent",
        ),
        Rule(
            name="kombu.limit",
            verdict=t.ResourceError,
            types=classes(_KOMBU, "LimitExceeded"),
            why="every connection or channel of the pool is in use",
        ),
        Rule(
            name="kombu.inconsistent",
            verdict=t.TransientError,
            types=classes(_KOMBU, "InconsistencyError"),
            why="the transport lost its state: connect again",
        ),
        Rule(
            name="amqp.refused",
            verdict=t.ConfigurationError,
            types=classes(_AMQP, "AccessRefused", "NotAllowed", "InvalidPath"),
            why="user, password or virtual host is wrong",
        ),
        Rule(
            name="amqp.resources",
            verdict=t.ResourceError,
            types=classes(_AMQP, "ResourceError", "Blocked"),
            why="the broker is short of memory or disk",
        ),
        Rule(
            name="amqp.too-large",
            verdict=t.ValidationError,
            types=classes(_AMQP, "ContentTooLarge"),
            why="this message is larger than the broker accepts",
        ),
        Rule(
            name="amqp.nacked",
            verdict=t.TransientError,
            types=classes(_AMQP, "MessageNacked"),
            why="the broker did not accept the message",
        ),
        Rule(
            name="amqp.no-such-thing",
            verdict=t.ConfigurationError,
            types=classes(_AMQP, "NotFound", "PreconditionFailed"),
            why="the queue or exchange does not exist, or is declared differently",
        ),
        Rule(
            name="amqp.recoverable",
            verdict=t.TransientError,
            types=classes(_AMQP, "RecoverableConnectionError", "RecoverableChannelError"),
            why="py-amqp says that a new connection or channel helps",
        ),
        Rule(
            name="amqp.irrecoverable",
            verdict=t.PermanentError,
            types=classes(_AMQP, "IrrecoverableConnectionError", "IrrecoverableChannelError"),
            why="py-amqp says that a new connection does not help",
        ),
    ),
    vague=(
        Rule(
            name="kombu.connection",
            verdict=t.Unreachable,
            types=(*classes(_KOMBU, "OperationalError"), *classes(_AMQP, "ConnectionError")),
            why="the broker cannot be reached",
        ),
        Rule(
            name="amqp.channel",
            verdict=t.TransientError,
            types=classes(_AMQP, "AMQPError"),
            why="a channel was closed: open a new one",
        ),
    ),
)
