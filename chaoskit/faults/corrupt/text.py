"""Plain text: lines that are cut, lost, doubled and too long, and bytes that do not decode."""

from __future__ import annotations

from chaoskit.faults.corrupt.damage import Damages, made

_LONG = 1 << 20


def is_text(data: bytes) -> bool:
    """Return True for UTF-8 without NUL and with a line end."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    # Binary formats are often valid UTF-8 by chance while they are small, but have no lines.
    return b"\n" in data and b"\0" not in data


def damages(data: bytes) -> Damages:
    """Enumerate: the first and the last line, then the text as a whole."""
    lines = data.splitlines(keepends=True)
    for name, number in (("first-line", 0), ("last-line", len(lines) - 1)):
        if number or name == "first-line":
            line = lines[number]

            def instead(*new: bytes, at: int = number) -> bytes:
                return b"".join([*lines[:at], *new, *lines[at + 1 :]])

            yield made(name, "cut", b"".join(lines[:number]) + line[: len(line) // 2])
            yield made(name, "missing", instead())
            yield made(name, "twice", instead(line.rstrip(b"\r\n") + b"\n", line))
            yield made(name, "not-utf8", instead(b"\xff" + line))
            yield made(name, "nul", instead(b"\0" + line))
            # A mebibyte on one line, for readers that expect lines to be short.
            yield made(name, "long", instead(b"x" * _LONG + line))
    yield made("", "line-end.missing", data.rstrip(b"\r\n"))
    yield made("", "line-ends.cr", data.replace(b"\r\n", b"\n").replace(b"\n", b"\r"))
    yield made("", "line-ends.crlf", data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
    yield made("", "byte-order-mark", b"\xef\xbb\xbf" + data)
    yield made("", "utf16", data.decode().encode("utf-16"))
