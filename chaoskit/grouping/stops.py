"""Finds stops that have one cause because the program is in the same unsafe stretch at all of them.

A stretch is a part of the recording in which a kill at any operation breaks the test in the same way.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from chaoskit.core.evidence import CaseEvidence, Cause


@dataclass(frozen=True, slots=True)
class Named:
    """A cause with the id of its finding, and the id that it has instead if its kind is ``answered``."""

    cause: Cause
    id: str
    answered: str


class Stops:
    """Settles the causes of stops.

    ``safe`` are the moments at which a kill was harmless. ``complete`` is False if some cases were left out:
    what happens between two stops is then unknown.
    """

    def __init__(
        self,
        evidence: Sequence[CaseEvidence],
        causes: Mapping[int, Named],
        safe: Iterable[int],
        *,
        complete: bool,
    ) -> None:
        self._evidence = evidence
        self._named = dict(causes)
        self._complete = complete
        self._safe = sorted(safe)
        self._stretches: list[list[int]] = []

    def settled(self) -> dict[int, Named]:
        """The cause of each case; cases within one stretch share the cause of its first."""
        kills = [i for i in self._named if self._cause(i).killed and self._cause(i).at is not None]
        for i in sorted(kills, key=lambda i: (self._cause(i).at or 0, i)):
            self._add(i)
        for stretch in self._stretches:
            for i in stretch[1:]:
                self._named[i] = self._like(stretch, i)
        for i in sorted(self._named):
            cause = self._cause(i)
            if cause.kind == "stopped" and not cause.killed:
                self._named[i] = self._answered(i, cause)
            elif cause.what == "in place":
                self._named[i] = self._in_place(i, cause)
        return self._named

    def _cause(self, i: int) -> Cause:
        return self._named[i].cause

    def _add(self, i: int) -> None:
        """Append a kill to the stretch that reaches up to it, or begin a new one."""
        for stretch in self._stretches:
            last = stretch[-1]
            if self._evidence[last].harm == self._evidence[i].harm and self._joined(last, i):
                stretch.append(i)
                return
        self._stretches.append([i])

    def _joined(self, earlier: int, later: int) -> bool:
        one, other = self._cause(earlier), self._cause(later)
        assert one.at is not None
        assert other.at is not None
        # The earlier moment does not count: there, a kill may be safe before a write and not in the middle.
        between = bisect.bisect_right(self._safe, other.at) - bisect.bisect_right(self._safe, one.at)
        return not between and (self._complete or one.owner == other.owner)

    def _answered(self, i: int, cause: Cause) -> Named:
        """The cause of a case in which the program reported an error and stopped.

        It is the cause of a stretch if a kill at this moment does the same harm, or leaves the same files.
        Otherwise the program reacted to the error, and its reaction did the harm.
        """
        same = [s for s in self._stretches if self._evidence[s[0]].harm == self._evidence[i].harm]
        for stretch in same:
            first, last = (self._cause(stretch[end]).at for end in (0, -1))
            if cause.at is not None and first is not None and last is not None:
                # No kill is tried before a call that only syncs or reads, so the stretch reaches up to the
                # next moment known to be safe.
                low, high = min(cause.at, first), max(cause.at, last)
                within = first <= cause.at <= last
                if within or (self._complete and not self._is_safe_within(low, high)):
                    return self._like(stretch, i)
        for stretch in same:
            left = self._evidence[i].left
            alike = left is not None and any(self._evidence[other].left == left for other in stretch)
            if alike and self._cause(stretch[0]).owner == cause.owner:
                return self._like(stretch, i)
        if cause.at is None or not self._is_safe_within(cause.at, cause.at):
            return self._named[i]
        return replace(self._named[i], cause=replace(cause, kind="answered"), id=self._named[i].answered)

    def _is_safe_within(self, low: int, high: int) -> bool:
        """Return True if a kill at one of these moments, both included, was harmless."""
        return bisect.bisect_right(self._safe, high) > bisect.bisect_left(self._safe, low)

    def _like(self, stretch: Sequence[int], i: int) -> Named:
        """The cause that the whole stretch shares, at the moment of this case."""
        first, own = self._named[stretch[0]], self._cause(i)
        return replace(first, cause=replace(first.cause, at=own.at, killed=own.killed))

    def _in_place(self, i: int, cause: Cause) -> Named:
        """The cause of a stretch where a kill alone breaks what this power loss breaks, if there is one."""
        for stretch in self._stretches:
            first = self._cause(stretch[0])
            if (cause.owner, cause.files) == (first.owner, first.files):
                return self._named[stretch[0]]
        return self._named[i]
