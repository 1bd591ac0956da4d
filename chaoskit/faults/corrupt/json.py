"""JSON (RFC 8259): cut and dropped tokens, values that parsers disagree about, other encodings."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from chaoskit.faults.corrupt.damage import Damages, cuts, made

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*|true|false|null|[{}\[\],:]')
_NAMES = {"{": "object", "}": "object-end", "[": "array", "]": "array-end", ",": "comma", ":": "colon"}
_OF_EACH = 2
"""The most tokens of one kind that are damaged."""
_NUMBERS = (
    *(("nan", "NaN"), ("overflow", "1e999"), ("negative", "-1"), ("zero", "0"), ("string", '"1"')),
    # 4,300 digits are what Python's int takes from a text (sys.set_int_max_str_digits).
    *(("large", "9" * 30), ("too-long", "9" * 5000), ("null", "null")),
)
_KEYS = 20
"""The most keys of the document that are dropped, one by one."""
_DEEP = 100_000
"""Brackets of the deepest document: a hundred times Python's recursion limit."""


def is_json(data: bytes) -> bool:
    """Return True for a document with an object or an array at its top."""
    if data.lstrip()[:1] not in (b"{", b"["):
        return False
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True


def is_sound(data: bytes) -> bool:
    """Return True if it is a document by the letter of RFC 8259, in UTF-8 and without a byte order mark."""
    try:
        json.loads(data.decode(), parse_constant=_refused)
    except (ValueError, RecursionError):
        return False
    return True


def _refused(constant: str) -> None:
    raise ValueError(f"JSON has no {constant}")


def damages(data: bytes) -> Damages:
    """Enumerate: the first tokens of each kind, missing keys, then the document as a whole."""
    text = data.decode()
    for name, match in _tokens(text):
        yield from _of_token(name, match, text)
    document = json.loads(text)
    if isinstance(document, dict):
        for number, key in enumerate(list(document)[:_KEYS], 1):
            rest = {name: value for name, value in document.items() if name != key}
            yield made(f"key{number}", "missing", json.dumps(rest).encode())
    yield made("", "array-of-it", b"[" + data + b"]")
    yield made("", "null", b"null")
    yield made("", "duplicate-key", data.replace(b"{", b'{"x":1,"x":2,', 1))
    yield made("", "byte-order-mark", b"\xef\xbb\xbf" + data)
    yield made("", "utf16", text.encode("utf-16"))
    yield made("", "deep", b"[" * _DEEP)


def _tokens(text: str) -> Iterator[tuple[str, re.Match[str]]]:
    seen: dict[str, int] = {}
    for match in _TOKEN.finditer(text):
        first = match[0][0]
        kind = (
            "string" if first == '"' else "number" if first in "-0123456789" else _NAMES.get(first, match[0])
        )
        seen[kind] = seen.get(kind, 0) + 1
        if seen[kind] <= _OF_EACH:
            yield f"{kind}{seen[kind]}", match


def _of_token(name: str, match: re.Match[str], text: str) -> Damages:
    before, after = text[: match.start()], text[match.end() :]

    def instead(new: str) -> bytes:
        return (before + new + after).encode()

    yield from cuts(name, text.encode(), ("before", len(before.encode())))
    yield made(name, "dropped", instead(""))
    if match[0].startswith('"'):
        yield made(name, "empty", instead('""'))
        yield made(name, "null", instead("null"))
        yield made(name, "surrogate", instead('"\\ud800"'))
        yield made(name, "nul", instead('"\\u0000"'))
        yield made(name, "not-utf8", before.encode() + b'"\xff' + match[0][1:].encode() + after.encode())
    elif name.startswith("number"):
        for kind, value in _NUMBERS:
            yield made(name, kind, instead(value))
