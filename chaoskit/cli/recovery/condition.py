"""The condition of a store: verify, stats."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from chaoskit.cli.group import NO
from chaoskit.cli.output import print_table, tell
from chaoskit.cli.recovery.opening import (
    DAMAGED,
    Target,
    as_json_option,
    moment,
    opened,
    passed_over,
    pipelines_of,
    say,
)
from chaoskit.runtime.durable.checkpoints.checkpoints import Checkpoints
from chaoskit.runtime.durable.checkpoints.records import kind_of
from chaoskit.runtime.durable.dead_letters import DeadLetters
from chaoskit.runtime.durable.outbox import OUTBOX

__all__ = ["stats", "verify"]


@click.command()
@click.option("--deep", is_flag=True, help="Compare the indexes too.")
@click.option("--base", type=click.Path(path_type=Path), help="Where artefacts are, if not beside the store.")
@click.option("--no-artefacts", is_flag=True, help="Check the store alone.")
@as_json_option
@click.pass_obj
def verify(target: Target, deep: bool, base: Path | None, no_artefacts: bool, as_json: bool) -> int:
    """Look for damage; exit code 4 if the store has any, 1 if artefacts have."""
    with opened(target) as store:
        # By SQL through the store: opening the file in another way would drop SQLite's locks in this process.
        report = store.verify(deep)
        wrongs: list[dict[str, str]] = []
        for name in [] if no_artefacts else pipelines_of(store, None):
            # Completed means that the artefacts exist: read them to check.
            with Checkpoints(store, pipeline=name, base=base) as steps:
                for scope, key, path, trouble in steps.verify().artefacts:
                    wrongs.append(
                        {"pipeline": name, "scope": scope, "key": key, "path": path, "trouble": trouble}
                    )
    damaged = [asdict(one) for one in report.damaged]

    def text() -> None:
        for line in report.problems:
            tell(f"store: {line}")
        for one in damaged:
            tell(f"record {one['key']!r} of {one['kind']!r}: {one['reason']}")
        for one in wrongs:
            tell(f"artefact {one['path']!r} of {one['key']!r} in {one['pipeline']!r}: {one['trouble']}")
        found = len(report.problems) + len(damaged) + len(wrongs)
        tell(f"{report.records} records read, {found or 'no'} problem{'s' if found != 1 else ''}.")

    document = {
        "ok": report.ok and not wrongs,
        "records": report.records,
        "problems": list(report.problems),
        "damaged": damaged,
        "artefacts": wrongs,
    }
    say(as_json, "verify", document, text)
    # A damaged store is worse than a file that can be made again.
    return DAMAGED if not report.ok else NO if wrongs else 0


@click.command()
@as_json_option
@click.pass_obj
def stats(target: Target, as_json: bool) -> int:
    """Count what there is, by pipeline and status."""
    with opened(target) as store:
        # Counted one after the other: while the job runs the numbers need not add up.
        numbers, letters = store.statistics(), DeadLetters(store).statistics()
        counted = {name: dict(store.count(kind_of(name))) for name in pipelines_of(store, None)}
        queued = dict(store.count(OUTBOX))
        damaged = passed_over(store)

    def text() -> None:
        rows = [
            ("checkpoints", name, status, count)
            for name, some in counted.items()
            for status, count in sorted(some.items())
        ]
        rows += [
            ("dead letters", name, status, count)
            for name, some in sorted(letters.by_pipeline.items())
            for status, count in sorted(some.items())
        ]
        rows += [("outbox", "", status, count) for status, count in sorted(queued.items())]
        print_table("", ("what", "pipeline", "status", "count"), rows)
        tell(f"\nStore: {numbers.size:,} bytes, and {numbers.wal:,} in its WAL.")
        if letters.oldest is not None:
            tell(f"Unresolved letters: the oldest is of {moment(letters.oldest)}.")
        for line in numbers.warnings:
            tell(f"warning: {line}")

    document = {
        "checkpoints": counted,
        "dead_letters": asdict(letters),
        "outbox": queued,
        "store": {"size": numbers.size, "wal": numbers.wal, "warnings": list(numbers.warnings)},
        "damaged": damaged,
    }
    say(as_json, "stats", document, text)
    return DAMAGED if damaged else 0
