"""Source code around a place, as it was when the place was recorded."""

from __future__ import annotations

import linecache
import re
from collections.abc import Iterable
from dataclasses import dataclass

from chaoskit.core.operation import Frame

AROUND = 2
"""Lines of source before and after the one of interest."""


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Some lines of one file around ``site``; ``first`` is the number of the first one."""

    site: Frame
    first: int
    lines: tuple[str, ...]


def excerpt(stack: Iterable[Frame]) -> Excerpt | None:
    """The lines around the innermost frame of ``stack`` that does not belong to a library.

    None if there is no such frame, or the source cannot be read.
    """
    site = next((frame for frame in stack if not of_a_library(frame.file)), None)
    if site is None:
        return None
    first = max(1, site.line - AROUND)
    lines = [linecache.getline(site.file, number) for number in range(first, site.line + AROUND + 1)]
    # getline() returns "" past the end of a file, and the line end alone for an empty line within it.
    while lines and not lines[-1]:
        lines.pop()
    return Excerpt(site, first, tuple(line.rstrip() for line in lines)) if lines else None


def of_a_library(file: str) -> bool:
    """Return True if a file belongs to Python or to an installed package, as its name shows."""
    return (
        file.startswith("<")
        or "/site-packages/" in file
        or re.search(r"/lib/python3[.\d]+t?/", file) is not None
    )
