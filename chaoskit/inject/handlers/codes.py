"""Where the handlers of a function are in its code.

CPython enters a handler at ``PUSH_EXC_INFO``; ``CHECK_EXC_MATCH`` and the jump after it decide which clause
catches the exception, so the instruction after that jump is executed if and only if the clause is
(Python/compile.c, "compiler_try_except"; Objects/exception_handling_notes.txt describes the table).
"""

from __future__ import annotations

import opcode
from collections.abc import Iterable, Iterator, Mapping
from types import CodeType

from chaoskit.inject.handlers.sites import HandlerSite

_CODES: Mapping[str, int] = opcode.opmap
_PUSH, _WITH, _POP = (_CODES[name] for name in ("PUSH_EXC_INFO", "WITH_EXCEPT_START", "POP_TOP"))
_MATCHES = {_CODES["CHECK_EXC_MATCH"], _CODES["CHECK_EG_MATCH"]}
_NO_CLEAN_UP = {_PUSH} | {_CODES[name] for name in ("CALL_INTRINSIC_1",) if name in _CODES}
_NO_WORK = {_CODES[name] for name in ("CACHE", "NOT_TAKEN", "EXTENDED_ARG") if name in _CODES}
_JUMPS = {number for name, number in _CODES.items() if name.startswith("POP_JUMP")}
_TO_CLAUSE = _CODES.get("POP_JUMP_FORWARD_IF_NOT_NONE", -1)
"""In early releases of CPython 3.11 (Debian 12 has 3.11.2) the jump of ``except*`` goes to the clause."""


def begins(code: CodeType, sites: Iterable[HandlerSite]) -> dict[HandlerSite, int]:
    """The offset of the first instruction of each handler that was found."""
    lines = [line for line, *_ in code.co_positions()]
    text = code.co_code
    typed = {site.line: site for site in sites if site.kind == "except" and not site.bare}
    bare = {site.line: site for site in sites if site.bare}
    last = {site.line: site for site in sites if site.kind == "finally"}
    exits = {site.line: site for site in sites if site.kind == "with"}
    found: dict[HandlerSite, int] = {}
    for at in range(0, len(text), 2):
        operation, line = text[at], lines[at // 2] or 0
        if operation in _MATCHES and line in typed:
            found.setdefault(typed[line], _behind_jump(text, at))
        elif operation == _WITH and line in exits:
            found.setdefault(exits[line], at)
        elif operation == _POP and line in bare:
            found.setdefault(bare[line], at)
        elif operation == _PUSH and (then := lines[at // 2 + 1] or 0) in last:
            found.setdefault(last[then], _next(text, at))
    return found


def handled_lines(code: CodeType) -> dict[int, int]:
    """The lines of instructions that are executed while an exception is handled, by their offsets."""
    lines = [line for line, *_ in code.co_positions()]
    text = code.co_code
    return {
        at: line
        for start, end, target, keeps in _table(code.co_exceptiontable)
        # Only entries that cover a handler: their target cleans up after it, or deletes the name of its
        # exception. The entries for the body of a "with" and for a whole generator have other targets.
        if keeps and text[target] not in _NO_CLEAN_UP
        for at in range(start, end, 2)
        if (line := lines[at // 2]) is not None and text[at] not in _NO_WORK
    }


def _next(text: bytes, at: int) -> int:
    at += 2
    while at < len(text) and text[at] in _NO_WORK:
        at += 2
    return at


def _behind_jump(text: bytes, at: int) -> int:
    while text[at] not in _JUMPS:
        at += 2
    return at + 2 + 2 * text[at + 1] if text[at] == _TO_CLAUSE else _next(text, at)


def _table(table: bytes) -> Iterator[tuple[int, int, int, bool]]:
    """Start, end and target of each entry, and True if it keeps the position of the exception."""
    numbers = list(_numbers(table))
    for start, length, target, depth in zip(*(numbers[i::4] for i in range(4)), strict=False):
        yield start * 2, (start + length) * 2, target * 2, bool(depth & 1)


def _numbers(table: bytes) -> Iterator[int]:
    value = 0
    for byte in table:
        value = value << 6 | byte & 63
        if not byte & 64:
            yield value
            value = 0
