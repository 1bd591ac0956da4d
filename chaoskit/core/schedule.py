"""Schedules: which faults strike at which points, as one line of text that can be read back.

Grammar (blanks around ``;`` and ``->`` are optional when parsing and always written)::

    schedule  =  strike *( "; " strike )
    strike    =  [ place ":" ] call "(" target [ " -> " target ] ")" "#" ordinal "=" fault
    place     =  part *( "/" part )        parts: run2, a process such as git~1, a thread such as t1
    fault     =  name [ "[" argument "]" ]

Targets and arguments are ASCII. A target may hold letters, digits and ``. _ / + ~ @ , : -`` as they
are; every other byte of the name (as the file system spells it) is written ``%XX``. A bare ``*``
stands for any characters but ``/``. Arguments may hold blanks too.
"""

from __future__ import annotations

import operator
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from chaoskit.core.errors import ScheduleError
from chaoskit.core.operation import MAIN, Operation, Place

# Nothing here has a meaning to a shell: a schedule can be pasted after --replay, quoted once.
_AS_IT_IS = re.compile(r"[A-Za-z0-9._/+~@,:-]*")
_PLAIN = frozenset(byte for byte in range(128) if _AS_IT_IS.fullmatch(chr(byte)))
_PLACE = re.compile(
    r"(?:run(?P<run>[1-9]\d*))?/?(?P<process>[A-Za-z0-9_.+%-]+~[1-9]\d*)?/?(?:t(?P<thread>[1-9]\d*))?"
)
_POINT = re.compile(
    r"(?:(?P<place>[A-Za-z0-9_.+%~/-]+):)?"
    r"(?P<call>[a-z_][a-z0-9_]*)"
    r"\((?P<target>[^()\s;=#>]*?)(?:\s*->\s*(?P<second>[^()\s;=#>]*))?\)"
    r"#(?P<ordinal>[1-9]\d*)"
)
_STRIKE = re.compile(rf"{_POINT.pattern}=(?P<fault>[A-Za-z_][A-Za-z0-9_]*)(?:\[(?P<argument>[^\[\];]*)\])?")
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_NOT_UTF8 = re.compile("[\udc80-\udcff]")
_EXAMPLE = (
    "expected something like 'rename(a.tmp -> a)#1=kill'; "
    "failing tests and reports print schedules ready to copy"
)


@dataclass(frozen=True, slots=True, order=True)
class Point:
    """The name of a fault point: which of several equal operations, in which run, process and thread.

    ``target`` and ``second`` are patterns: ``*`` stands for what varies between runs, and a star or
    a backslash that is part of a name is preceded by a backslash.
    """

    call: str
    target: str
    second: str | None = None
    ordinal: int = 1
    place: Place = MAIN

    def __str__(self) -> str:
        both = escape(self.target)
        if self.second is not None:
            both = f"{both} -> {escape(self.second)}"
        place = f"{spelt}:" if (spelt := place_text(self.place)) else ""
        return f"{place}{self.call}({both})#{self.ordinal}"

    @classmethod
    def parse(cls, text: str) -> Point:
        """Read a point back: ``Point.parse(str(point)) == point``.

        Raises:
            ScheduleError: if the text does not name a point.
        """
        match = _POINT.fullmatch(text)
        if match is None or not text.isascii():
            raise ScheduleError(
                f"point {text!r} does not parse; expected something like 'rename(a.tmp -> a)#1'."
            )
        return _point(match)

    @property
    def key(self) -> tuple[Place, str, str, str | None]:
        """Place, call and names: equal for points that only their ordinals tell apart."""
        return (self.place, self.call, self.target, self.second)


PERSISTENT = "persistent"
"""The argument of an errno that stays until the run is over."""


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """What goes wrong: an errno name, ``kill``, ``short`` …, with an optional argument."""

    name: str
    argument: str = ""

    def __str__(self) -> str:
        return f"{self.name}[{_escape_argument(self.argument)}]" if self.argument else self.name


@dataclass(frozen=True, slots=True, order=True)
class Strike:
    """One fault at one point."""

    point: Point
    fault: Fault

    def __str__(self) -> str:
        return f"{self.point}={self.fault}"


@dataclass(frozen=True, slots=True)
class Schedule:
    """The faults of one case, in the order in which they are due. The baseline has an empty schedule."""

    strikes: tuple[Strike, ...] = ()

    def __str__(self) -> str:
        return "; ".join(map(str, self.strikes))

    def __iter__(self) -> Iterator[Strike]:
        return iter(self.strikes)

    def __len__(self) -> int:
        return len(self.strikes)

    @classmethod
    def parse(cls, text: str) -> Schedule:
        """Read a schedule back: ``Schedule.parse(str(schedule)) == schedule``.

        Raises:
            ScheduleError: naming the part that does not parse and what was expected there.
        """
        if not isinstance(text, str):
            raise ScheduleError(
                f"schedule is {text!r} ({type(text).__name__}); expected text, for example {_EXAMPLE}"
            )
        # A semicolon cannot occur in a name: it is escaped.
        parts = [part.strip() for part in text.split(";")]
        if parts == [""]:
            return cls()
        return cls(tuple(map(_parse_strike, parts)))


def point_of(operation: Operation) -> Point:
    """The point of ``operation``, taken literally: nothing in its name is a wildcard."""
    return Point(
        operation.call,
        literal(operation.target),
        None if operation.second is None else literal(operation.second),
        operation.ordinal,
        operation.place,
    )


def literal(name: str) -> str:
    """The pattern that matches ``name`` alone."""
    return name.replace("\\", "\\\\").replace("*", "\\*")


def matcher(pattern: str) -> re.Pattern[str]:
    """A compiled expression whose ``fullmatch`` accepts the names that fit ``pattern``."""
    out = []
    for token in re.findall(r"\\.|\*|[^\\*]+", pattern, re.DOTALL):
        out.append("[^/]*" if token == "*" else re.escape(token[1:] if token[0] == "\\" else token))
    # DOTALL: a name may hold a line end.
    return re.compile("".join(out), re.DOTALL)


def fits(pattern: str) -> Callable[[str], object]:
    """A function that is true of the names that fit ``pattern``."""
    # Most patterns have no wildcard, and to compile one costs far more than a comparison.
    name = plain_name(pattern)
    return matcher(pattern).fullmatch if name is None else partial(operator.eq, name)


def plain_name(pattern: str) -> str | None:
    """The one name that ``pattern`` fits, or None if it has a wildcard."""
    if "*" not in pattern and "\\" not in pattern:
        return pattern
    tokens = re.findall(r"\\.|\*|[^\\*]+", pattern, re.DOTALL)
    if "*" in tokens:
        return None
    return "".join(token[1:] if token[0] == "\\" else token for token in tokens)


def escape(pattern: str) -> str:
    """Write a pattern in the alphabet of schedules."""
    if _AS_IT_IS.fullmatch(pattern):
        return pattern
    out = []
    for token in re.findall(r"\\.|\*|[^\\*]+", pattern, re.DOTALL):
        out.append("*" if token == "*" else _escape_name(token[1:] if token[0] == "\\" else token))
    return "".join(out)


def printable(text: str) -> str:
    """``text`` for people: bytes of names that are not UTF-8 become ``%XX``, as schedules write them.

    The result can always be encoded. Since everything else stays as it is, it cannot be parsed back reliably.
    """
    if text.isascii():
        return text
    # surrogateescape keeps a byte that is not UTF-8 as U+DC00 plus the byte.
    escaped = _NOT_UTF8.sub(lambda match: f"%{ord(match[0]) - 0xDC00:02X}", text)
    return escaped.encode("utf-8", "backslashreplace").decode()


def unescape(text: str) -> str:
    """Read a pattern back from the alphabet of schedules."""
    return "*".join(literal(_unescape_name(part)) for part in text.split("*"))


def _escape_name(name: str) -> str:
    # Bytes and not characters: a name need not be UTF-8, and must come back exactly as it was.
    raw = name.encode("utf-8", "surrogateescape") if os.name == "nt" else os.fsencode(name)
    return "".join(chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in raw)


def _unescape_name(text: str) -> str:
    raw = _ESCAPE.sub(lambda match: chr(int(match[1], 16)), text).encode("latin-1")
    return raw.decode("utf-8", "surrogateescape") if os.name == "nt" else os.fsdecode(raw)


def _escape_argument(text: str) -> str:
    return "".join(
        char
        # What ends an argument or a strike, and what begins an escape; blanks stay readable.
        if char.isascii() and char.isprintable() and char not in "%[];"
        else "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogateescape"))
        for char in text
    )


def place_text(place: Place) -> str:
    """The place as a schedule spells it; empty for the main thread of the first run."""
    parts = []
    if place.run != 1:
        parts.append(f"run{place.run}")
    if place.process:
        parts.append(place.process)
    if place.thread:
        parts.append(f"t{place.thread}")
    return "/".join(parts)


def _parse_place(text: str | None, strike: str) -> Place:
    if not text:
        return Place()
    match = _PLACE.fullmatch(text)
    if match is None:
        raise ScheduleError(
            f"place {text!r} in {strike!r} does not parse; "
            f"expected run, process and thread, as in 'run2/git~1/t1'."
        )
    return Place(int(match["run"] or 1), match["process"] or "", int(match["thread"] or 0))


def _point(match: re.Match[str]) -> Point:
    second = match["second"]
    return Point(
        match["call"],
        # An empty target is valid: a promise has no name, and is written promise().
        unescape(match["target"]),
        None if second is None else unescape(second),
        int(match["ordinal"]),
        _parse_place(match["place"], match[0]),
    )


def _parse_strike(text: str) -> Strike:
    match = _STRIKE.fullmatch(text)
    if match is None:
        raise ScheduleError(f"schedule part {text!r} does not parse; {_EXAMPLE}.")
    # The expression lets them through, so that the message can say what is wrong.
    if not text.isascii():
        raise ScheduleError(
            f"schedule part {text!r} holds characters that are not ASCII; expected names escaped as %XX."
        )
    # Byte by byte first: one character may be written as several escapes.
    argument = _ESCAPE.sub(lambda m: chr(int(m[1], 16)), match["argument"] or "")
    return Strike(
        _point(match), Fault(match["fault"], argument.encode("latin-1").decode("utf-8", "surrogateescape"))
    )
