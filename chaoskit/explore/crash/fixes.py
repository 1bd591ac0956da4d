"""What to write instead of the call to blame: the texts that explanations and suspicions share."""

from __future__ import annotations

import posixpath
import shlex
from dataclasses import dataclass
from typing import NamedTuple

from chaoskit.core.operation import ROOT, Operation
from chaoskit.explore.crash.steps import Step


@dataclass(frozen=True, slots=True)
class Explanation:
    """``text`` says in one sentence what went wrong, ``fix`` in at most three lines what to write.

    ``kind`` is stable; ``operation`` is the index of the guilty call in the trace. ``fix`` may be Python;
    ``anywhere`` is then the fix for a program in any language. ``models`` are those under which it matters.
    """

    kind: str
    operation: int
    text: str
    fix: str
    models: tuple[str, ...] = ()
    anywhere: str = ""


class Fix(NamedTuple):
    """What to write, in Python and in words for any language."""

    python: str
    anywhere: str


def explanation(
    kind: str, operation: Operation, text: str, fix: str | Fix, models: tuple[str, ...]
) -> Explanation:
    """An explanation that blames ``operation``; a fix that is text has no Python in it."""
    python, anywhere = fix if isinstance(fix, Fix) else (fix, "")
    return Explanation(kind, operation.index, text, python, models, anywhere)


def sync_file(name: str, then: str, anywhere: str = "") -> Fix:
    """Sync a file, then do what ``then`` says; ``anywhere`` says the same without Python, if needed."""
    call = f"call fsync on `{name}` after the last write to it (in a shell: sync {shlex.quote(name)}),"
    return Fix(f"file.flush(); os.fsync(file.fileno())    # `{name}`\n{then}", f"{call}\n{anywhere or then}")


def sync_directory(directory: str) -> Fix:
    """Sync a directory."""
    call = f"call fsync on the directory `{directory}` after that (in a shell: sync {shlex.quote(directory)})"
    # With finally: a failed fsync must not leave the descriptor open, which would be the next finding.
    lines = (f"fd = os.open({directory!r}, os.O_RDONLY)", "try: os.fsync(fd)", "finally: os.close(fd)")
    return Fix("\n".join(lines), call)


def publish(operation: Operation) -> Fix:
    """Sync a file before it gets its name by a rename or a link."""
    python, preposition = ("os.link", "to") if operation.call == "link" else ("os.replace", "over")
    new = f"{preposition} `{operation.second}`"
    return sync_file(
        operation.target, f"{python}(…)    # {new}, only then", f"and {operation.call} it {new} only then"
    )


def published(operation: Operation) -> str:
    """What a rename or link did to a file whose data was not synced."""
    if operation.call == "link":
        how = "linked to"
    else:
        how = "renamed to" if operation.file.replaced is None else "renamed over"
    return f"`{operation.target}` was {how} `{operation.second}` before its data was synced"


def directory_of(operation: Operation, step: Step) -> str:
    """The directory that holds the entry of ``step``."""
    name = operation.target
    # A rename has an entry in each of two directories: the new name, and the removal of the old one.
    if operation.call == "link" or (operation.call == "rename" and step.child is not None):
        name = operation.second or name
    return posixpath.dirname(name) or ROOT


def what(operation: Operation) -> str:
    """The change of a name, as the subject of a sentence."""
    done = {
        "open": f"the new file `{operation.target}`",
        "mkdir": f"the new directory `{operation.target}`",
        "unlink": f"the removal of `{operation.target}`",
        "rmdir": f"the removal of `{operation.target}`",
        "rename": f"the rename of `{operation.target}` to `{operation.second}`",
        "link": f"the link `{operation.second}`",
    }
    return done.get(operation.call, str(operation))
