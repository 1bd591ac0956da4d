"""Run the R rows against all peers; write ``docs/reference/peers-retry.md``, reproductions included."""

from __future__ import annotations

import importlib.metadata
import inspect
import logging
import platform
import textwrap
import warnings
from pathlib import Path
from typing import Any

from chaoskit.contracts import examine
from chaoskit.contracts.retry import ASYNC_ROWS, ROWS, ChaoskitRetry
from scenarios.peers.retry_adapters import PEERS, Botocore, Urllib3
from scenarios.peers.retry_reproductions import reproductions

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "peers-retry.md"
MARKS = {"holds": "holds", "fails": "**fails**", "does not apply": "–"}
# These two are policies and make no calls: it is the adapter's loop that would be judged.
POLICIES_ONLY = {"R1", "R3", "R14", "R18", "R19"}

HEAD = """\
# Retries and the contract

The R and A rows of the contract suite (`chaoskit.contracts.retry`), run against our retry and against six
well-known ones. Each library is used as its documents say; time is virtual. A row that fails has a
reproduction below that needs the library alone. "–": the library does not offer what the row is about, or
the adapter does not ask for it. urllib3 and botocore are policies that their own clients drive; only the
rows about the policies are examined there. "?": not examined, since threads gave no verdict that comes out
the same every time. The Q rows (retry budgets) apply to none of them through
these adapters.

`python -m scenarios.peers.retry_table` runs everything again and writes this page;
`python -m scenarios.peers.retry_reproductions` runs the reproductions.

These libraries made other choices, some of them on purpose and documented. The table says what a
caller will see, not how good a library is.
"""

# No verdict that is the same every time, and so nothing to publish.
NOT_REPRODUCED = {("tenacity", "R10")}

SHARED = (
    "fail",
    "attempt",
    "count",
    "slept",
    "produce",
    "fail_later",
    "is_not_retried",
    "keeps_the_argument",
    "cancelled",
    "no",
    "raises",
    "is_hidden",
    "hands_the_future_on",
)


def outcomes(kind: Any) -> dict[str, str]:
    """Row to outcome for one adapter class."""
    rows = [row for row in (*ROWS, *ASYNC_ROWS) if kind not in (Urllib3, Botocore) or row.id in POLICIES_ONLY]
    report = examine(kind(), [row for row in rows if (kind.name, row.id) not in NOT_REPRODUCED], examples=150)
    return {row.row: row.outcome for row in report.outcomes}


def _cell(name: str, row: str, found: dict[str, str]) -> str:
    if (name, row) in NOT_REPRODUCED:
        return "?"
    return MARKS[found.get(row, "does not apply")]


def table() -> str:
    """The table, as Markdown; raises if something fails without a reproduction."""
    columns = {kind.name: outcomes(kind) for kind in (ChaoskitRetry, *PEERS)}
    unproven = {
        (name, row)
        for name, found in columns.items()
        for row, outcome in found.items()
        if outcome == "fails" and (name, row) not in reproductions()
    }
    assert not unproven, f"without a reproduction: {sorted(unproven)}"
    heads = [name if name == "chaoskit" else f"{name} {importlib.metadata.version(name)}" for name in columns]
    lines = [f"| | row | {' | '.join(heads)} |", "|---|---|" + "---|" * len(heads)]
    for row in (*ROWS, *ASYNC_ROWS):
        cells = [_cell(name, row.id, found) for name, found in columns.items()]
        lines.append(f"| {row.id} | {row.title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def page() -> str:
    """The whole page."""
    import scenarios.peers.retry_reproductions as programs

    shared = "\n\n\n".join(inspect.getsource(getattr(programs, name)).rstrip() for name in SHARED)
    parts = [
        HEAD,
        f"Measured on CPython {platform.python_version()}.\n",
        table(),
        "\n## Reproductions\n\nThey share these lines:\n",
        f"```python\n{shared}\n```\n",
    ]
    for (library, row), program in reproductions().items():
        source = textwrap.dedent(inspect.getsource(program)).rstrip()
        parts.append(f"### {library}, {row}\n\n```python\n{source}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    logging.lastResort = None
    warnings.simplefilter("ignore")
    PAGE.write_text(page(), "utf-8")
