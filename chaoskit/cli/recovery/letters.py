"""Dead letters from the console: list, show, retry, retry-all, resolve."""

from __future__ import annotations

from itertools import islice

import click

from chaoskit.cli.group import NO
from chaoskit.cli.output import print_table, tell
from chaoskit.cli.recovery.opening import (
    DAMAGED,
    LIMIT,
    Target,
    as_json_option,
    by_option,
    moment,
    opened,
    passed_over,
    say,
)
from chaoskit.core.errors import UsageError
from chaoskit.runtime.durable.checkpoints.records import kind_of
from chaoskit.runtime.durable.dead_letters import DeadLetter, DeadLetters, RedriveLimit, RedrivePlan
from chaoskit.runtime.durable.dead_letters.origins import Origin, revive

__all__ = ["list_letters", "resolve", "retry", "retry_all", "show"]

_COLUMNS = ("id", "run", "status", "attempts", "redrives", "error", "since")


@click.command("list")
@click.option("--pipeline", help="Only those of this pipeline.")
@click.option("--resolved", is_flag=True, help="List resolved letters instead of open ones.")
@click.option("--poison", is_flag=True, help="Only those that fail the same way each time.")
@click.option("--limit", type=LIMIT, default=100, show_default=True, help="The most to list.")
@as_json_option
@click.pass_obj
def list_letters(
    target: Target, pipeline: str | None, resolved: bool, poison: bool, limit: int, as_json: bool
) -> int:
    """List what failed for good."""
    with opened(target) as store:
        # Read page by page, so that a long list does not hold up a job that is writing.
        every = DeadLetters(store).find(pipeline, resolved=resolved, poison=True if poison else None)
        # One more than asked for, to say that there are more.
        found = list(islice(every, limit + 1))
        damaged = passed_over(store)
    more, found = len(found) > limit, found[:limit]

    def text() -> None:
        if not found:
            tell("No dead letters.")
            return
        print_table("", _COLUMNS, map(_row, found))
        if more:
            tell(f"There are more than {limit}: --limit shows them.")

    say(
        as_json, "list", {"letters": [one.to_dict() for one in found], "more": more, "damaged": damaged}, text
    )
    return DAMAGED if damaged else 0


def _row(letter: DeadLetter) -> tuple[object, ...]:
    status = f"{letter.status}, poison" if letter.poison else letter.status
    # ``show`` prints the whole; here the cell must fit beside its neighbours.
    error = f"{letter.error['type']}: {letter.error['message']}"
    shown = error if len(error) <= 80 else f"{error[:79]}…"
    return (
        letter.id,
        letter.run_id,
        status,
        letter.attempts,
        letter.redrives,
        shown,
        moment(letter.created),
    )


@click.command()
@click.argument("id")
@as_json_option
@click.pass_obj
def show(target: Target, id: str, as_json: bool) -> int:
    """Show all that is known of the dead letter ID."""
    with opened(target) as store:
        letter = _letter(DeadLetters(store), id)

    def text() -> None:
        known = letter.to_dict()
        error, history = known.pop("error"), known.pop("history")
        known["created"], known["updated"] = moment(letter.created), moment(letter.updated)
        known["resolved_at"] = moment(letter.resolved_at)
        rows = [(name, value) for name, value in known.items() if value not in (None, "")]
        print_table("", ("", ""), rows)
        if history:
            columns = ("attempt", "at", "type", "message")
            # A history may come from the user: missing entries are left blank.
            seen = [{**one, "at": moment(one.get("at"))} for one in history]
            print_table("\nAttempts", columns, [[one.get(name, "") for name in columns] for one in seen])
        tell(f"\n{error['traceback'] or error['type'] + ': ' + error['message']}")

    say(as_json, "show", {"letter": letter.to_dict()}, text)
    return 0


@click.command()
@click.argument("id", required=False)
@click.option("--pipeline", help="With --key: the pipeline of a checkpoint that failed.")
@click.option("--scope", default="", help="With --key: its scope.")
@click.option("--key", help="Instead of ID: the key of a checkpoint that failed.")
@click.option("--force", is_flag=True, help="Even beyond the limit, if it is poison, or if it was retried.")
@by_option
@as_json_option
@click.pass_obj
def retry(
    target: Target,
    id: str | None,
    pipeline: str | None,
    scope: str,
    key: str | None,
    force: bool,
    by: str,
    as_json: bool,
) -> int:
    """Put the run of the dead letter ID back, or the checkpoint that failed.

    \f
    Raises UsageError if neither or both are named, or if the one that is named does not exist.
    """
    if (id is None) == (key is None):
        raise UsageError("retry was given neither an ID nor --key, or both; expected one of them.")
    with opened(target) as store:
        if key is not None:
            # By name, since an operator knows the file that failed, not the id of its letter.
            kind = kind_of(pipeline or "default")
            found = store.get(kind, key, scope=scope)
            # A checkpoint that failed with attempts left has no letter: make it pending, with all attempts.
            if found is not None and found.status == "failed":
                store.write(lambda tx: revive(tx, Origin(kind.name, scope, key, kind.format)))
                say(as_json, "retry", {"key": key}, lambda: tell(f"{key} is pending."))
                return 0
            id = None if found is None else found.value["letter"]
            if id is None:
                where = f"scope {scope!r} of pipeline {pipeline or 'default'!r}"
                raise UsageError(f"no checkpoint {key!r} in {where} has failed; expected one. List them.")
        assert id is not None
        try:
            message = DeadLetters(store).redrive(id, by=by, force=force)
        # Exit code 1, not 2: the command was right, and the operator decides whether to force it.
        except RedriveLimit as error:
            tell(f"chaoskit: {error} {error.hint}", err=True)
            return NO
    told = f"{id} is redriven as {message.key}."
    say(as_json, "retry", {"id": id, "key": message.key}, lambda: tell(told))
    return 0


@click.command("retry-all")
@click.option("--pipeline", help="Only those of this pipeline.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing.")
@by_option
@as_json_option
@click.pass_obj
def retry_all(target: Target, pipeline: str | None, dry_run: bool, by: str, as_json: bool) -> int:
    """Put every open run back that may be; exit code 1 if some may not."""
    with opened(target) as store:
        plan = DeadLetters(store).redrive_all(by=by, pipeline=pipeline, dry_run=dry_run)
        damaged = passed_over(store)
    say(
        as_json,
        "retry-all",
        {"redriven": plan.redriven, "left": dict(plan.left), "dry_run": plan.dry_run, "damaged": damaged},
        lambda: _tell(plan),
    )
    return DAMAGED if damaged else NO if plan.left else 0


def _tell(plan: RedrivePlan) -> None:
    done = "would be redriven" if plan.dry_run else "redriven"
    for id in plan.redriven:
        tell(f"{id}: {done}")
    # Each with its reason: mere counts would send the reader back to look for them.
    for id, reason in plan.left.items():
        tell(f"{id}: left: {reason}")
    tell(f"{len(plan.redriven)} {done}, {len(plan.left)} left.")


@click.command()
@click.argument("id")
@click.option("--notes", default="", help="What was done about it.")
@by_option
@as_json_option
@click.pass_obj
def resolve(target: Target, id: str, notes: str, by: str, as_json: bool) -> int:
    """Settle the dead letter ID; it stays resolved."""
    with opened(target) as store:
        letters = DeadLetters(store)
        changed = letters.resolve(id, by=by, notes=notes)
        letter = _letter(letters, id)
    # The first answer stays, and a second operator is told what it was.
    text = "is" if changed else f"was before, at {moment(letter.resolved_at)},"
    document = {"id": id, "changed": changed, "by": letter.resolved_by}
    say(as_json, "resolve", document, lambda: tell(f"{id} {text} resolved by {letter.resolved_by}."))
    return 0


def _letter(letters: DeadLetters, id: str) -> DeadLetter:
    letter = letters.get(id)
    if letter is None:
        raise UsageError(f"there is no dead letter {id!r}; expected one that 'recovery list' shows.")
    return letter
