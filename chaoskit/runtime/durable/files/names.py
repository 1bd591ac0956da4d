"""Names of unfinished files and directories: hidden, beside the target, with the owner in the name.

``.NAME.ck-<owner>-<n>`` is being written, or is the old directory after an exchange with the new one: it can
be removed once its owner is dead. If the name ends with ``.old``, it is a directory that was moved out of the
way, and may be the only copy. If it ends with ``.tree``, it is the directory that a link called NAME points
to, on file systems that cannot exchange two names.
"""

from __future__ import annotations

import functools
import itertools
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from chaoskit.core.errors import UsageError
from chaoskit.runtime.durable.owners import Owner, this_owner

__all__ = ["LONGEST", "Kind", "Unfinished", "check_length", "parse", "unfinished_name"]

Kind: TypeAlias = Literal["", "old", "tree"]

LONGEST = 255
"""The most bytes that a name may have on every common file system (NAME_MAX in limits.h)."""

_PATTERN = re.compile(r"\.(.*)\.ck-([0-9]{35})-\d+(?:\.(old|tree))?", re.DOTALL)


@dataclass(frozen=True)
class Unfinished:
    """The parts of a name: the target's name (cut if it was too long), the owner, the kind."""

    target: str
    owner: Owner
    kind: Kind


def unfinished_name(target: Path, kind: Kind = "") -> Path:
    """A new name beside ``target``, different in each call."""
    tail = f".ck-{this_owner()}-{next(_numbers(os.getpid()))}{'.' + kind if kind else ''}"
    kept = os.fsencode(target.name)[: LONGEST - 1 - len(tail)]
    # Cut between characters: macOS and Windows refuse a name that is not valid Unicode.
    name = kept.decode("utf-8", "ignore") if kept != os.fsencode(target.name) else target.name
    return target.with_name(f".{name}{tail}")


def check_length(target: Path, beside: str) -> None:
    """Refuse a target whose name is too long for a file called ``beside``, with that name for NAME.

    Call this before creating anything. Otherwise the file system refuses halfway, and its error names a file
    that the caller has never heard of.

    Raises:
        UsageError: the name is too long.
    """
    size, most = len(os.fsencode(target.name)), LONGEST - len(beside) + len("NAME")
    if size > most:
        raise UsageError(
            f"the name of {str(target)!r} has {size} bytes; expected at most {most}, so that there is room"
            f" for {beside} beside it. Give it a shorter name."
        )


@functools.lru_cache(maxsize=2)
def _numbers(pid: int) -> itertools.count[int]:
    """Count from 1 in each process, so that two runs of one program use the same numbers in their names."""
    return itertools.count(1)


def parse(name: str) -> Unfinished | None:
    """The parts of a name, or None if this package did not make it."""
    found = _PATTERN.fullmatch(name)
    owner = Owner.parse(found[2]) if found else None
    if found is None or owner is None:
        return None
    return Unfinished(found[1], owner, found[3] or "")  # type: ignore[arg-type]
