"""``chaoskit gate``: may this be released?"""

from __future__ import annotations

from pathlib import Path

import click

from chaoskit.cli.group import NO
from chaoskit.report.files import read
from chaoskit.report.gate import judge, limits_in
from chaoskit.report.visible import on_one_line


@click.command()
@click.argument("report", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--baseline",
    type=click.Path(path_type=Path, exists=True),
    default=None,
    help="The report of the last release: findings that it has already are old.",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    default=Path("pyproject.toml"),
    help="The file with the rules, in its table [tool.chaoskit.gate] (default: pyproject.toml).",
)
def gate(report: Path, baseline: Path | None, config: Path) -> int:
    """Hold a report against the rules of the project: one line for each, exit code 1 if one fails."""
    earlier = read(baseline) if baseline is not None else None
    judged = judge(read(report), limits_in(config), baseline=earlier)
    for one in judged:
        click.secho(on_one_line(str(one)), fg=None if one.passes else "red")
    return 0 if all(one.passes for one in judged) else NO
