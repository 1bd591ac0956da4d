"""Errors in the form in which records keep them: plain text without secrets, never a pickled object."""

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
"""The most characters of a message and of a traceback, and the most causes, that are kept."""

# The parts in which messages with the same cause differ: addresses, counts, times, generated names.
_VARYING = re.compile(r"0x[0-9a-fA-F]+|\d+")


def record_error(error: BaseException) -> dict[str, Any]:
    """Type, message, causes and traceback of ``error`` as JSON values: of limited length, and redacted.

    Raises:
        UsageError: ``error`` is not an exception.
    """
    if not isinstance(error, BaseException):
        raise wrong("error", error, "an exception", "Wrap a text: RuntimeError(text).")
    # Text, not the object: unpickling may run code that was stored, and frames keep every local alive.
    text = "".join(traceback.format_exception(error))
    return {
        "type": type(error).__qualname__,
        "message": _clean(shown(error), MESSAGE),
        "chain": [
            {"type": type(cause).__qualname__, "message": _clean(shown(cause), MESSAGE)}
            for cause in _causes(error)
        ],
        # The end of a traceback, where the error was raised, says most.
        "traceback": _clean(text[-TRACEBACK:], TRACEBACK),
    }


def fingerprint(error: Mapping[str, Any]) -> str:
    """A text that two recorded errors share if, to judge by their messages, they have the same cause."""
    return f"{error.get('type', '')}: {_VARYING.sub('#', str(error.get('message', '')))}"


def _clean(text: str, most: int) -> str:
    # A record can hold neither a NUL nor half of a surrogate pair, and every failure must be recordable.
    plain = text.encode(errors="backslashreplace").decode().replace("\0", "\\0")
    return redact_text(plain)[:most]


def _causes(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    cause = error.__cause__ or error.__context__
    while cause is not None and cause not in found and len(found) < CHAIN:
        found.append(cause)
        cause = cause.__cause__ or cause.__context__
    return found
