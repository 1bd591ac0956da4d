"""JSON Lines (jsonlines.org): a document on each line, as logs, exports and append-only stores have them."""

from __future__ import annotations

import json

from chaoskit.faults.corrupt.damage import Damages, made
from chaoskit.faults.corrupt.json import is_sound as is_document


def is_jsonl(data: bytes) -> bool:
    """Return True for two or more lines, each of which is an object, or each an array."""
    lines = [line for line in data.splitlines() if line.strip()]
    if len(lines) < 2 or any(line.lstrip()[:1] not in (b"{", b"[") for line in lines):
        return False
    try:
        return len({type(json.loads(line)) for line in lines}) == 1
    except (ValueError, RecursionError):
        return False


def is_sound(data: bytes) -> bool:
    """Return True if every line that is not blank is a strict RFC 8259 document; False for an empty file."""
    return all(is_document(line) for line in data.split(b"\n") if line.strip())


def damages(data: bytes) -> Damages:
    """Enumerate: the last line, where an append was torn, then the first, then the file as a whole."""
    lines = data.splitlines(keepends=True)
    for name, number in (("last-line", len(lines) - 1), ("line1", 0)):
        yield from _of_line(name, lines, number)
    yield made("", "array-of-it", b"[" + b",".join(line.rstrip(b"\r\n") for line in lines) + b"]\n")
    yield made("", "byte-order-mark", b"\xef\xbb\xbf" + data)
    yield made("", "utf16", data.decode().encode("utf-16"))


def _of_line(name: str, lines: list[bytes], number: int) -> Damages:
    line = lines[number].rstrip(b"\r\n")
    end = lines[number][len(line) :]
    before, after = b"".join(lines[:number]), b"".join(lines[number + 1 :])
    half = line[: len(line) // 2]
    yield made(name, "cut", before + half)
    # The next append follows what a torn one left.
    yield made(name, "halved", before + half + after)
    yield made(name, "joined", before + line + after)
    yield made(name, "missing", before + after)
    yield made(name, "twice", before + line + (end or b"\n") + line + end + after)
    yield made(name, "blank", before + (end or b"\n") + after)
    yield made(name, "zeros", before + bytes(len(line)) + end + after)
    yield made(name, "not-utf8", before + b"\xff" + line + end + after)
    yield made(name, "null", before + b"null" + end + after)
    yield made(name, "empty-object", before + b"{}" + end + after)
