"""Failures of CPython itself, as opposed to those of the program that it runs.

When an allocation fails, some places in CPython forget to raise, raise and go on, or use the memory that they
did not get. That says nothing about the program, and no program can guard against it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

from chaoskit.core.case import RunSummary
from chaoskit.core.operation import Caveat
from chaoskit.explore.job import Job
from chaoskit.explore.observation import Observation

_CRASHES = frozenset({"SIGSEGV", "SIGBUS", "SIGABRT", "SIGILL", "SIGFPE"})
"""The signals that kill a process that uses memory it does not have, or that aborts (``Py_FatalError``)."""
_CONFUSED = re.compile(
    r"SystemError: .*(?:without setting an exception|with an exception set|without exception set"
    r"|bad argument to internal function|unknown opcode).*"
)
"""What CPython raises when a C function broke its rules (``_Py_CheckFunctionResult`` in call.c)."""
_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_FRAME = re.compile(r'File "([^"]+)", line (\d+),? in (\S+)')


@dataclass(frozen=True, slots=True)
class OwnFailure:
    """``what`` happened, and ``where``: its Python line, as ``file:line in function``."""

    what: str
    where: str

    def __str__(self) -> str:
        return f"{self.what}{f' at {self.where}' if self.where else ''}"


def own_failure(job: Job, seen: Observation) -> OwnFailure | None:
    """How CPython itself failed after an allocation had provably failed; None if it did not."""
    struck = [one.point for one in job.schedule if str(one) in seen.struck]
    lines = [point.target for point in struck if point.call == "alloc"]
    if not lines:
        return None
    return next((found for run in seen.runs if run.receipts and (found := _of_run(run, lines[-1]))), None)


def _of_run(run: RunSummary, line: str) -> OwnFailure | None:
    if run.how == "died" and run.signal in _CRASHES:
        # faulthandler writes the innermost frame first. If only chaoskit's frames are left, the error that
        # the program raised was itself corrupt: then only the line whose allocation failed is known.
        theirs = (one for one in _FRAME.finditer(run.stacks) if not one.group(1).startswith(_OURS))
        return OwnFailure(run.signal, _named(next(theirs, None)) or line)
    confused = _CONFUSED.search(run.error) or _CONFUSED.search(run.traceback)
    if run.how == "raised" and confused:
        frames = list(_FRAME.finditer(run.traceback))
        return OwnFailure(confused.group(0), _named(frames[-1] if frames else None))
    return None


def _named(frame: re.Match[str] | None) -> str:
    if frame is None:
        return ""
    file, line, function = frame.groups()
    return f"{'/'.join(file.split('/')[-2:])}:{line} in {function}"


def caveats(job: Job, seen: Observation) -> Iterator[Caveat]:
    """The caveat about such a failure, with the same target for the same place."""
    found = own_failure(job, seen)
    if found is not None:
        text = f"Python itself failed where an allocation failed: {found}. It says nothing about the program"
        yield Caveat("interpreter", found.where or found.what, text)
