"""Run folders that are marked as failed: list them, clear them."""

from __future__ import annotations

from pathlib import Path

import click

from chaoskit.cli.output import print_table, tell
from chaoskit.cli.recovery.opening import as_json_option, moment, say
from chaoskit.core.errors import UsageError
from chaoskit.runtime.recovering.run_folders import RunFolders

__all__ = ["flags"]


@click.command()
@click.argument("root", type=click.Path(file_okay=False, exists=True, path_type=Path))
@click.option("--flag", default="errorprocessing", show_default=True, help="The name of the mark.")
@click.option("--clear", multiple=True, metavar="RUN", help="Have this run looked at again. Repeatable.")
@as_json_option
def flags(root: Path, flag: str, clear: tuple[str, ...], as_json: bool) -> int:
    """List the run folders below ROOT that are marked as failed, or clear the mark of some.

    \f
    Raises UsageError if one that is named is not marked.
    """
    folders = RunFolders(root, flag=flag)
    # Check all of them before clearing the first, so that a wrong command is refused as a whole.
    for name in clear:
        if folders.why(name) is None:
            raise UsageError(f"the run {name!r} is not marked; expected one that 'recovery flags' lists.")
    for name in clear:
        folders.clear(name)
    found = list(folders.flagged())

    def text() -> None:
        for name in clear:
            tell(f"{name} is looked at again.")
        if found:
            rows = [(one.path.name, moment(one.why.at or None), one.why.reason) for one in found]
            print_table("", ("run", "since", "why"), rows)
        elif not clear:
            tell("No run is marked.")

    document = {
        "cleared": list(clear),
        "flagged": [
            {"run": one.path.name, "at": one.why.at, "reason": one.why.reason, "damaged": one.why.damaged}
            for one in found
        ],
    }
    say(as_json, "flags", document, text)
    return 0
