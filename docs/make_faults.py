"""Write the tables of docs/reference/faults.md from those of the package: python docs/make_faults.py"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path

from chaoskit.core.finding import FaultClass
from chaoskit.faults.calls import FILE_CALLS
from chaoskit.faults.errnos import FAULT_CLASSES, LOST, TABLE, ErrnoRow

PAGE = Path(__file__).parent / "reference" / "faults.md"

# What each condition of the table means, in words. A new one has no words yet: KeyError says so.
WHEN = {
    "always": "",
    "creates": "it makes a file",
    "opens_for_writing": "it opens for writing",
    "extends": "it makes the file longer",
    "lengthens": "it makes the file longer",
    "exclusive": "`O_CREAT` with `O_EXCL`",
    "across": "between two directories, or of a directory",
    "is_file": "of a file",
    "is_directory": "of a directory",
    "by_name": "given a path, not a descriptor",
    "synchronous_msync": "`MS_SYNC`",
    "tries_flock": "`flock` with `LOCK_NB`",
    "waits_flock": "`flock` that waits",
    "tries_fcntl": "`F_SETLK`, `F_OFD_SETLK`",
    "waits_fcntl": "`F_SETLKW`, `F_OFD_SETLKW`",
    "takes_lock": "it takes a lock",
    "makes_nothing": "without `O_CREAT`",
    "synchronous_write": "`O_SYNC` or `O_DSYNC`",
    "refuses_links": "`O_NOFOLLOW` without `O_DIRECTORY`",
    "refuses_links_to_directories": "`O_NOFOLLOW` with `O_DIRECTORY`",
    "keeps_what_is_there": "`RENAME_NOREPLACE`",
    "replaces_directory": "of a directory, without flags",
}


def rows(table: Mapping[str, tuple[ErrnoRow, ...]], fault_class: FaultClass, *, lasts: bool) -> Iterator[str]:
    """One row of Markdown for each call, condition and source, of the errors of one class."""
    for call in [name for name in FILE_CALLS if table.get(name)]:
        own = [row for row in table[call] if row.fault_class == fault_class]
        for (when, source, lasting), group in groupby(own, key=_shared):
            names = ", ".join(f"`{row.name}`" for row in group)
            column = f" {'once, or to stay' if lasting else 'once'} |" if lasts else ""
            yield f"| `{call}` | {names} | {WHEN[when]} |{column} {source} |"


def _shared(row: ErrnoRow) -> tuple[str, str, bool]:
    return row.when.__name__, row.source, row.lasting


def tables() -> dict[str, str]:
    """The generated parts of the page, by their marker."""
    errors = ["| call | errors | only when | how long | source |", "| --- | --- | --- | --- | --- |"]
    lost = ["| call | errors | only when | source |", "| --- | --- | --- | --- |"]
    never = [f"`{name}`" for name in FILE_CALLS if not TABLE.get(name)]
    found = {"never": f"Calls that cannot fail in any of these ways: {', '.join(never) or 'none'}."}
    for one in FAULT_CLASSES:
        found[f"{one} errors"] = "\n".join([*errors, *rows(TABLE, one, lasts=True)])
        found[f"{one} late"] = "\n".join([*lost, *rows(LOST, one, lasts=False)])
    return found


def filled(page: str) -> str:
    """The page with its generated parts brought up to date."""
    for name, text in tables().items():
        marks = re.compile(f"(<!-- {name}: [^\n]*-->\n)(?:.*?)(<!-- end of {name} -->)", re.DOTALL)
        if len(marks.findall(page)) != 1:
            raise ValueError(f"{PAGE} has not exactly one place for {name!r}")
        page = marks.sub(rf"\g<1>\n{text}\n\n\g<2>", page)
    return page


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text("utf-8")), "utf-8")
    print(f"wrote {PAGE}")
