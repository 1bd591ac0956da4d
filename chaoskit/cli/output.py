"""How commands print: JSON for programs, tables for people, colours only on a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import click

from chaoskit.report.visible import visible


def print_json(value: Any) -> None:
    """Print one JSON document on standard output, in ASCII, which every terminal and pipe can take."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=True, default=str))


def tell(text: str, *, err: bool = False) -> None:
    """Print text that may contain foreign names or errors: a terminal shows it but obeys none of it."""
    click.echo(visible(text), err=err)


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table on standard output, at full width if that is not a terminal. Honours ``NO_COLOR``."""
    # Loaded late: importing it takes longer than most commands.
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    terminal = sys.stdout.isatty()
    # Wide enough for any row: a pipe has no width, and grep has no use for truncated values.
    console = Console(file=sys.stdout, width=None if terminal else 10_000, highlight=False)
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        # As Text, so that square brackets in a value are not taken for markup.
        table.add_row(*(Text(_printable(str(cell))) for cell in row))
    console.print(table)


def _printable(text: str) -> str:
    """``text`` with its control characters spelt out: a value must not move the cursor or ring the bell."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
