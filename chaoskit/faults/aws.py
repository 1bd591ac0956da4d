"""Errors of Amazon's services, with the code, status and envelope that their protocols really have.

Protocols, modelled errors and their status come from botocore's service models; what is retried, from its
``_retry.json``. The rest is from the services' own pages, "Error responses" (S3) and "Common errors".
botocore is loaded only when one of these faults is asked for.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

from chaoskit.core.errors import UsageError, wrong
from chaoskit.core.operation import Operation, Trace
from chaoskit.core.schedule import Fault
from chaoskit.faults.traffic import AwsError

CONDITIONAL = frozenset({"PreconditionFailed", "ConditionalCheckFailedException"})
"""Errors of conditional writes that lost to another write."""
_DOCUMENTED: dict[str, tuple[tuple[str, int], ...]] = {
    "rest-xml": (("SlowDown", 503), ("InternalError", 500), ("PreconditionFailed", 412)),
    "json": (("ThrottlingException", 400), ("InternalFailure", 500), ("ExpiredTokenException", 400)),
    "rest-json": (("ThrottlingException", 429), ("InternalFailure", 500), ("ExpiredTokenException", 400)),
    "query": (("Throttling", 400), ("InternalFailure", 500), ("ExpiredToken", 403)),
    "ec2": (("RequestLimitExceeded", 503), ("InternalError", 500), ("ExpiredToken", 400)),
}
"""Throttling, internal errors and the like, which every service of a protocol may return."""
_MODELLED = ("Throughput", "Throttl", "LimitExceeded", "ConditionalCheck", "InternalServer", "Unavailable")
_CONDITIONS = (b"\nif-match:", b"\nif-none-match:")


@dataclass(frozen=True, slots=True, repr=False)
class Aws:
    """Every error of one service that is not the program's fault."""

    service: str
    names: ClassVar[frozenset[str]] = frozenset({"aws"})

    def __repr__(self) -> str:
        return f"faults.http().aws({self.service!r})"

    def offers(self, operation: Operation, trace: Trace) -> Iterator[Fault]:
        if operation.call != "http":
            return
        sent = operation.network.request
        head, _, body = (sent.read() if sent is not None else b"").lower().partition(b"\r\n\r\n")
        conditional = any(one in head for one in _CONDITIONS) or b"conditionexpression" in body
        for error in errors(self.service):
            if conditional or error.code not in CONDITIONAL:
                yield Fault("aws", f"{error.service}.{error.code}")


@cache
def errors(service: str) -> tuple[AwsError, ...]:
    """The errors of a service, each once; ``service`` is its name in botocore, such as ``s3``.

    Raises:
        UsageError: without botocore, and for a service that it does not know.
    """
    model, retried = _model(service)
    protocol = model["metadata"]["protocol"]
    found = dict(_DOCUMENTED.get(protocol, _DOCUMENTED["json"]))
    for policy in retried.get(service, {}).get("__default__", {}).get("policies", {}).values():
        answer = policy.get("applies_when", {}).get("response", {})
        if "service_error_code" in answer:
            found[answer["service_error_code"]] = answer["http_status_code"]
    for name, shape in model["shapes"].items():
        if shape.get("exception") and any(word in name for word in _MODELLED):
            error = shape.get("error", {})
            # An error without a status is the client's, unless it is marked as a fault.
            status = error.get("httpStatusCode", 500 if shape.get("fault") else 400)
            found.setdefault(error.get("code", name), status)
    return tuple(AwsError(service, code, status, protocol) for code, status in found.items())


def error(argument: str) -> AwsError | None:
    """The error that a schedule names like ``s3.SlowDown``; None if the service has no such code."""
    service, _, code = argument.partition(".")
    return next((one for one in errors(service) if one.code == code), None)


def _model(service: str) -> tuple[dict[str, Any], dict[str, Any]]:
    if importlib.util.find_spec("botocore") is None:
        raise UsageError(
            f"http().aws({service!r}) needs the service models of botocore, which is not installed; "
            "expected it beside the program under test. Run: pip install botocore"
        )
    from botocore.exceptions import UnknownServiceError  # type: ignore[import-untyped]
    from botocore.loaders import Loader  # type: ignore[import-untyped]

    loader = Loader()
    try:
        return loader.load_service_model(service, "service-2"), loader.load_data("_retry")["retry"]
    except UnknownServiceError:
        raise wrong("service", service, "a name of botocore, such as 's3', 'dynamodb' or 'sqs'") from None
