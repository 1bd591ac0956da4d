"""Errors as they are kept in records: plain text without secrets, never a pickled object."""

from __future__ import annotations

import re
import traceback
from collections.abc import Mapping
from typing import Any

from chaoskit.core.errors import wrong
from chaoskit.runtime.redact import redact_text
from chaoskit.runtime.retrying.history import shown

__all__ = ["fingerprint", "record_error"]

MESSAGE, TRACEBACK, CHAIN = 1_000, 8_000, 5
"""Characters of a message and of a traceback, and errors of a chain, that are kept."""

# What differs between two failures of one cause: addresses, counts, times, names made of digits.
_VARYING = re.compile(r"0x[0-9a-fA-F]+|\d+")


def record_error(error: BaseException) -> dict[str, Any]:
    """Type, message, chain of causes and traceback of ``error``, bounded, redacted, and fit for a record.

    Raises:
        UsageError: it is not an exception.
    """
    if not isinstance(error, BaseException):
        raise wrong("error", error, "an exception", "Wrap a text: RuntimeError(text).")
    # Text, not the object: unpickling would run what is stored, and frames would keep everything alive.
    text = "".join(traceback.format_exception(error))
    return {
        "type": type(error).__qualname__,
        "message": _clean(shown(error), MESSAGE),
        "chain": [
            {"type": type(cause).__qualname__, "message": _clean(shown(cause), MESSAGE)}
            for cause in _causes(error)
        ],
        # The end of a traceback tells most.
        "traceback": _clean(text[-TRACEBACK:], TRACEBACK),
    }


def fingerprint(error: Mapping[str, Any]) -> str:
    """Equal for two recorded errors that have the same cause, as well as text can tell."""
    return f"{error.get('type', '')}: {_VARYING.sub('#', str(error.get('message', '')))}"


def _clean(text: str, most: int) -> str:
    # Neither NUL nor half of a surrogate pair may stand in a record, and a failure must be recordable.
    plain = text.encode(errors="backslashreplace").decode().replace("\0", "\\0")
    return redact_text(plain)[:most]


def _causes(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    cause = error.__cause__ or error.__context__
    while cause is not None and cause not in found and len(found) < CHAIN:
        found.append(cause)
        cause = cause.__cause__ or cause.__context__
    return found
