"""``chaoskit recovery consistency``: what does not agree, and putting it right."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path

import click

from chaoskit.cli.group import NO
from chaoskit.cli.output import print_table, tell
from chaoskit.cli.recovery.opening import Target, as_json_option, opened, pipelines_of, say
from chaoskit.core.errors import UsageError, wrong
from chaoskit.runtime.durable.store.store import Store
from chaoskit.runtime.guarding.consistency.checkpoints import CheckpointRows, CheckpointsHold
from chaoskit.runtime.guarding.consistency.consistency import Consistency
from chaoskit.runtime.guarding.consistency.disagreements import ConsistencyReport, RepairReport

__all__ = ["consistency"]


@click.command()
@click.argument("rules", required=False, metavar="[MODULE:NAME]")
@click.option("--base", type=click.Path(path_type=Path), help="Where artefacts are, if not beside the store.")
@click.option("--repair", is_flag=True, help="Say what would be repaired; with --yes, do it.")
@click.option("--yes", is_flag=True, help="With --repair: change things.")
@click.option("--only", multiple=True, metavar="WORD", help="Only this rule, kind or source. Repeatable.")
@as_json_option
@click.pass_obj
def consistency(
    target: Target,
    rules: str | None,
    base: Path | None,
    repair: bool,
    yes: bool,
    only: tuple[str, ...],
    as_json: bool,
) -> int:
    """Compare what is recorded with what is there; exit code 1 if they do not agree.

    Without an argument: the checkpoints of the store, their artefacts, workers and letters. MODULE:NAME is
    a Consistency of yours, or a function that makes one; it is looked for in this directory too.

    \f
    Raises UsageError for --yes without --repair.
    """
    if yes and not repair:
        raise UsageError("--yes is given without --repair; expected both, or neither.")
    with opened(target) as store:
        subject = _of_store(store, base) if rules is None else _named(rules)
        report = subject.check()
        chosen = set(only) or None
        done = subject.repair(report, dry_run=not yes, only=chosen) if repair else None

    def text() -> None:
        _tell(report)
        if done is not None:
            _tell_repair(done)

    document = report.to_dict()
    if done is not None:
        document["repair"] = done.to_dict()
    say(as_json, "consistency", document, text)
    # A disagreement that was just repaired is no longer a finding.
    rest = len(report.disagreements) - (len(done.repaired) if done is not None and yes else 0)
    return NO if rest or report.unread else 0


def _of_store(store: Store, base: Path | None) -> Consistency:
    names = pipelines_of(store, None)
    # A database server has no directory beside it: the working directory is as good a guess as any.
    place = base or (Path.cwd() if store.path is None else store.path.parent)
    return Consistency(
        {name: CheckpointRows(store, name) for name in names},
        [CheckpointsHold(name, store, place, store.path) for name in names],
    )


def _named(text: str) -> Consistency:
    module, colon, name = text.partition(":")
    if not (module and colon and name):
        raise wrong("MODULE:NAME", text, "a name such as 'pipeline.rules:consistency'")
    # As ``python -m`` does: the rules of a pipeline are usually in the directory where it is started.
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"{text!r} could not be imported: {error}; expected a module and a name in it. Check PYTHONPATH."
        ) from error
    except Exception as error:
        raise _broken(text, error) from error
    if isinstance(found, Consistency):
        return found
    try:
        subject = found()
    except Exception as error:
        raise _broken(text, error) from error
    if not isinstance(subject, Consistency):
        raise wrong(text, subject, "a Consistency, or a function that returns one")
    return subject


def _broken(text: str, error: Exception) -> UsageError:
    """The error for a user's module that raised: its line helps more than the whole traceback."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return UsageError(
        f"{text!r} raised {type(error).__name__}: {error} ({last.filename}, line {last.lineno});"
        " expected a Consistency. Fix it and try again."
    )


def _tell(report: ConsistencyReport) -> None:
    rows: Iterable[tuple[str, ...]] = [
        (one.kind, one.source, one.key, one.detail, one.remedy) for one in report.disagreements
    ]
    if report.disagreements:
        print_table("", ("kind", "source", "key", "detail", "remedy"), rows)
    for name, why in report.unread.items():
        tell(f"{name} could not be read: {why}")
    read = ", ".join(f"{count} of {name}" for name, count in report.rows.items()) or "nothing"
    tell(f"Rows read: {read}. {len(report.disagreements) or 'No'} disagreements.")


def _tell_repair(done: RepairReport) -> None:
    word = "would be repaired" if done.dry_run else "repaired"
    for one in done.repaired:
        tell(f"{one.source} {one.key}: {word}: {one.remedy}")
    for one, why in done.left:
        tell(f"{one.source} {one.key}: left: {why}")
    for one, why in done.failed:
        tell(f"{one.source} {one.key}: failed: {why}", err=True)
    tell(f"{len(done.repaired)} {word}, {len(done.left)} left, {len(done.failed)} failed.")
