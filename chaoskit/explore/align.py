"""Align two recordings of the same test: wildcards for names that vary, and other differences.

Names made by ``mkstemp`` and its like differ in every run. A part of a name that occurs in only one of the
two recordings counts as varying; the two sequences are aligned as if all varying parts were equal, and each
aligned pair of names yields a pattern that fits both (``tmp*.db``).
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from types import MappingProxyType
from typing import Any

from chaoskit.core.operation import InsideDetail, Operation, Place, Trace
from chaoskit.core.result import Variation
from chaoskit.core.schedule import Point, Schedule, literal, matcher
from chaoskit.explore.border import Recording
from chaoskit.faults.calls import FAMILIES

# Two samples of a random name may agree in their first or last letters by chance, and a pattern that kept
# those letters would not fit the third run. So a wildcard is widened to the length that the generator draws
# (eight in Python's tempfile, one of _C_LENGTHS in C), or by two at each end if what varies is longer still.
_RANDOM_LENGTH = 8
_C_LENGTHS = (6, 8, 10, 12)
"""Letters of random names made by programs in C: six by mkstemp(3), ten by mktemp(1), others by templates."""
_MARGIN = 2
# From nine on, a run of digits is taken for a clock: see _timeless.
_CLOCK_DIGITS = 9
_DIGIT = re.compile(r"\d")
_SEPARATOR = re.compile(r"[^A-Za-z0-9_]")

_VARYING = "\0"


@dataclass(frozen=True, slots=True)
class Alignment:
    """A recording under its final names, and every difference from the second one."""

    recording: Recording
    variations: tuple[Variation, ...] = ()


def align(first: Trace, second: Trace) -> Alignment:
    """Compare two recordings of one test; the first gives the points."""
    patterns = _find_patterns(first.operations, second.operations)
    naming = Naming(patterns)
    ours = naming.points(first.operations)
    theirs = naming.points(second.operations)
    # By name, not by position: one more call in one recording must not shift all that follow.
    known = dict(zip(theirs, second.operations, strict=True))
    stable = tuple(point in known for point in ours)
    variations = (
        *(Variation("name", pattern) for pattern in patterns if _is_wild(pattern)),
        *_only_in("only in first", ours, first.operations, known),
        *_only_in("only in second", theirs, second.operations, set(ours)),
        *_other_outcomes(ours, first.operations, known),
    )
    return Alignment(Recording(_settled(first, ours, known), ours, stable, patterns), variations)


def only_threads_differ(alignment: Alignment, second: Trace) -> bool:
    """Return True if the second recording has the same calls, but some of them in another thread."""
    recording = alignment.recording
    if all(recording.stable):
        return False
    naming = Naming(recording.patterns)
    ours, theirs = (
        Counter(
            (o.place.run, o.place.process, o.call, naming.name(o.target), naming.name(o.second or ""))
            for o in trace.operations
        )
        for trace in (recording.trace, second)
    )
    return ours == theirs


def _settled(first: Trace, points: Sequence[Point], known: Mapping[Point, Operation]) -> Trace:
    """The first recording, with the number of allocations at each line reduced to the smaller of the two."""
    fewer = {}
    for point, operation in zip(points, first.operations, strict=True):
        other = known.get(point)
        if other is not None and other.allocations < operation.allocations:
            fewer[operation.index] = replace(operation, detail=InsideDetail(other.allocations))
    return first if not fewer else replace(first, operations=tuple(fewer.get(o.index, o) for o in first))


def unaligned(
    trace: Trace, patterns: tuple[str, ...] = (), noted: Mapping[int, Any] = MappingProxyType({})
) -> Recording:
    """A recording without a second one to compare: all of it counts as stable."""
    return Recording(trace, Naming(patterns).points(trace.operations), (True,) * len(trace), patterns, noted)


class Naming:
    """Turns operations into points, using the wildcards of a scenario."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._matchers = [(pattern, matcher(pattern)) for pattern in patterns]
        self._known: dict[str, str] = {}

    def name(self, target: str) -> str:
        """The first pattern that fits ``target``, or ``target`` taken literally.

        An empty ``target`` (a promise, or the end) stays empty.
        """
        if not target:
            return ""
        # Thousands of operations name a few files, and every pattern would be tried for each.
        found = self._known.get(target)
        if found is None:
            fits = (pattern for pattern, expression in self._matchers if expression.fullmatch(target))
            self._known[target] = found = next(fits, literal(target))
        return found

    def points(self, operations: Iterable[Operation]) -> tuple[Point, ...]:
        """The point of each operation; ordinals are counted among equal names, from 1."""
        seen: dict[tuple[Place, str, str, str | None], int] = {}
        points = []
        for operation in operations:
            second = None if operation.second is None else self.name(operation.second)
            key = (operation.place, operation.call, self.name(operation.target), second)
            seen[key] = ordinal = seen.get(key, 0) + 1
            # A recording holds only some executions of a line, but each with its ordinal among all.
            if FAMILIES[operation.call].inside:
                ordinal = operation.ordinal
            points.append(Point(key[1], key[2], second, ordinal, operation.place))
        return tuple(points)


def patterns_with(patterns: tuple[str, ...], schedule: Schedule) -> tuple[str, ...]:
    """The wildcards of the recording, followed by those that only the schedule has."""
    names = [name for s in schedule for name in (s.point.target, s.point.second) if name]
    return tuple(dict.fromkeys((*patterns, *(name for name in names if _is_wild(name)))))


def _is_wild(pattern: str) -> bool:
    return "*" in pattern.replace("\\\\", "").replace("\\*", "")


def _find_patterns(first: Sequence[Operation], second: Sequence[Operation]) -> tuple[str, ...]:
    # Part by part, not name by name: below a directory with a random name, every whole name would vary.
    varying = _components(first) ^ _components(second)
    if not varying:
        return ()
    pairs: dict[str, list[str]] = {}
    for one, other in _aligned(first, second, varying):
        for a, b in ((one.target, other.target), (one.second, other.second)):
            if a is not None and b is not None and a != b:
                pairs.setdefault(pattern_for(a, b), []).extend((a, b))
    wild = _broadest(_needed(pairs))
    return (*_kept_literal(wild, first, second), *wild)


def _kept_literal(
    wild: Sequence[str], first: Iterable[Operation], second: Iterable[Operation]
) -> Iterator[str]:
    """Names that are in both recordings and would match a wildcard, each as a literal pattern.

    They come before the wildcards, since the first pattern that fits decides the name.
    """
    matchers = list(map(matcher, wild))
    for name in sorted(_names(first) & _names(second)):
        if any(expression.fullmatch(name) for expression in matchers):
            yield literal(name)


def _names(operations: Iterable[Operation]) -> set[str]:
    return {name for operation in operations for name in (operation.target, operation.second) if name}


def _needed(pairs: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Leave out a pattern if all of its names fit a narrower one: chance had made it too wide."""
    return tuple(
        one
        for one, names in pairs.items()
        if not any(
            one != other and matcher(one).fullmatch(other) and all(map(matcher(other).fullmatch, names))
            for other in pairs
        )
    )


def _broadest(patterns: tuple[str, ...]) -> tuple[str, ...]:
    """Leave out patterns that another one covers, so that each kind of name has one pattern."""
    return tuple(
        one
        for one in patterns
        if not any(one != other and matcher(other).fullmatch(one) for other in patterns)
    )


def _components(operations: Iterable[Operation]) -> set[str]:
    return {
        part
        for operation in operations
        for name in (operation.target, operation.second)
        if name
        for part in name.split("/")
    }


def _aligned(
    first: Sequence[Operation], second: Sequence[Operation], varying: set[str]
) -> Iterable[tuple[Operation, Operation]]:
    """Pairs of operations at the same position in the same thread of both recordings."""
    streams = _streams(second)
    for place, ours in _streams(first).items():
        theirs = streams.get(place, [])
        # autojunk would discard frequent calls, such as writes to a log, as noise.
        match = SequenceMatcher(
            None, [_shape(o, varying) for o in ours], [_shape(o, varying) for o in theirs], autojunk=False
        )
        for a, b, size in match.get_matching_blocks():
            yield from zip(ours[a : a + size], theirs[b : b + size], strict=True)


def _streams(operations: Iterable[Operation]) -> dict[Place, list[Operation]]:
    streams: dict[Place, list[Operation]] = {}
    for operation in operations:
        streams.setdefault(operation.place, []).append(operation)
    return streams


def _shape(operation: Operation, varying: set[str]) -> tuple[str, ...]:
    names = (operation.target, operation.second or "")
    return (operation.call, *(_blurred(name, varying) for name in names))


def _blurred(name: str, varying: set[str]) -> str:
    return "/".join(_VARYING if part in varying else part for part in name.split("/"))


def pattern_for(one: str, other: str) -> str:
    """The pattern that fits two names with equally many parts, with a wildcard in each differing part."""
    return "/".join(
        literal(a) if a == b else _pattern_of_part(a, b)
        for a, b in zip(one.split("/"), other.split("/"), strict=True)
    )


def _pattern_of_part(a: str, b: str) -> str:
    start = _common(a, b)
    end = _common(a[start:][::-1], b[start:][::-1])
    head, tail = a[:start], a[len(a) - end :]
    differing = (a[start : len(a) - end], b[start : len(b) - end])
    if all(map(_SEPARATOR.search, differing)):
        # Two numbers side by side, as in "4711.90210": the parts at the two edges vary independently.
        before = _agreed(reversed(head), tuple(_SEPARATOR.split(part)[0] for part in differing))
        after = _agreed(tail, tuple(_SEPARATOR.split(part)[-1] for part in differing))
    else:
        letters, at_each_end, in_all = _reach(differing)
        before, after = _run_length(reversed(head), letters), _run_length(tail, letters)
        before, after = _widened(before, after, at_each_end, in_all)
        # Two microsecond counts may begin with the same digit, and the third with another: M813362, M834362.
        before = max(before, _digits_at_edge(head[::-1], [part[:1] for part in differing]))
        after = max(after, _digits_at_edge(tail, [part[-1:] for part in differing]))
    return f"{_timeless(head[: len(head) - before])}*{_timeless(tail[after:])}"


def _digits_at_edge(beside: str, edges: Iterable[str]) -> int:
    """How many digits beside a varying part belong to the number that it begins or ends with."""
    return _run_length(beside, _DIGIT) if all(map(_DIGIT.fullmatch, edges)) else 0


def _agreed(beside: Iterable[str], differing: tuple[str, ...]) -> int:
    """How many letters beside a varying part are equal in both recordings by chance."""
    letters, at_this_end, _ = _reach(differing)
    return min(_run_length(beside, letters), at_this_end)


def _widened(before: int, after: int, at_each_end: int, in_all: int) -> tuple[int, int]:
    """How many equal letters ``before`` and ``after`` a varying part belong to it by chance.

    If one side has few equal letters and the other many, the few are equal by chance, and the other side
    gives what is missing of ``in_all``. Otherwise both sides are widened: a pattern that is too wide still
    fits the third run.
    """
    if after <= at_each_end < before:
        return min(at_each_end, in_all - after), after
    if before <= at_each_end < after:
        return before, min(at_each_end, in_all - before)
    return min(before, at_each_end), min(after, at_each_end)


def _timeless(text: str) -> str:
    """A literal pattern with a wildcard for a clock, which has ten digits for seconds since 1970.

    Both recordings may have been made within one second, and then the clock did not vary.
    """
    return re.sub(rf"\d{{{_CLOCK_DIGITS},}}", "*", literal(text))


def _common(a: str, b: str) -> int:
    """The length of the common prefix."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _reach(differing: tuple[str, ...]) -> tuple[re.Pattern[str], int, int]:
    """The letters by which a varying part may be widened, and by how many at each end and in total."""
    joined = "".join(differing)
    # A number may grow by a digit at any time, so all of its digits are taken: 64 is more than any has.
    if re.fullmatch(r"\d*", joined):
        return re.compile(r"\d"), 64, 128
    if re.fullmatch(r"[0-9a-f]*", joined):
        return re.compile(r"[0-9a-f]"), 64, 128
    # If five of eight random letters differ, three were equal by chance. The C library draws six letters,
    # capitals included (mkstemp(3)), and Python eight without capitals: in "sedAbC12x", "sed" is literal.
    length = _RANDOM_LENGTH
    if re.search("[A-Z]", joined):
        length = next((one for one in _C_LENGTHS if one >= min(map(len, differing))), length)
    missing = length - min(map(len, differing))
    if missing < 0:
        return re.compile(r"[A-Za-z0-9_]"), _MARGIN, 2 * _MARGIN
    return re.compile(r"[A-Za-z0-9_]"), missing, missing


def _run_length(text: Iterable[str], letters: re.Pattern[str]) -> int:
    """How many of the first characters are among ``letters``."""
    return sum(1 for _ in itertools.takewhile(letters.fullmatch, text))


def _only_in(
    kind: str, points: Iterable[Point], operations: Iterable[Operation], known: Iterable[Point]
) -> Iterable[Variation]:
    known = set(known)
    for point, operation in zip(points, operations, strict=True):
        if point not in known:
            yield Variation(kind, str(point), operation.site)  # type: ignore[arg-type]


def _other_outcomes(
    points: Iterable[Point], operations: Iterable[Operation], known: dict[Point, Operation]
) -> Iterable[Variation]:
    for point, operation in zip(points, operations, strict=True):
        other = known.get(point)
        # Compare only success and failure: byte counts and descriptors differ for good reasons.
        if other is not None and operation.ok != other.ok:
            text = f"{point}: {operation.result}, then {other.result}"
            yield Variation("outcome", text, operation.site)
