"""The errors of PyMongo, Motor, BSON and GridFS."""

from __future__ import annotations

from chaoskit.runtime.failures import taxonomy as t
from chaoskit.runtime.failures.library import Library, classes
from chaoskit.runtime.failures.rules import Rule

__all__ = ["LIBRARY"]

_MODULE = "pymongo.errors"
# Errors that a driver may repeat, by the specifications of transactions and of retryable writes.
_LABELS = ("TransientTransactionError", "RetryableWriteError", "UnknownTransactionCommitResult")


LIBRARY = Library(
    name="pymongo",
    source="pymongo.helpers_shared._RETRYABLE_ERROR_CODES; the server's error_codes.yml",
    # The codes are the server's numbers, not HTTP statuses.
    code_of=lambda error: getattr(error, "code", None),
    rules=(
        Rule(
            name="mongo.retryable",
            verdict=t.TransientError,
            codes=(
                *("6", "7", "89", "91", "134", "189", "262", "9001", "10058", "10107"),
                *("11600", "11602", "13435", "13436"),
            ),
            why="PyMongo's list: no primary for now, or the network broke",
        ),
        Rule(
            name="mongo.conflict",
            verdict=t.TransientError,
            codes=("112", "24", "46", "251", "267"),
            why="write conflict or lock: the manual says to repeat the transaction",
        ),
        Rule(
            name="mongo.labelled",
            verdict=t.TransientError,
            types=classes(_MODULE, "PyMongoError"),
            when=lambda e: any(map(e.error.has_error_label, _LABELS)),  # type: ignore[union-attr]
            why="the server itself labels it as worth repeating",
        ),
        Rule(
            name="mongo.too-slow",
            verdict=t.Overloaded,
            codes=("50", "202"),
            why="the operation exceeded its time limit",
        ),
        Rule(
            name="mongo.write-concern",
            verdict=t.RecoverableError,
            codes=("64", "79", "100"),
            why="written, but not on as many members as was asked: look before writing again",
        ),
        Rule(name="mongo.disk-full", verdict=t.DiskFull, codes=("14031",), why="the server's disk is full"),
        Rule(
            name="mongo.memory",
            verdict=t.ResourceError,
            codes=("39", "146", "292"),
            why="the operation needs more memory than the server allows it",
        ),
        Rule(
            name="mongo.credentials",
            verdict=t.ConfigurationError,
            codes=("18", "11", "31", "391"),
            why="user or password is wrong, or has to be given again",
        ),
        Rule(
            name="mongo.denied", verdict=t.PermissionRefused, codes=("13",), why="the user lacks permission"
        ),
        Rule(
            name="mongo.duplicate",
            verdict=t.ValidationError,
            codes=("11000", "11001", "12582"),
            why="a document with this key exists already",
        ),
        Rule(
            name="mongo.invalid",
            verdict=t.ValidationError,
            codes=("121", "2", "9", "14", "10334", "17419", "66"),
            why="this document or value is wrong",
        ),
        Rule(
            name="mongo.no-such-thing",
            verdict=t.ConfigurationError,
            codes=("26", "27", "59"),
            why="collection, index or command does not exist",
        ),
        Rule(
            name="mongo.exists",
            verdict=t.ValidationError,
            codes=("48", "68", "85", "86"),
            why="it exists already, perhaps with other options",
        ),
        Rule(
            name="mongo.cursor",
            verdict=t.RecoverableError,
            types=classes(_MODULE, "CursorNotFound"),
            why="the server has forgotten the cursor: run the query again",
        ),
        Rule(
            name="mongo.pool",
            verdict=t.ResourceError,
            types=classes(_MODULE, "WaitQueueTimeoutError"),
            why="every connection of the pool is in use",
        ),
        Rule(
            name="mongo.unreachable",
            verdict=t.Unreachable,
            types=classes(_MODULE, "ServerSelectionTimeoutError"),
            why="no suitable server was found in time",
        ),
        Rule(
            name="mongo.network-timeout",
            verdict=t.Overloaded,
            types=classes(_MODULE, "NetworkTimeout", "ExecutionTimeout"),
            why="connected, but no answer in time",
        ),
        Rule(
            name="mongo.connection",
            verdict=t.TransientError,
            types=classes(_MODULE, "AutoReconnect", "ConnectionFailure"),
            why="the connection broke; the next call makes a new one",
        ),
        Rule(
            name="mongo.set-up",
            verdict=t.ConfigurationError,
            types=classes(_MODULE, "ConfigurationError", "InvalidName"),
            why="address or options are wrong",
        ),
        Rule(
            name="mongo.document",
            verdict=t.ValidationError,
            types=(
                *classes("bson.errors", "InvalidDocument", "InvalidId", "InvalidStringData"),
                *classes(_MODULE, "DocumentTooLarge", "WriteError"),
            ),
            why="this document is wrong, so it was not stored",
        ),
        Rule(
            name="mongo.bson",
            verdict=t.DataIntegrityError,
            types=("bson.errors.InvalidBSON", "gridfs.errors.CorruptGridFile"),
            why="what was read is not what was written",
        ),
        Rule(
            name="mongo.no-file",
            verdict=t.FileMissing,
            types=("gridfs.errors.NoFile",),
            why="it does not exist",
        ),
        Rule(
            name="mongo.other",
            verdict=t.PermanentError,
            types=classes(_MODULE, "PyMongoError"),
            why="the server or the client refused for another reason",
        ),
    ),
)
