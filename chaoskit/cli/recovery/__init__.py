"""``chaoskit recovery``: what an operator does at night, while the job runs."""

from __future__ import annotations

import math
from typing import Any

import click

from chaoskit.cli.output import tell
from chaoskit.cli.recovery.agreement import consistency
from chaoskit.cli.recovery.condition import stats, verify
from chaoskit.cli.recovery.flags import flags
from chaoskit.cli.recovery.health import health
from chaoskit.cli.recovery.letters import list_letters, resolve, retry, retry_all, show
from chaoskit.cli.recovery.opening import BUSY, Target
from chaoskit.cli.recovery.serve import serve
from chaoskit.cli.recovery.steps import checkpoints, clear
from chaoskit.runtime.failures.stored import StoreBusy
from chaoskit.runtime.failures.taxonomy import Unreachable

__all__ = ["recovery"]


class _Busy(click.Group):
    """The group that gives a store that is temporarily unavailable a separate exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (StoreBusy, Unreachable) as error:
            # A script may try again after these exit codes only.
            waited = "" if ctx.obj is None else f" --wait was {ctx.obj.wait:g} seconds."
            tell(f"chaoskit: {error} {error.hint}{waited}", err=True)
            return BUSY


@click.group(cls=_Busy)
@click.option(
    "--store",
    envvar="CHAOSKIT_STORE",
    metavar="TARGET",
    help="The file of the store, a directory with checkpoints.db, or postgresql://… [env: CHAOSKIT_STORE]",
)
@click.option(
    "--wait", default=10.0, show_default=True, metavar="SECONDS", help="How long to wait for other processes."
)
@click.pass_context
def recovery(ctx: click.Context, store: str | None, wait: float) -> None:
    """Look at what a pipeline has recorded, and put it right.

    Everything works while the job runs. Exit codes: 0 fine; 1 findings (damage to artefacts, letters that
    could not be put back, a store that is not healthy); 2 wrong use; 3 another process held the store all
    the time, or its server does not answer; 4 the store or a record is damaged.

    \f
    Raises MissingParameter if the command needs a store and none was given, BadParameter if ``--wait`` is no
    time.
    """
    if not 0 < wait < math.inf:
        raise click.BadParameter(
            f"{wait:g} is not a time; expected seconds, more than zero", param_hint="--wait"
        )
    # Empty is missing: a script has expanded a variable that is not set.
    if store:
        ctx.obj = Target(store, wait)
    # Run folders are marked on their own disk; every other command needs a store.
    elif ctx.invoked_subcommand != flags.name:
        raise click.MissingParameter(ctx=ctx, param=next(p for p in ctx.command.params if p.name == "store"))


for _command in (
    *(list_letters, show, retry, retry_all, resolve),
    *(checkpoints, clear),
    *(verify, stats, health, consistency, serve, flags),
):
    recovery.add_command(_command)
