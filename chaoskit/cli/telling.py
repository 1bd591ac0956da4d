"""Print the result of exploring a program: as text, as JSON, or only the fault points."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from chaoskit.cli.asked import WORDS
from chaoskit.cli.exploring import Explored
from chaoskit.cli.group import FAILED, NO
from chaoskit.cli.output import print_json, print_table
from chaoskit.core.result import ScenarioResult
from chaoskit.report import Collector, Report, summary_lines, write
from chaoskit.report.concealing import concealed
from chaoskit.report.explain import inconclusive_text, violation_text
from chaoskit.report.secrets import Secrets


def tell(
    explored: Explored, directory: Path | None, as_json: bool, listing: bool, show_secrets: bool = False
) -> int:
    """Print the result, write the report into ``directory`` if given, and return the exit code."""
    result = concealed(explored.result, None if show_secrets else Secrets.of())
    # A case that could not be judged is not a pass, and must not look like one to scripts.
    bad = result.state in ("failed", "inconclusive")
    status = 128 + explored.interrupted if explored.interrupted else NO if bad else 0
    collector = Collector(Path.cwd(), show_secrets=show_secrets)
    collector.add(result.to_dict(), outcome="failed" if bad else "passed")
    report = collector.report(command=sys.argv, interrupted=bool(explored.interrupted))
    if directory is not None:
        try:
            write(report, directory)
        except OSError as error:
            # The findings are printed in any case: they may have taken an hour.
            click.echo(f"chaoskit: the report could not be written to {directory}: {error}", err=True)
            directory, status = None, FAILED
    if as_json:
        print_json(report.to_dict())
    elif listing:
        rows = [(point.name, point.outcome, len(point.faults)) for point in result.points]
        print_table("Fault points", ("point", "result", "faults"), rows)
    else:
        _print(result, report)
        if directory is not None:
            click.echo(f"report: {directory}")
    return status


def _print(result: ScenarioResult, report: Report) -> None:
    if result.state == "failed":
        click.echo(f"{violation_text(result)}\n")
    elif result.state == "inconclusive":
        click.echo(f"{inconclusive_text(result, WORDS)}\n")
    for line in summary_lines(report):
        colour = next((name for name in ("red", "yellow", "green") if line.markup.get(name)), None)
        click.secho(line.text, fg=colour, bold=line.markup.get("bold", False))
