"""``chaoskit report``: the forms of a report, made from its JSON, and reports joined."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import click

from chaoskit.core.errors import ChaoskitError
from chaoskit.core.machine import check_place
from chaoskit.report.document import Report
from chaoskit.report.files import read, replace_file, write
from chaoskit.report.gate import judge, limits_in
from chaoskit.report.html import page
from chaoskit.report.junit import junit
from chaoskit.report.markdown import markdown
from chaoskit.report.marks import latest_before, mark, read_history, remember
from chaoskit.report.merge import merge
from chaoskit.report.sarif import sarif
from chaoskit.report.views import views

_REPORT = click.argument("report", type=click.Path(path_type=Path, exists=True))
_OUTPUT = click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    default=None,
    help="The file to write (default: print it).",
)
_BASELINE = click.option(
    "--baseline",
    type=click.Path(path_type=Path, exists=True),
    default=None,
    help="An earlier report to compare with.",
)
_HISTORY = click.option(
    "--history",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help="The history of reports (JSON lines).",
)
_PYPROJECT = click.option(
    "--config",
    type=click.Path(path_type=Path),
    default=Path("pyproject.toml"),
    help="The file with the rules of the gate (default: pyproject.toml).",
)


@click.group()
def report() -> None:
    """Make a page, a summary or a file for another tool from a report, and join reports."""


@report.command("html")
@_REPORT
@_OUTPUT
@_BASELINE
@_HISTORY
@_PYPROJECT
def html(report: Path, output: Path | None, baseline: Path | None, history: Path | None, config: Path) -> int:
    """Make the page for people: one file, which needs no script."""
    _put(_page(read(report), baseline, history, config), output)
    return 0


def _page(found: Report, baseline: Path | None, history: Path | None, config: Path) -> str:
    marks = read_history(history) if history is not None else ()
    before = mark(read(baseline)) if baseline is not None else latest_before(marks, mark(found))
    end = datetime.fromisoformat(found.created) if found.created else datetime.now(UTC)
    # As of the end of the run: the page must not depend on when it is made.
    judged = judge(found, limits_in(config), baseline=before, now=end)
    try:
        return page(found, judged=judged, before=before, history=marks)
    except ModuleNotFoundError as error:
        raise ChaoskitError(str(error)) from error


def _simple(name: str, make: Callable[[Report], str], said: str) -> None:
    @report.command(name, help=said)
    @_REPORT
    @_OUTPUT
    def command(report: Path, output: Path | None) -> int:
        _put(make(read(report)), output)
        return 0


_simple("markdown", markdown, "Make the summary for a page of a CI run.")
_simple("junit", junit, "Make JUnit XML: a test case for each scenario.")
_simple("sarif", sarif, "Make SARIF 2.1.0: a result for each finding, at its line.")


@report.command("merge")
@click.argument("reports", type=click.Path(path_type=Path, exists=True), nargs=-1, required=True)
@click.option(
    "--into", type=click.Path(path_type=Path, file_okay=False), required=True, help="The directory to write."
)
@_BASELINE
@_HISTORY
def merged(reports: tuple[Path, ...], into: Path, baseline: Path | None, history: Path | None) -> int:
    """Join the reports of several runs, and write every form of the whole."""
    check_place("--into", into)
    whole = merge(map(read, reports))
    marks = read_history(history) if history is not None else ()
    before = mark(read(baseline)) if baseline is not None else latest_before(marks, mark(whole))
    made, missing = views(whole, before=before, history=marks)
    for path in write(whole, into, made):
        click.echo(path)
    if missing:
        click.echo(f"no page: {missing}", err=True)
    return 0


@report.command("history")
@_REPORT
@click.option(
    "--into",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("reports/history.jsonl"),
    help="The history (default: reports/history.jsonl).",
)
def history(report: Path, into: Path) -> int:
    """Add a line about a report to the history, unless it is there already."""
    added = remember(into, mark(read(report)))
    click.echo(f"{into}: {'added' if added else 'has it already'}")
    return 0


def _put(text: str, output: Path | None) -> None:
    if output is None:
        click.echo(text, nl=False)
        return
    check_place("--output", output.parent)
    output.parent.mkdir(parents=True, exist_ok=True)
    replace_file(output, text)
    click.echo(output)
