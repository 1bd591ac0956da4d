"""``chaoskit config``: check configuration files, and show what is in force and why."""

from __future__ import annotations

import dataclasses
import sys
from importlib import import_module
from typing import Any

import click

from chaoskit.cli.group import NO
from chaoskit.cli.output import print_json, print_table
from chaoskit.core.errors import UsageError, wrong
from chaoskit.runtime.config import (
    ConfigurationProblems,
    Loaded,
    from_environment,
    from_file,
    from_pyproject,
    load,
)

_SCHEMA = "chaoskit.runtime.settings:RuntimeSettings"

_schema = click.option(
    "--schema",
    default=_SCHEMA,
    show_default=True,
    metavar="MODULE:CLASS",
    help="The dataclass that says what the options are.",
)
_prefix = click.option(
    "--prefix",
    default="CHAOSKIT_",
    show_default=True,
    help="The prefix of the environment variables that set options.",
)
_table = click.option(
    "--table", default="", metavar="A.B", help="The part of the file that holds the options."
)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def config() -> None:
    """Check configuration files, and show what is in force."""


@config.command()
@click.argument("file", type=click.Path(dir_okay=False))
@_schema
@_table
@_json
def check(file: str, schema: str, table: str, as_json: bool) -> int:
    """Check FILE and print every problem; exit code 1 if there is any."""
    try:
        load(_record(schema), from_file(file, table=table))
    except ConfigurationProblems as problems:
        if as_json:
            print_json({"ok": False, "problems": [p.to_dict() for p in problems.problems]})
        else:
            click.echo("\n".join(str(p) for p in problems.problems))
        return NO
    if as_json:
        print_json({"ok": True, "problems": []})
    else:
        click.echo(f"{file}: no problems")
    return 0


@config.command()
@click.argument("file", type=click.Path(dir_okay=False), required=False)
@_schema
@_table
@_prefix
@_json
def show(file: str | None, schema: str, table: str, prefix: str, as_json: bool) -> int:
    """Show every option's effective value and where it comes from; secrets are hidden.

    The weakest source first: defaults, pyproject.toml, FILE, the environment.
    """
    try:
        loaded = _load(file, schema, table, prefix)
    except ConfigurationProblems as problems:
        click.echo(f"chaoskit: {problems}", err=True)
        return NO
    if as_json:
        shown = {s.path: {"value": s.shown, "origin": s.origin} for s in loaded.settings}
        print_json(shown)
    else:
        print_table("", ("option", "value", "origin"), [(s.path, s.shown, s.origin) for s in loaded.settings])
    return 0


def _load(file: str | None, schema: str, table: str, prefix: str) -> Loaded[Any]:
    # For chaoskit's own options only: its table in pyproject.toml says nothing about another schema.
    layers = [from_pyproject(table="tool.chaoskit.runtime")] if schema == _SCHEMA else []
    if file is not None:
        layers.append(from_file(file, table=table))
    return load(_record(schema), *layers, from_environment(prefix))


def _record(name: str) -> type:
    module, _, attribute = name.partition(":")
    # As ``python -m`` does, so that a project's schema in the current directory is found.
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        # This runs the module, which is fine: the option names code of the user's own project.
        record = getattr(import_module(module), attribute) if module and attribute else None
    except (ImportError, AttributeError) as error:
        raise UsageError(f"--schema {name}: {error}; expected module:Class that can be imported.") from error
    if not (isinstance(record, type) and dataclasses.is_dataclass(record)):
        raise wrong("--schema", name, "module:Class that names a dataclass")
    return record
