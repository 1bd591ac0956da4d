"""The command: run it, and put right by hand what could not be put right without."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from chaoskit.runtime import Shutdown, StoredBreakers, log_to
from chaoskit.runtime.config import ConfigurationProblems
from scenarios.ingest import program, settings
from scenarios.ingest.program import Ingest


def main(words: Sequence[str] | None = None, configured: settings.Settings | None = None) -> int:
    """The exit status: 0 if all is well, 1 if something was found, 2 for a wrong use."""
    parser = argparse.ArgumentParser(prog="ingest", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run", help="work until told to stop").add_argument("--once", action="store_true")
    commands.add_parser("list-failed", help="the files that failed, and why")
    commands.add_parser("retry", help="one file, now").add_argument("file", help="MODEL/FILE")
    clear = commands.add_parser("clear", help="forget what is known of files; they are ingested again")
    clear.add_argument("--model")
    clear.add_argument("--status", choices=["completed", "failed", "dead", "pending"])
    clear.add_argument("--confirm", action="store_true", help="do it; without it they are counted")
    commands.add_parser("stats", help="files by status, and the breakers")
    commands.add_parser("verify", help="compare every table with what was committed")
    commands.add_parser("reset", help="close the breaker, in all processes")
    said = parser.parse_args(words)
    try:
        told = configured or settings.read().value
    except ConfigurationProblems as problems:
        print(problems, file=sys.stderr)
        return 2
    with log_to():
        return program.main(told, once=said.once) if said.command == "run" else _by_hand(told, said)


def _by_hand(told: settings.Settings, said: argparse.Namespace) -> int:
    with Shutdown(signals=()) as shutdown, Ingest(told, shutdown) as ingest:
        if said.command == "retry":
            return _retry(ingest, said.file)
        if said.command == "clear":
            return _clear(ingest, said.model, said.status, said.confirm)
        found: int = {"list-failed": _list, "stats": _stats, "verify": _verify, "reset": _reset}[
            said.command
        ](ingest)
        return found


def _list(ingest: Ingest) -> int:
    failed = list(ingest.files.failed())
    for record in failed:
        error = record.error or {}
        print(f"{record.scope}/{record.key}: {record.status}, {error.get('type')}: {error.get('message')}")
    return 1 if failed else 0


def _retry(ingest: Ingest, file: str) -> int:
    path = ingest.settings.inbox / f"{file}.csv"
    if not path.is_file():
        print(f"there is no {path}; expected MODEL/FILE, as list-failed prints it", file=sys.stderr)
        return 2
    try:
        ingest.retry(path)
    except Exception as error:
        print(f"{file} failed again: {error}", file=sys.stderr)
        return 1
    return 0


def _clear(ingest: Ingest, model: str | None, status: str | None, confirmed: bool) -> int:
    count = ingest.files.clear(scope=model, status=status, dry_run=not confirmed)
    print(f"{count} forgotten" if confirmed else f"{count} would be forgotten; say --confirm to do it")
    return 0 if confirmed else 2


def _stats(ingest: Ingest) -> int:
    for status, count in sorted(ingest.files.statistics().by_status.items()):
        print(f"{status}: {count}")
    for name, left in StoredBreakers(ingest.store).states().items():
        print(f"breaker {name}: {'closed' if left is None else f'open for {left:.0f} s'}")
    return 0


def _verify(ingest: Ingest) -> int:
    wrongs = [wrong for record in ingest.files.completed() for wrong in ingest.disagreements(record)]
    for wrong in wrongs:
        print(wrong)
    return 1 if wrongs else 0


def _reset(ingest: Ingest) -> int:
    ingest.reset()
    return 0


if __name__ == "__main__":
    sys.exit(main())
