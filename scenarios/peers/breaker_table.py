"""Run the B rows against all peers; write ``docs/reference/peers-breaker.md``, reproductions included."""

from __future__ import annotations

import importlib.metadata
import inspect
import logging
import platform
import textwrap
from pathlib import Path

from chaoskit.contracts import Examination, examine
from chaoskit.contracts.breaker import ROWS, ChaoskitBreaker
from chaoskit.contracts.breaker_rows import SINGLE
from scenarios.peers import published
from scenarios.peers.breaker_adapters import PEERS, PybreakerAsItComes
from scenarios.peers.breaker_reproductions import reproductions

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "peers-breaker.md"
PACKAGES = {"interlock": "interlock-cb"}
# Offered, but by a protocol that the adapter does not speak.
NOT_EXAMINED = {("interlock", "B14")}
MARKS = {"holds": "holds", "fails": "**fails**", "does not apply": "–"}

HEAD = """\
# Circuit breakers and the contract

The fifteen B rows of the contract suite (`chaoskit.contracts.breaker`), run against our breaker and
against four well-known ones. Each library is used as its documents say, with its defaults where a row
does not ask for another setting; time is virtual. A row that fails has a reproduction below that needs
the library alone. "–": the library does not offer what the row is about.

`python -m scenarios.peers.breaker_table` runs everything again and writes this page;
`python -m scenarios.peers.breaker_reproductions` runs the reproductions.

These libraries made other choices, some of them on purpose and documented. The table says what a
caller will see, not how good a library is.
"""


def outcomes(kind: type) -> dict[str, str]:
    """Row to outcome for one adapter class."""
    single = {row.id for row in SINGLE}
    # Rows with threads wait for what never comes; a few examples show it.
    reports: list[Examination] = [
        examine(kind(), [row for row in ROWS if row.id in single], examples=600),
        examine(kind(), [row for row in ROWS if row.id not in single], examples=12),
    ]
    return {row.row: row.outcome for report in reports for row in report.outcomes}


def table() -> dict[str, dict[str, str]]:
    """Library to row to outcome; pybreaker's B1 with its default for that row."""
    found = {kind.name: outcomes(kind) for kind in (ChaoskitBreaker, *PEERS)}
    b1 = [row for row in ROWS if row.id == "B1"]
    found["pybreaker"]["B1"] = examine(PybreakerAsItComes(), b1).outcomes[0].outcome
    return found


def page(found: dict[str, dict[str, str]]) -> str:
    """The whole page."""
    names = list(found)
    versions = [version(name) for name in names]
    lines = [
        HEAD,
        f"Measured on CPython {platform.python_version()}.\n",
        f"| | row | {' | '.join(versions)} |",
        "|---|---|" + "---|" * len(names),
    ]
    for row in ROWS:
        marks = " | ".join(mark(name, row.id, found[name][row.id]) for name in names)
        lines.append(f"| {row.id} | {row.title} | {marks} |")
    lines.append("\n## Reproductions\n")
    lines.append("They share these lines:\n")
    lines.append(code("fail", "attempt", "hangs_in_child"))
    for (library, row), program in reproductions().items():
        text = textwrap.dedent(inspect.getsource(program)).rstrip()
        lines.append(f"### {library}, {row}\n\n```python\n{text}\n```\n")
    return "\n".join(lines)


def mark(name: str, row: str, outcome: str) -> str:
    """One cell of the table."""
    return "not examined" if (name, row) in NOT_EXAMINED else MARKS[outcome]


def code(*names: str) -> str:
    """The source of helpers of the reproductions."""
    from scenarios.peers import breaker_reproductions

    sources = [inspect.getsource(getattr(breaker_reproductions, name)).rstrip() for name in names]
    return "```python\n" + "\n\n\n".join(sources) + "\n```\n"


def version(name: str) -> str:
    """A column's head."""
    if name == "chaoskit":
        return name
    return f"{name} {importlib.metadata.version(PACKAGES.get(name, name))}"


def main() -> None:
    """Run, hold against the reproductions, write."""
    logging.disable(logging.CRITICAL)
    found = table()
    published.write(PAGE, page(found), found, reproductions())


if __name__ == "__main__":
    main()
