"""What all commands of ``chaoskit recovery`` share: the store, JSON with a version, times and ages."""

from __future__ import annotations

import errno
import getpass
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from chaoskit.cli.output import print_json, tell
from chaoskit.core.errors import UsageError, wrong
from chaoskit.runtime.durable.checkpoints.records import PREFIX
from chaoskit.runtime.durable.levels import Durability
from chaoskit.runtime.durable.store.store import Store
from chaoskit.runtime.failures.taxonomy import FileMissing, FilesystemError

__all__ = [
    "BUSY",
    "DAMAGED",
    "LIMIT",
    "PORT",
    "Target",
    "as_json_option",
    "by_option",
    "free_port",
    "moment",
    "opened",
    "passed_over",
    "pipelines_of",
    "place_of",
    "say",
    "seconds",
]

BUSY, DAMAGED = 3, 4
PORT = click.IntRange(0, 65535)
LIMIT = click.IntRange(1, (1 << 53) - 1)
"""Entries of a list: one more than that can still be counted."""
VERSION = 1
"""The version of the JSON documents: it grows when a key is removed or changes its meaning."""

_EXPECTED = "expected the file that the job has opened. Name it with --store or CHAOSKIT_STORE."
_NOWHERE = (errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
"""Below a file, in a loop of links, or too long: the path is mistyped, and no store was ever there."""

# No months: their lengths differ.
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}

as_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@dataclass(frozen=True, slots=True)
class Target:
    """Which store, and how long to wait for other processes, in seconds."""

    name: str
    wait: float


@contextmanager
def opened(target: Target) -> Iterator[Store]:
    """The store, for one command. It must exist already: a console must never create one by mistake.

    Raises:
        UsageError: if no store is at that path, or none can be. Unreachable: if its server does not answer.
        ConfigurationError: if the server has no store.
    """
    name = target.name
    # As ``Checkpoints(directory)`` does, so that operators can give the same name as the program. os.path
    # ignores missing permissions: the store refuses those.
    if "://" not in name and os.path.isdir(name):
        name = str(Path(name) / "checkpoints.db")
    # The store refuses these, too, but as an error of the store, which sends an operator to the backups.
    if "://" not in name and os.path.exists(name) and not os.path.isfile(name):
        raise UsageError(f"--store is {name!r}, which is not a regular file; {_EXPECTED}")
    try:
        # No reserve: setting one aside is the job's decision, and the disk may have no room. A server that
        # does not sync may be examined, too: refusing it is the job's decision.
        durability: Durability = "process-crash" if "://" in name else "power-loss"
        store = Store.open(name, create=False, lock_timeout=target.wait, reserve=0, durability=durability)
    except FileMissing as error:
        raise UsageError(f"there is no store {name!r}; {_EXPECTED}") from error
    except FilesystemError as error:
        if error.errno not in _NOWHERE:
            raise
        why = os.strerror(error.errno)
        raise UsageError(f"there can be no store {name!r} ({why}); {_EXPECTED}") from error
    with store:
        yield store


def passed_over(store: Store) -> int:
    """Return how many records could not be read since the store was opened, and print the number for
    people: a list that skips records would look complete.
    """
    count = store.statistics().damaged
    if count:
        tell(
            f"chaoskit: {count} damaged record{'s are' if count > 1 else ' is'} left out."
            " 'chaoskit recovery verify' names what is damaged.",
            err=True,
        )
    return count


@contextmanager
def free_port(port: int) -> Iterator[None]:
    """Run a block that listens on ``port``, and turn the system's refusal into an error about the option.

    Raises:
        UsageError: if something else listens there already, or this user may not.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        raise UsageError(
            f"--port is {port}: {error.strerror}; expected a free one above 1023, or 0 for any that is free."
        ) from error


def place_of(store: Store) -> Path:
    """The directory whose disk matters: the store's, or the present one if the store is on a server."""
    return Path.cwd() if store.path is None else store.path.absolute().parent


def say(as_json: bool, command: str, document: dict[str, Any], text: Callable[[], object]) -> None:
    """Print ``document`` for programs, or call ``text``, which prints for people."""
    if as_json:
        print_json({"version": VERSION, "command": command, **document})
    else:
        text()


def by_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """The option that names the person who acts."""
    return click.option("--by", default=_user, show_default="the user", help="The name that is recorded.")(
        function
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # A container may have no name for its user.
        return f"uid {os.getuid()}"


def moment(seconds: object) -> str:
    """A time for people, in UTC; anything else unchanged, since a history may come from the user."""
    if isinstance(seconds, int | float):
        # UTC, since people in different zones compare what they see.
        with suppress(ValueError, OverflowError, OSError):
            return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(seconds))
    return "" if seconds is None else str(seconds)


def seconds(text: str) -> float:
    """A span of time, such as ``90``, ``30m``, ``12h`` or ``7d``.

    Raises:
        UsageError: if ``text`` is not one.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw]?)", text)
    if found is None:
        raise wrong("--older-than", text, "a span such as 90, 30m, 12h or 7d")
    return float(found[1]) * _UNITS[found[2] or "s"]


def pipelines_of(store: Store, only: str | None) -> list[str]:
    """The pipelines that have checkpoints, or the one that was asked for."""
    if only is not None:
        return [only]
    # Not from the configuration: records under a name that was removed there still exist.
    kinds = {kind for kind, _ in store.statistics().records}
    return sorted(kind.removeprefix(PREFIX) for kind in kinds if kind.startswith(PREFIX))
