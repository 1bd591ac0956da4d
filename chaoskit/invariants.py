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
from chaoskit.explore.resuming import OLDER, UNTOLD, RecoveryPlace
from chaoskit.explore.snapshot import Snapshot, differences

__all__ = [
    "Evidence",
    "Invariant",
    "no_extra_files",
    "no_truncated_files",
    "resumes_from_newest",
]


@dataclass(frozen=True, slots=True)
class Evidence:
    """``expected`` is what the baseline left in ``chaos.path``, ``found`` what this case left.

    ``patterns`` are the wildcards for names that vary from run to run. ``resumed`` has what each
    ``chaos.recover`` returned, and the newest promise before it.
    """

    expected: Snapshot
    found: Snapshot
    patterns: tuple[str, ...] = ()
    resumed: tuple[RecoveryPlace, ...] = ()


Invariant = Callable[[Evidence], None]


def no_extra_files(evidence: Evidence) -> None:
    """After recovery nothing is left that the baseline does not leave: no temporary files.

    Raises InvariantBroken with the names of what is left.
    """
    # With the scenario's wildcards: a temporary file that the baseline leaves has another name here.
    found = differences(evidence.expected, evidence.found, evidence.patterns)
    extra = [difference.path for difference in found if difference.change == "extra"]
    if extra:
        raise InvariantBroken("no_extra_files", f"left behind, unlike in the baseline: {', '.join(extra)}")


def no_truncated_files(evidence: Evidence) -> None:
    """No file that has content in the baseline is empty.

    Raises InvariantBroken with the names of the empty files.
    """
    # Only files with content in the baseline: a program may leave empty ones on purpose, such as locks.
    filled = {path for path, entry in evidence.expected.items() if entry.kind == "file" and entry.size > 0}
    empty = [
        path
        for path, entry in evidence.found.items()
        if entry.kind == "file" and not entry.size and path in filled
    ]
    if empty:
        raise InvariantBroken("no_truncated_files", f"truncated to nothing: {', '.join(empty)}")


def resumes_from_newest(evidence: Evidence) -> None:
    """A named recovery returns the newest value promised before it, or one that the baseline promises later.

    A collection that it returns, such as everything done so far, has to contain the newest promise. Work
    that was done but not yet acknowledged when the fault struck may be there or not. A test without a
    promise, or without ``chaos.recover``, always passes.

    Raises InvariantBroken with what the recovery returned and what was promised.
    """
    for one in evidence.resumed:
        if one.word in (OLDER, UNTOLD):
            found = f"the recovery returned {one.value!r}, which is {one.word}"
            raise InvariantBroken("resumes_from_newest", f"{found}; {one.newest!r} had been promised")
