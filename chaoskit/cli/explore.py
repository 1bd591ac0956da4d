"""``chaoskit explore`` and ``chaoskit replay``: any program, without writing Python."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from chaoskit.cli.asked import Asked, names
from chaoskit.cli.exploring import explored
from chaoskit.cli.telling import tell
from chaoskit.core.errors import wrong
from chaoskit.core.machine import check_place, usable_processors
from chaoskit.core.schedule import Schedule
from chaoskit.faults.power import DEFAULT_MODELS
from chaoskit.inject.base import TIMEOUT
from chaoskit.session.spec import REAL, VIRTUAL

_Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

_DIRECTORY = click.Path(exists=True, file_okay=False, path_type=Path)

# Shared by both commands: a replay with other options would run another case.
_SHARED: tuple[_Decorator, ...] = (
    click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED),
    click.option(
        "--workspace", type=_DIRECTORY, help="Directory to copy for each case; default: an empty one."
    ),
    click.option("--setup", multiple=True, metavar="CMD", help="Shell line to run first, without faults."),
    click.option("--recover", default="", metavar="CMD", help="Shell line that recovers after the fault."),
    click.option(
        "--check",
        default="",
        metavar="CMD",
        help="Shell line that fails if an invariant is broken; promises come on its standard input.",
    ),
    click.option(
        "--faults",
        default="default",
        show_default=True,
        metavar="LIST",
        help="Families, with commas: disk, share, interference, kill, power-loss, fsync-lies, network, http, "
        "corruption, clock, memory (8 MiB left, or the kernel's kill), interrupt (Ctrl-C), signal=NAME, "
        "delay=SECONDS; or default, all.",
    ),
    click.option(
        "--time",
        type=click.Choice([VIRTUAL, REAL]),
        default=VIRTUAL,
        show_default=True,
        help="virtual: waiting costs CMD nothing, where the machine allows it.",
    ),
    click.option("--only", default="", metavar="LIST", help="Only these faults: ENOSPC,EIO,kill …"),
    click.option("--without", default="", metavar="LIST", help="Not these faults: ENOSPC[persistent],kill …"),
    click.option("--path", multiple=True, metavar="GLOB", help="Only calls on these files."),
    click.option(
        "--peer",
        multiple=True,
        metavar="NAME=CMD",
        help="A server that the program talks to by NAME, with {port} in CMD; or NAME=HOST:PORT.",
    ),
    click.option(
        "--model",
        default=",".join(DEFAULT_MODELS),
        show_default=True,
        metavar="LIST",
        help="Persistence models for power loss; strict is the fourth.",
    ),
    click.option(
        "--promise-stdout/--no-promise-stdout",
        default=True,
        show_default=True,
        help="Whether each line that CMD prints is a promise to the outside world.",
    ),
    click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        default=TIMEOUT,
        show_default=True,
        help="Seconds after which a command of a case counts as hung.",
    ),
    click.option(
        "--show-secrets", is_flag=True, help="Show what looks secret, too, and the contents of all files."
    ),
)


def _shared(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that describe the program and what may happen to it."""
    for option in reversed(_SHARED):
        function = option(function)
    return function


@click.command(context_settings={"ignore_unknown_options": False})
@_shared
@click.option("--depth", type=click.IntRange(1, 2), default=1, help="2: strike again in what follows.")
@click.option(
    "--budget", type=click.IntRange(min=1), help="Run at most this many cases, the most suspicious first."
)
@click.option("--seed", type=int, default=0, help="Order of the cases within the budget.")
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=usable_processors,
    help="Processes that run cases; by default as many as there are processors.",
)
@click.option(
    "--shard",
    metavar="I/N",
    help="Run the I-th of N parts of the cases; 'chaoskit report merge' joins the N reports.",
)
@click.option("--report", type=click.Path(path_type=Path), help="Directory for report.json and summary.md.")
@click.option("--list", "listing", is_flag=True, help="Show the fault points and run no case.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON instead of text.")
def explore(
    workspace: Path | None,
    model: str,
    report: Path | None,
    listing: bool,
    as_json: bool,
    show_secrets: bool,
    **options: Any,
) -> int:
    """Strike a program at every call with every fault, and check what it leaves.

    Example: chaoskit explore --workspace . --check 'test -s state.json' -- python save.py

    Exit code 0 if every case kept the invariants, 1 if one broke them or too many could not be judged.
    """
    asked = Asked(workspace=workspace, model=names(model), **options)
    if report is not None:
        # Check before the cases run: they may take an hour, and then the report must have a place.
        check_place("--report", report)
    return tell(explored(asked, None, listing, quiet=as_json), report, as_json, listing, show_secrets)


@click.command()
@click.argument("schedule")
@_shared
@click.option("--keep", type=click.Path(exists=False, path_type=Path), help="Leave the directory here.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON instead of text.")
def replay(
    schedule: str,
    workspace: Path | None,
    model: str,
    keep: Path | None,
    as_json: bool,
    show_secrets: bool,
    **options: Any,
) -> int:
    """Run the one case that SCHEDULE names, with the same options as for explore.

    Exit code 0 if it keeps the invariants, 1 if it breaks them.
    """
    asked = Asked(workspace=workspace, model=names(model), **options)
    parsed = Schedule.parse(schedule)
    if keep is not None and keep.exists():
        raise wrong("--keep", str(keep), "a directory that does not exist yet")
    return tell(explored(asked, parsed, False, quiet=as_json, keep=keep), None, as_json, False, show_secrets)
