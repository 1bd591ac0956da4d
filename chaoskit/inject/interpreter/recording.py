"""What a recording notes inside the interpreter: lines, their allocations, checks for signals, awaits."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import CodeType
from typing import Any

from chaoskit.core.operation import Frame
from chaoskit.inject.interpreter import tasks
from chaoskit.inject.interpreter.freelists import settle
from chaoskit.inject.interpreter.places import CodePlaces, stack, user_frame
from chaoskit.inject.interpreter.words import COUNTDOWN, NEVER, POSITION
from chaoskit.inject.plain import Malformed


@dataclass(slots=True)
class Noted:
    """One operation inside the interpreter, and how many outside operations were recorded before it."""

    call: str
    target: str
    ordinal: int
    position: int
    stack: tuple[Frame, ...]
    allocations: int = 0
    order: int = 0
    """Its order among operations with the same position."""


@dataclass(slots=True)
class _Seen:
    """A line: how often it was executed, and the first and last time that it allocated something."""

    target: str
    count: int = 0
    kept: list[Noted] = field(default_factory=list)


class LineRecorder:
    """An ``EventListener`` that notes the first and last execution of lines, and the first of all else."""

    def __init__(self, words: memoryview, places: CodePlaces, boundary: CodeType) -> None:
        self._words = words
        self._places = places
        self._boundary = boundary
        self._lines: dict[tuple[int, int], _Seen] = {}
        self._sites: set[tuple[str, int, int]] = set()
        self._counts: dict[tuple[str, str], int] = {}
        self._others: list[Noted] = []
        self._order = 0
        self._current: tuple[Noted, _Seen] | None = None
        self._spent = {0: 0, 256: 0, 1024: 0}

    def calibrated(self, spent: dict[int, int]) -> None:
        """Set how many allocations the report of a line takes, by the least line number that takes them."""
        self._spent = spent

    def forget(self) -> None:
        """Begin again."""
        for kept in (self._lines, self._sites, self._counts, self._others):
            kept.clear()
        self._current = None
        self._words[COUNTDOWN] = NEVER

    def line(self, code: CodeType, number: int, told: int) -> None:
        """A line begins or resumes: allocations since the last such event belong to the previous line."""
        self._close(self._words[COUNTDOWN], told)
        key = (id(code), number)
        seen = self._lines.get(key)
        if seen is None:
            self._lines[key] = seen = _Seen(self._places.line(code, number))
        seen.count += 1
        self._current = self._noted("alloc", seen.target, seen.count), seen
        settle()
        # Last: the code above does not belong to the line.
        self._words[COUNTDOWN] = NEVER

    def left(self, told: int = 0) -> None:
        """The line goes no further for now."""
        self._close(self._words[COUNTDOWN], told)

    def looked(self, code: CodeType, number: int) -> None:
        """Python looks for signals."""
        self._first("line", self._places.line(code, number), id(code), number)

    def returned(self, code: CodeType, offset: int, callee: object) -> None:
        """A call has returned."""
        self._first("returned", self._places.called(code, callee), id(code), offset)

    def waits(self, code: CodeType, number: int) -> None:
        """A task waits."""
        if tasks.canceller(_nothing) is not None:
            self._first("await", self._places.line(code, number), id(code), number)

    def noted(self) -> list[Noted]:
        """Everything noted, in order."""
        lines = (noted for seen in self._lines.values() for noted in seen.kept)
        return sorted((*lines, *self._others), key=lambda one: (one.position, one.order))

    def _first(self, call: str, target: str, code: int, where: int) -> None:
        self._counts[call, target] = count = self._counts.get((call, target), 0) + 1
        if (call, code, where) not in self._sites:
            self._sites.add((call, code, where))
            self._others.append(self._noted(call, target, count))

    def _noted(self, call: str, target: str, ordinal: int) -> Noted:
        frames = stack(user_frame(), self._boundary)
        self._order += 1
        return Noted(call, target, ordinal, self._words[POSITION], frames, order=self._order)

    def _close(self, left: int, told: int) -> None:
        if self._current is not None:
            (noted, seen), self._current = self._current, None
            # Rather too few than too many: a strike at an allocation that is not made would be in vain.
            noted.allocations = max(0, NEVER - left - spent_on(told, self._spent))
            if seen.kept and not seen.kept[0].allocations:
                seen.kept.clear()
            # The head of a loop allocates nothing when the loop ends: use the time before.
            if noted.allocations or not seen.kept:
                seen.kept[1:] = [noted]


def spent_on(told: int, spent: dict[int, int]) -> int:
    """How many allocations the report of a line took, by the line number that came with it."""
    return spent[max(least for least in spent if least <= told)]


def _nothing() -> None:
    """Ignore it: only strikes need this event."""


def packed(noted: list[Noted]) -> list[Any]:
    """Plain data that contains each stack once."""
    stacks: dict[tuple[Frame, ...], int] = {}
    rows = []
    for one in noted:
        number = stacks.setdefault(one.stack, len(stacks))
        rows.append([one.call, one.target, one.ordinal, one.position, number, one.allocations])
    return [[[[frame.file, frame.line, frame.function] for frame in frames] for frames in stacks], rows]


def unpacked(data: Any) -> list[Noted]:
    """The inverse of :func:`packed`.

    Raises:
        Malformed: for anything else.
    """
    try:
        stacks = [tuple(Frame(str(f), int(n), str(name)) for f, n, name in frames) for frames in data[0]]
        return [Noted(str(c), str(t), int(o), int(p), stacks[s], int(a)) for c, t, o, p, s, a in data[1]]
    except (TypeError, ValueError, LookupError) as error:
        raise Malformed(f"no notes of lines: {error}") from None
