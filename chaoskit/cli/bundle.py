"""``chaoskit bundle``: one finding as files that can be sent."""

from __future__ import annotations

from pathlib import Path

import click

from chaoskit.core.machine import check_place
from chaoskit.report import bundle as bundles
from chaoskit.report.files import read, replace_file


@click.command()
@click.argument("finding", metavar="ID")
@click.option(
    "--report",
    "-r",
    type=click.Path(path_type=Path, exists=True),
    default=Path(),
    help="A report.json, or the directory that holds it (default: this one).",
)
@click.option(
    "--into",
    type=click.Path(path_type=Path),
    default=None,
    help="The directory to write (default: chaoskit-ID).",
)
def bundle(finding: str, report: Path, into: Path | None) -> int:
    """Write a script that shows one finding, and the text of an issue about it.

    Run it in the project. The script contains the test and what the test imports from the
    project; for a program it contains the command line.
    """
    found = read(report)
    entry, one = bundles.found(found, finding)
    place = into if into is not None else Path(f"chaoskit-{one.id}")
    check_place("--into", place)
    made = bundles.bundle(found, entry, one, Path.cwd())
    place.mkdir(parents=True, exist_ok=True)
    replace_file(place / made.name, made.script)
    replace_file(place / "issue.md", made.issue)
    if made.name.endswith(".sh"):
        (place / made.name).chmod(0o700)
    click.echo(f"{place / made.name}\n{place / 'issue.md'}")
    return 0
