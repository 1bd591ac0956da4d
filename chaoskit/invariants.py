"""Invariants that a scenario may ask for by name, beside its own ``assert``.

::

    @scenario(faults.disk(), invariants=[no_extra_files, no_truncated_files])

An invariant is a function that is given :class:`Evidence` at the end of every case and raises
``AssertionError`` when it does not hold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from chaoskit.explore.errors import InvariantBroken
from chaoskit.explore.snapshot import Snapshot, differences

__all__ = ["Evidence", "Invariant", "no_extra_files", "no_truncated_files"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """``expected`` is what the undisturbed run left in ``chaos.path``, ``found`` what this case left.

    ``patterns`` are the wildcards for names that vary from run to run.
    """

    expected: Snapshot
    found: Snapshot
    patterns: tuple[str, ...] = ()


Invariant = Callable[[Evidence], None]


def no_extra_files(evidence: Evidence) -> None:
    """After recovery nothing is left that the undisturbed run does not leave: no temporary files."""
    found = differences(evidence.expected, evidence.found, evidence.patterns)
    extra = [difference.path for difference in found if difference.change == "extra"]
    if extra:
        raise InvariantBroken(
            "no_extra_files", f"left behind, unlike in the undisturbed run: {', '.join(extra)}"
        )


def no_truncated_files(evidence: Evidence) -> None:
    """No file is empty that the undisturbed run leaves with content."""
    empty = [
        path
        for path, entry in evidence.found.items()
        if entry.kind == "file" and not entry.size and _has_content(evidence.expected, path)
    ]
    if empty:
        raise InvariantBroken("no_truncated_files", f"truncated to nothing: {', '.join(empty)}")


def _has_content(snapshot: Snapshot, path: str) -> bool:
    entry = snapshot.get(path)
    return entry is not None and entry.kind == "file" and entry.size > 0
