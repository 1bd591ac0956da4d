"""The errors of gRPC, synchronous and asyncio."""

from __future__ import annotations

from chaoskit.runtime.failures import taxonomy as t
from chaoskit.runtime.failures.library import Library
from chaoskit.runtime.failures.rules import Rule

__all__ = ["LIBRARY"]


def _status(error: BaseException) -> object:
    code = getattr(error, "code", None)
    found = code() if callable(code) else code
    return getattr(found, "name", "")


LIBRARY = Library(
    name="grpc",
    source="gRPC's page on status codes; AIP-194 on what is safe to repeat",
    code_of=_status,
    rules=(
        Rule(
            name="grpc.unavailable",
            verdict=t.Unreachable,
            codes=("UNAVAILABLE",),
            why="the service is unavailable for now: the one code that AIP-194 always repeats",
        ),
        Rule(
            name="grpc.deadline",
            verdict=t.Overloaded,
            codes=("DEADLINE_EXCEEDED",),
            why="no answer in time",
        ),
        Rule(
            name="grpc.exhausted",
            verdict=t.ResourceError,
            codes=("RESOURCE_EXHAUSTED",),
            why="a quota, or the memory for messages, is used up",
        ),
        Rule(
            name="grpc.aborted",
            verdict=t.TransientError,
            codes=("ABORTED",),
            why="a conflict with another transaction: repeat the whole of it",
        ),
        Rule(
            name="grpc.data-loss",
            verdict=t.DataIntegrityError,
            codes=("DATA_LOSS",),
            why="the service says that data is lost or damaged",
        ),
        Rule(
            name="grpc.unauthenticated",
            verdict=t.RecoverableError,
            codes=("UNAUTHENTICATED",),
            why="new credentials help, the same ones do not",
        ),
        Rule(
            name="grpc.denied",
            verdict=t.PermissionRefused,
            codes=("PERMISSION_DENIED",),
            why="the caller lacks permission",
        ),
        Rule(
            name="grpc.invalid",
            verdict=t.ValidationError,
            codes=("INVALID_ARGUMENT", "OUT_OF_RANGE", "ALREADY_EXISTS"),
            why="this request is wrong",
        ),
        Rule(
            name="grpc.unimplemented",
            verdict=t.ServiceVersionMismatch,
            codes=("UNIMPLEMENTED",),
            why="the service does not know the method",
        ),
        Rule(
            name="grpc.cancelled",
            verdict=t.PermanentError,
            codes=("CANCELLED",),
            why="the caller gave up",
        ),
        Rule(
            name="grpc.other",
            verdict=t.PermanentError,
            codes=("NOT_FOUND", "FAILED_PRECONDITION", "INTERNAL", "UNKNOWN"),
            why="the service refuses, or is broken; it does not say that repeating helps",
        ),
        Rule(
            name="grpc.future-timeout",
            verdict=t.Overloaded,
            types=("grpc.FutureTimeoutError",),
            why="no answer in time",
        ),
    ),
)
