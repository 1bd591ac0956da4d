"""YAML 1.2 as configurations use it: lines that are cut, moved, repeated, and what a loader must refuse."""

from __future__ import annotations

import re

from chaoskit.faults.corrupt.damage import Damages, cuts, made

_KEY = re.compile(r"^(\s*)[A-Za-z_][\w.-]*:(\s|$)")
_LINES = 3
"""The most keys whose lines are damaged; the last key is always among them."""


def is_yaml(data: bytes) -> bool:
    """Return True for text that begins with a document mark or a key: a guess, as YAML has no magic bytes."""
    try:
        lines = [line for line in data.decode().splitlines() if line.strip() and not line.startswith("#")]
    except UnicodeDecodeError:
        return False
    if lines and lines[0].startswith(("---", "%YAML")):
        return True
    # Not "<": XML and HTML have lines with colons, too.
    return bool(lines) and all(_KEY.match(line) for line in lines[:1]) and not data.lstrip().startswith(b"<")


def is_sound(data: bytes) -> bool:
    """Return True for any text: without a parser no more is certain."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return False
    return "\0" not in text


def damages(data: bytes) -> Damages:
    """Enumerate: the lines of the first keys and the last, the file as a whole, then hostile content."""
    lines = data.decode().splitlines(keepends=True)
    keys = [number for number, line in enumerate(lines) if _KEY.match(line)]
    for number in dict.fromkeys([*keys[:_LINES], *keys[-1:]]):
        yield from _of_line(f"key{keys.index(number) + 1}", lines, number)
    yield made("", "tab", "".join(lines).replace("  ", "\t", 1).encode())
    yield made("", "two-documents", data.rstrip(b"\n") + b"\n---\n" + data)
    yield made("", "byte-order-mark", b"\xef\xbb\xbf" + data)
    yield made("", "utf16", data.decode().encode("utf-16"))
    yield made("", "not-utf8", data + b"\n# \xff\n")
    yield made("", "nul", data + b"\nx: \0\n")
    yield made("", "list", b"- a\n- b\n")
    # Nested more deeply than a loader written in Python can recurse.
    yield made("", "deep", b"[" * 10_000)
    # A loader that obeys it would call any function of any module.
    yield made("hostile", "tag", data.rstrip(b"\n") + b"\nx: !!python/object/apply:os.getcwd []\n")
    yield made("hostile", "alias-bomb", _aliases())


def _of_line(name: str, lines: list[str], number: int) -> Damages:
    line = lines[number]
    start = len("".join(lines[:number]).encode())
    key, _, value = line.partition(":")

    def instead(new: str) -> bytes:
        return "".join([*lines[:number], new, *lines[number + 1 :]]).encode()

    yield from cuts(name, "".join(lines).encode(), ("start", start), ("value", start + len(key.encode()) + 1))
    yield made(name, "missing", instead(""))
    yield made(name, "twice", instead(line.rstrip("\n") + "\n" + line))
    yield made(name, "indented", instead(" " + line))
    yield made(name, "no-colon", instead(key + value))
    yield made(name, "empty", instead(f"{key}:\n"))
    yield made(name, "open-quote", instead(f'{key}: "{value.strip()}\n'))
    # The code of Norway, which YAML 1.1 reads as false.
    yield made(name, "norway", instead(f"{key}: no\n"))
    yield made(name, "unknown", instead(f"{key}x:{value}"))


def _aliases() -> bytes:
    """Six lines that expand to a million values: "billion laughs", within the 64 MiB of all bombs."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 6)]
    return "\n".join(lines).encode() + b"\n"
