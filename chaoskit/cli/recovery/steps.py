"""Checkpoints from the console: list them, clear them."""

from __future__ import annotations

import sys
from itertools import islice

import click

from chaoskit.cli.output import print_table, tell
from chaoskit.cli.recovery.opening import (
    DAMAGED,
    LIMIT,
    Target,
    as_json_option,
    moment,
    opened,
    passed_over,
    pipelines_of,
    say,
    seconds,
)
from chaoskit.core.errors import UsageError
from chaoskit.runtime.durable.checkpoints.checkpoints import Checkpoints
from chaoskit.runtime.durable.checkpoints.inspecting import walk
from chaoskit.runtime.durable.checkpoints.records import CheckpointRecord, check_status, kind_of

__all__ = ["checkpoints", "clear"]


@click.command()
@click.option("--pipeline", help="Only those of this pipeline.")
@click.option("--scope", help="Only those of this scope.")
@click.option("--status", multiple=True, help="pending, running, completed, failed or dead. Repeatable.")
@click.option("--limit", type=LIMIT, default=100, show_default=True, help="The most to list.")
@as_json_option
@click.pass_obj
def checkpoints(
    target: Target,
    pipeline: str | None,
    scope: str | None,
    status: tuple[str, ...],
    limit: int,
    as_json: bool,
) -> int:
    """List checkpoints.

    \f
    Raises UsageError for an unknown status.
    """
    states = [check_status(one) for one in status] or None
    with opened(target) as store:
        every = (
            one
            for name in pipelines_of(store, pipeline)
            for one in walk(store, kind_of(name), scope=scope, status=states)
        )
        # One more than asked for, to say that there are more.
        found = list(islice(every, limit + 1))
        damaged = passed_over(store)
        # Ask the kernel which workers are alive: a lease may have run out long ago, or have hours to go.
        living = {one.owner: store.owner_alive(one.owner) for one in found if one.owner}
    more, found = len(found) > limit, found[:limit]

    def text() -> None:
        if not found:
            tell("No checkpoints.")
            return
        columns = ("pipeline", "scope", "key", "status", "attempts", "error", "updated")
        print_table("", columns, [_row(one, living.get(one.owner or "")) for one in found])
        if more:
            tell(f"There are more than {limit}: --limit shows them.")

    shown = [{**one.to_dict(), "owner_alive": living.get(one.owner or "")} for one in found]
    say(as_json, "checkpoints", {"checkpoints": shown, "more": more, "damaged": damaged}, text)
    return DAMAGED if damaged else 0


def _row(one: CheckpointRecord, alive: bool | None) -> tuple[object, ...]:
    error = "" if one.error is None else f"{one.error['type']}: {one.error['message'][:60]}"
    # None means that this machine cannot tell: then the lease decides, and nothing is added here.
    status = f"{one.status}, worker gone" if one.owner and alive is False else one.status
    return (one.pipeline, one.scope, one.key, status, one.attempts, error, moment(one.updated))


@click.command()
@click.option("--pipeline", required=True, help="The pipeline whose checkpoints are removed.")
@click.option("--scope", help="Only those of this scope.")
@click.option(
    "--status", multiple=True, help="Only those of this status. Repeatable. Running ones must be named."
)
@click.option("--older-than", metavar="SPAN", help="Only those last written longer ago than this, as in 7d.")
@click.option("--dry-run", is_flag=True, help="Count them, and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json_option
@click.pass_obj
def clear(
    target: Target,
    pipeline: str,
    scope: str | None,
    status: tuple[str, ...],
    older_than: str | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Remove checkpoints: what they stood for is done again.

    \f
    Raises UsageError if there is no terminal to ask at, and no --yes.
    """
    age = None if older_than is None else seconds(older_than)
    with opened(target) as store, Checkpoints(store, pipeline=pipeline) as steps:

        def run(dry: bool) -> int:
            return steps.clear(scope=scope, status=list(status) or None, older_than=age, dry_run=dry)

        # A script that meets a question would wait forever, or answer it by accident.
        if not (dry_run or yes):
            count = run(True)
            if not sys.stdin.isatty():
                raise UsageError(
                    f"clear would remove {count} checkpoints of {pipeline!r}, and there is no terminal to ask"
                    " at; expected --yes or --dry-run."
                )
            click.confirm(f"Remove {count} checkpoints of {pipeline!r}?", abort=True)
        count = run(dry_run)
    done = "would be removed" if dry_run else "removed"
    say(as_json, "clear", {"count": count, "dry_run": dry_run}, lambda: tell(f"{count} {done}."))
    return 0
