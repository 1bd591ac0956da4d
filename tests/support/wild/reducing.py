"""Making a program short that still differs."""

from __future__ import annotations

from collections.abc import Callable

from wild.programs import Program, Step


def reduced(program: Program, differs: Callable[[Program], bool]) -> Program:
    """The shortest program that was found by leaving steps out, none of which can be left out any more."""
    steps = list(program.steps)
    size = max(1, len(steps) // 2)
    while size:
        start, shorter = 0, False
        while start < len(steps):
            fewer = steps[:start] + steps[start + size :]
            if fewer and _is_whole(fewer) and differs(program.only(fewer)):
                steps, shorter = fewer, True
            else:
                start += size
        if not shorter:
            size //= 2
    return program.only(steps)


def _is_whole(steps: list[Step]) -> bool:
    """Return True if each actor is there before it does something."""
    there = 1
    for step in steps:
        if step.actor >= there:
            return False
        there += step.name in ("fork", "thread")
    return True
