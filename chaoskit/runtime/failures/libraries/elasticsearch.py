"""The errors of Elasticsearch's and OpenSearch's clients. Statuses are judged by the rules for HTTP."""

from __future__ import annotations

from chaoskit.runtime.failures import taxonomy as t
from chaoskit.runtime.failures.library import Library, classes
from chaoskit.runtime.failures.rules import Rule

__all__ = ["LIBRARY"]

_OPEN = "opensearchpy.exceptions"
_HELPERS = ("elasticsearch.helpers.errors.BulkIndexError", "opensearchpy.helpers.errors.BulkIndexError")

LIBRARY = Library(
    name="elasticsearch",
    source="elastic_transport's tree of exceptions; the client's retry_on_status",
    rules=(
        Rule(
            name="elastic.certificate",
            verdict=t.SecurityError,
            types=("elastic_transport.TlsError", f"{_OPEN}.SSLError"),
            message=r"certificate.verify.failed|hostname mismatch|doesn't match|fingerprint",
            why="the other side could not prove its identity",
        ),
        Rule(
            name="elastic.timeout",
            verdict=t.Overloaded,
            types=("elastic_transport.ConnectionTimeout", f"{_OPEN}.ConnectionTimeout"),
            why="no answer in time",
        ),
        Rule(
            name="elastic.conflict",
            verdict=t.RecoverableError,
            types=("elasticsearch.ConflictError", f"{_OPEN}.ConflictError"),
            why="the document has a newer version: read it again",
        ),
        Rule(
            name="elastic.unreachable",
            verdict=t.Unreachable,
            types=(
                "elastic_transport.ConnectionError",
                "elastic_transport.SniffingError",
                f"{_OPEN}.ConnectionError",
            ),
            why="no node can be reached",
        ),
        Rule(
            name="elastic.product",
            verdict=t.ServiceVersionMismatch,
            types=("elasticsearch.UnsupportedProductError",),
            why="the service is not the product that the client is made for",
        ),
        Rule(
            name="elastic.data",
            verdict=t.ValidationError,
            types=("elastic_transport.SerializationError", f"{_OPEN}.SerializationError"),
            why="this document cannot be sent or read",
        ),
        Rule(
            name="elastic.bulk",
            verdict=t.RecoverableError,
            types=_HELPERS,
            why="some documents of the batch were refused",
        ),
        Rule(
            name="elastic.set-up",
            verdict=t.ConfigurationError,
            types=classes(_OPEN, "ImproperlyConfigured"),
            why="options are wrong",
        ),
    ),
    vague=(
        Rule(
            name="elastic.transport",
            verdict=t.TransientError,
            types=("elastic_transport.TransportError",),
            why="the transport failed, and does not say how",
        ),
    ),
)
