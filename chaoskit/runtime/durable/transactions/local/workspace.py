"""The hidden directory of a target: stages, records, and the lock of the process that decides.

==============================  ======================================================================
``ID@OWNER-N/``                 a stage, or with layout ``pointer`` a generation: the members
``ID@OWNER-N.json``             layout ``pointer``: its record, which is its receipt once committed
``ID@OWNER-N.NUMBER.json``      layout ``final``: its receipt
``ID@OWNER-N.journal``          layout ``final``: decided, and perhaps not finished
``commit.lock``                 held while a transaction is decided, finished or recovered
==============================  ======================================================================
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from chaoskit.runtime.durable.files.directories import make_directories
from chaoskit.runtime.durable.files.holding import Held
from chaoskit.runtime.durable.files.marking import is_marked
from chaoskit.runtime.durable.files.syncing import sync_directory
from chaoskit.runtime.durable.files.writing import write_file
from chaoskit.runtime.durable.owners import Owner, lives, this_owner
from chaoskit.runtime.durable.transactions.local.absent import check_absent
from chaoskit.runtime.durable.transactions.places import PlaceOptions
from chaoskit.runtime.durable.transactions.records import TransactionReceipt
from chaoskit.runtime.failures.stored import OutcomeUnknown, StoreBusy
from chaoskit.runtime.failures.taxonomy import StorageError

__all__ = ["Workspace", "id_of"]

_GENERATION = re.compile(r"(.+)@([0-9]{35})-[0-9]+")
_POLL = 0.005
"""Seconds between two attempts to get the lock, which is usually held for a few milliseconds."""


class Workspace:
    """The hidden directory ``folder``, which need not exist yet."""

    def __init__(self, folder: Path, options: PlaceOptions) -> None:
        self.folder, self.options = folder, options

    def make(self) -> None:
        """Create the directory, durably."""
        if self.options.sync:
            make_directories(self.folder)
        else:
            os.makedirs(self.folder, exist_ok=True)

    def new_generation(self, id: str) -> str:
        """A name for a new stage that no committed attempt has, on any machine."""
        # Counted by the directory, not by the process: then a program uses the same names in each of its
        # runs, and the runs can be compared.
        mine = f"{id}@{this_owner()}-"
        used = {int(name[len(mine) :].split(".")[0]) for name in self.names() if name.startswith(mine)}
        return f"{mine}{max(used, default=0) + 1}"

    def stage(self, generation: str) -> Path:
        """The directory with a generation's members."""
        return self.folder / generation

    def record(self, generation: str) -> Path:
        """The file with a generation's record."""
        return self.folder / f"{generation}.json"

    def names(self) -> list[str]:
        """All names in the directory, sorted; an empty list if it does not exist.

        Raises:
            StorageError: the directory is listed and cannot be found.
        """
        try:
            return sorted(os.listdir(self.folder))
        except FileNotFoundError:
            check_absent(self.folder)
            return []

    def read(self, path: Path) -> TransactionReceipt | None:
        """A record; None if there is none, or if it is damaged.

        Raises:
            StorageError: the file is listed and cannot be found.
        """
        try:
            return TransactionReceipt.decode(path.read_bytes())
        except FileNotFoundError:
            check_absent(path)
            return None

    def write(self, path: Path, receipt: TransactionReceipt) -> None:
        """Write a record, durably.

        Raises:
            StorageError, DiskFull, OSError: it is not certain that the record exists.
        """
        try:
            write_file(path, receipt.encode(), durability=self.options.durability)
        except OutcomeUnknown as error:
            raise StorageError(f"could not record the transaction {receipt.id!r}: {error}") from error

    def sync(self) -> None:
        """Make the names in the directory durable."""
        if self.options.sync:
            sync_directory(self.folder)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock, which excludes other threads and processes.

        Raises:
            StoreBusy: others held it for ``lock_timeout`` seconds.
        """
        clock = self.options.clock
        end = clock.monotonic() + self.options.lock_timeout
        while True:
            try:
                held = Held(self.folder / "commit")
                break
            except StoreBusy:
                # Polled, since waiting for a record lock in the kernel has no time-out.
                if clock.monotonic() >= end:
                    raise
                clock.sleep(_POLL)
        try:
            yield
        finally:
            held.release()

    def abandoned(self, generation: str) -> bool:
        """True if the process that made a generation has died."""
        found = _GENERATION.fullmatch(generation)
        owner = Owner.parse(found[2]) if found else None
        alive = None if owner is None else lives(owner)
        # For an owner in another container or on another machine the mark decides: the kernel removes it when
        # the owner dies.
        return alive is False or (alive is None and not is_marked(self.stage(generation)))


def id_of(generation: str) -> str | None:
    """The id in the name of a generation; None for any other name."""
    found = _GENERATION.fullmatch(generation)
    return found[1] if found else None


def open_directory(path: Path) -> int | None:
    """A descriptor through which a directory can be marked; None where directories can't be opened."""
    if sys.platform == "win32":
        return None
    with contextlib.suppress(OSError):
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    return None
