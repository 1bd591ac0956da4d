"""``chaoskit recovery``: what an operator does at night, while the job runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from chaoskit.cli.recovery.condition import health, stats, verify
from chaoskit.cli.recovery.letters import list_letters, resolve, retry, retry_all, show
from chaoskit.cli.recovery.opening import BUSY, Target
from chaoskit.cli.recovery.steps import checkpoints, clear
from chaoskit.runtime.failures.stored import StoreBusy

__all__ = ["recovery"]


class _Busy(click.Group):
    """The group under which a store that is held by another process has an exit code to itself."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except StoreBusy as error:
            # A script may try again after this one, and after no other.
            click.echo(f"chaoskit: {error} {error.hint}", err=True)
            return BUSY


@click.group(cls=_Busy)
@click.option(
    "--store",
    type=click.Path(dir_okay=True, path_type=Path),
    envvar="CHAOSKIT_STORE",
    required=True,
    help="The file of the store, or a directory with checkpoints.db. [env: CHAOSKIT_STORE]",
)
@click.option(
    "--wait", default=10.0, show_default=True, metavar="SECONDS", help="How long to wait for other processes."
)
@click.pass_context
def recovery(ctx: click.Context, store: Path, wait: float) -> None:
    """Look at what a pipeline has recorded, and put it right.

    Everything works while the job runs. Exit codes: 0 fine; 1 findings (damage to artefacts, letters that
    could not be put back, a store that is not healthy); 2 wrong use; 3 another process held the store all
    the time; 4 the store or a record is damaged.
    """
    ctx.obj = Target(store, wait)


for _command in (
    *(list_letters, show, retry, retry_all, resolve),
    *(checkpoints, clear),
    *(verify, stats, health),
):
    recovery.add_command(_command)
