"""The values that a record may hold, as text: strict JSON that decodes to exactly what was encoded.

The json module changes some values silently (integer keys become text, tuples become lists), and others fail
late (``NaN``, a lone surrogate, an integer of 5,000 digits that no reader accepts). All of these are refused
here, before any lock is taken.
"""

from __future__ import annotations

import json
import math
import zlib
from typing import Any

from chaoskit.core.errors import wrong
from chaoskit.runtime.failures.taxonomy import CheckpointError

__all__ = [
    "MAX_DEPTH",
    "MAX_KEY",
    "MAX_PAYLOAD",
    "Encoded",
    "check_name",
    "checksum",
    "decode",
    "encode",
    "in_utf8",
]


class Encoded(str):
    """Text that :func:`encode` made, or that was read from a record; ``encode`` returns it as it is."""

    __slots__ = ()


MAX_DEPTH = 100
MAX_PAYLOAD = 1 << 20
"""The most bytes of a value's text. Larger state belongs in a file that the record names."""
MAX_KEY = 1024
"""The most characters of a scope, a key or an operation id."""
MAX_INTEGER = 2048
"""The most bits of an integer: 617 digits. Programs may lower CPython's limit for parsing to 640 digits."""

_PLAIN = frozenset({str, bool, type(None)})
_KEYS = frozenset({str})
_TYPES = "None, bool, int, float, str, list, and dict with str keys"
# Without json's check for cycles, which _round_trips has already made.
_encode = json.JSONEncoder(
    check_circular=False, allow_nan=False, ensure_ascii=False, separators=(",", ":")
).encode


def encode(value: Any) -> Encoded:
    """The text of ``value``, which :func:`decode` turns into an equal value of the same types.

    An ``Encoded`` is returned as it is.

    Raises:
        CheckpointError: the value would not come back the same, or is too large for a record. The message
            says which part of it is at fault.
    """
    if type(value) is Encoded:
        return value
    if not _round_trips(value):
        raise CheckpointError(_complaint(value), hint="Keep plain data, or convert it first.")
    text = _encode(value)
    try:
        size = len(text) if text.isascii() else len(text.encode())
    except UnicodeEncodeError as error:
        raise CheckpointError(
            f"the text {text[error.start : error.end]!r} inside the value is half of a surrogate pair, which"
            " no database stores; expected text that UTF-8 can hold. Decode it with errors='replace'."
        ) from None
    if size > MAX_PAYLOAD:
        raise CheckpointError(
            f"the value is {size:,} bytes as JSON; expected at most {MAX_PAYLOAD:,}."
            " Keep large state with Snapshots, or in a file that the record names."
        )
    return Encoded(text)


def decode(text: str) -> Any:
    """The value of ``text``. Never executes anything, whatever the text says.

    Raises:
        ValueError: the text was not made by :func:`encode`.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply for a record") from None


def check_name(what: str, name: object) -> str:
    """Return ``name`` if it can be a scope, a key, a status or an operation id.

    Raises:
        UsageError: it is not text, is too long, or has characters that a database does not store.
    """
    if type(name) is str and name.isascii() and len(name) <= MAX_KEY and "\0" not in name:
        return name
    if type(name) is not str or len(name) > MAX_KEY:
        shown = name if not isinstance(name, str) else f"{name[:40]}… ({len(name):,} characters)"
        raise wrong(what, shown, f"text of at most {MAX_KEY:,} characters")
    if "\0" in name or not in_utf8(name):
        raise wrong(what, name, "text without NUL and without lone surrogates")
    return name


def checksum(table: str, scope: str, key: str, status: str, form: int, payload: str) -> int:
    """CRC-32 of a record's identity, status, format and payload. Detects accidents, not forgery."""
    head = f"{table}\0{scope}\0{key}\0{status}\0{form}\0"
    return zlib.crc32(payload.encode(errors="surrogatepass"), zlib.crc32(head.encode(errors="surrogatepass")))


def in_utf8(text: str) -> bool:
    """True if UTF-8 can hold the text: it has no halves of surrogate pairs."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _round_trips(value: Any) -> bool:
    """True if the encoder can take ``value``: known types, finite, not too deep and not cyclic."""
    level, seen = [value], 0
    for _ in range(MAX_DEPTH):
        # Each value takes at least two bytes, so no more than this can fit. The limit also ends the walk
        # through a value that contains itself, whose levels may double each time.
        seen += len(level)
        if seen > MAX_PAYLOAD // 2:
            return False
        # Most values are plain, and a set of their types shows it without a step in Python for each.
        kinds = set(map(type, level)) - _PLAIN
        if not kinds:
            return True
        below: list[Any] = []
        for one in level:
            kind = type(one)
            if kind in _PLAIN:
                continue
            if kind is dict:
                if set(map(type, one)) - _KEYS:
                    return False
                below.extend(one.values())
            elif kind is list:
                below.extend(one)
            elif not _is_number(one):
                return False
        if not below:
            return True
        level = below
    return False


def _is_number(value: Any) -> bool:
    if type(value) is float:
        return math.isfinite(value)
    return type(value) is int and value.bit_length() <= MAX_INTEGER


def _complaint(value: Any) -> str:
    """What is wrong with a value, and where. Slow, so called only for values that were refused."""
    stack: list[tuple[str, Any, int]] = [("value", value, 1)]
    for _ in range(MAX_PAYLOAD // 2):
        if not stack:
            break
        where, one, depth = stack.pop()
        if depth > MAX_DEPTH:
            return f"the value is nested more than {MAX_DEPTH} deep (or holds itself); expected less"
        if type(one) is dict:
            for key in one:
                if type(key) is not str:
                    return f"a key of {where} is {key!r} ({type(key).__name__}); expected str"
            stack += [(f"{where}[{key!r}]", each, depth + 1) for key, each in one.items()]
        elif type(one) is list:
            stack += [(f"{where}[{n}]", each, depth + 1) for n, each in enumerate(one)]
        elif type(one) is int and not _is_number(one):
            return f"{where} is an integer of {one.bit_length():,} bits; expected at most {MAX_INTEGER:,}"
        elif type(one) not in _PLAIN and not _is_number(one):
            return f"{where} is {_shown(one)} ({type(one).__name__}); expected {_TYPES}, all finite"
    return f"the value has more than {MAX_PAYLOAD // 2:,} parts; expected fewer"


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except Exception as error:
        return f"<a value whose repr raises {type(error).__name__}>"
    return text if len(text) <= 60 else f"{text[:60]}…"
