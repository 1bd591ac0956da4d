"""The top command: it loads only the command it runs, prints errors in one line, has stable exit codes."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

import click

from chaoskit.cli.output import tell
from chaoskit.cli.table import COMMANDS
from chaoskit.core.errors import BackendUnavailable, ChaoskitError, UsageError
from chaoskit.core.version import __version__

NO = 1
WRONG_USE = 2
CANNOT = 3
FAILED = 4
INTERRUPTED = 130
NO_READER = 141

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""Errors of a write for which the disk is to blame, not chaoskit."""


class _NoReaderError(Exception):
    """The reader of standard output is gone."""


class LazyGroup(click.Group):
    """A group whose commands are listed in a table, so that ``--help`` loads none of them."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise _NoReaderError from None  # Click would exit with 1, which means that the answer is no.

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*COMMANDS, *self.commands})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    # The help lines come from the table: click would import every command to get them.
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in self.list_commands(ctx)])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"No command {args[0]!r}.{hint} There are: {', '.join(sorted(COMMANDS))}.")
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="chaoskit")
def chaoskit() -> None:
    """Find out, before production does, whether a program survives the faults of the real world.

    Exit codes: 0 all is well, 1 the answer is no, 2 wrong use, 3 this machine cannot do it, 4 another
    error, 130 interrupted, 141 the reader of the output is gone.
    """


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit; ``arguments`` default to the process's own."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code. Errors of chaoskit are printed in one line each."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        # Not click's standalone mode, which turns Ctrl-C into exit code 1.
        colour = False if os.environ.get("NO_COLOR") else None
        result = chaoskit.main(words, "chaoskit", standalone_mode=False, color=colour)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as end:
        return end.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("chaoskit: interrupted", err=True)
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except UsageError as error:
        return _say(error, WRONG_USE)
    except BackendUnavailable as error:
        return _say(error, CANNOT)
    except ChaoskitError as error:
        return _say(error, FAILED)
    except _NoReaderError:
        # The reader (head, less) is gone; nothing more can be printed, not even at exit.
        sys.stdout = None
        return NO_READER
    except OSError as error:
        # An error with a file name is about one of the user's files, or a bug: its traceback says more than
        # one line could.
        if error.filename is not None or error.errno not in _NO_ROOM:
            raise
        sys.stdout = None  # Standard output may be what failed, and would fail again at exit.
        click.echo(f"chaoskit: {error}; expected room for the cases and for what is printed", err=True)
        return FAILED


def _say(error: ChaoskitError, code: int) -> int:
    hint = getattr(error, "hint", "")
    tell(f"chaoskit: {error}{f' {hint}' if hint and hint not in str(error) else ''}", err=True)
    return code
