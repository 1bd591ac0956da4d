"""Run the S rows against all peers; write ``docs/reference/peers-store.md``, reproductions included."""

from __future__ import annotations

import importlib.metadata
import inspect
import logging
import platform
import textwrap
import warnings
from pathlib import Path

from chaoskit.contracts import examine
from chaoskit.contracts.store import ROWS, ChaoskitStore
from scenarios.peers import published, store_reproductions
from scenarios.peers.store_adapters import PEERS
from scenarios.peers.store_reproductions import reproductions

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "peers-store.md"
PACKAGES = {"celery (filesystem)": "celery", "celery (database)": "celery", "persistqueue": "persist-queue"}
MARKS = {"holds": "holds", "fails": "**fails**", "does not apply": "–"}
EXAMPLES = {"S1": 3, "S6": 100}
"""Of S1 each kills ten processes; those of S6 are values."""
SHARED = ("note", "Code", "rewritten", "in_child", "celery_app", "dbos_run")

HEAD = """\
# Stores and the contract

The eleven S rows of the contract suite (`chaoskit.contracts.store`), run against our store in a file and
against what five well-known libraries keep: `diskcache.Cache`, `persistqueue.PDict`,
`sqlitedict.SqliteDict` with a `commit` for each save, Celery's result back ends in a directory and in a
database (SQLite), which keep the progress of a task, and DBOS on SQLite, where the result of a workflow is
what is saved. Each library is used as its documents say, with its defaults where a row does not ask for
another setting. A row that fails has a reproduction below that needs the library alone. "–": the library
does not offer what the row is about, or the adapter does not ask for it.

`python -m scenarios.peers.store_table` runs everything again and writes this page;
`python -m scenarios.peers.store_reproductions` runs the reproductions.

These libraries made other choices, some of them on purpose and documented: a cache need not know a damaged
value, and pickles keep what JSON cannot. The table says what a caller will see, not how good a library is.
S2 asks for the kill of a process, not for power loss, and every damage of S8 and S9 needs access to the
file.
"""


def outcomes(kind: type) -> dict[str, str]:
    """Row to outcome for one adapter class."""
    reports = [examine(kind(), [row], examples=EXAMPLES.get(row.id, 6)) for row in ROWS]
    return {row.row: row.outcome for report in reports for row in report.outcomes}


def page(found: dict[str, dict[str, str]]) -> str:
    """The whole page."""
    names = list(found)
    lines = [
        HEAD,
        f"Measured on CPython {platform.python_version()}.\n",
        f"| | row | {' | '.join(map(version, names))} |",
        "|---|---|" + "---|" * len(names),
    ]
    for row in ROWS:
        marks = " | ".join(MARKS[found[name][row.id]] for name in names)
        lines.append(f"| {row.id} | {row.title} | {marks} |")
    lines.append("\n## Reproductions\n")
    lines.append("They share these lines:\n")
    shared = [inspect.getsource(getattr(store_reproductions, name)).rstrip() for name in SHARED]
    lines.append("```python\n" + "\n\n\n".join(["ran = []", *shared]) + "\n```\n")
    for (library, row), program in reproductions().items():
        text = textwrap.dedent(inspect.getsource(program)).rstrip()
        lines.append(f"### {library}, {row}\n\n```python\n{text}\n```\n")
    return "\n".join(lines)


def version(name: str) -> str:
    """A column's head."""
    if name == "chaoskit":
        return name
    return f"{name} {importlib.metadata.version(PACKAGES.get(name, name))}"


def main() -> None:
    """Run, hold against the reproductions, write."""
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    found = {kind.name: outcomes(kind) for kind in (ChaoskitStore, *PEERS)}
    published.write(PAGE, page(found), found, reproductions())


if __name__ == "__main__":
    main()
