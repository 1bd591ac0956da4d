"""The processes that claim. Each locks a byte of the lock file, and has a row that says which byte.

An owner on this machine is alive exactly while its lock is held; no clock is involved. An owner on another
machine has no lock that could be tested here, so its lease decides.
"""

from __future__ import annotations

import os
import uuid
from functools import cache
from pathlib import Path

from chaoskit.runtime.durable.store.lock import LockFile
from chaoskit.runtime.durable.store.reading import RowReader, as_text

__all__ = ["Owners"]


class Owners:
    """The owners of one store, as this process sees them."""

    def __init__(self, lock: LockFile) -> None:
        self._lock = lock
        self._row: tuple[object, ...] | None = None
        self._mine = f"{os.getpid()}-{uuid.uuid4().hex[:12]}"

    @property
    def known(self) -> bool:
        """True once this process counts as an owner."""
        return self._row is not None

    def claimant(self) -> tuple[object, ...]:
        """This process's row: where it runs, its byte, its name. From now on it counts as an owner.

        Raises:
            StoreBusy, StorageError: it cannot get a lock; see :meth:`LockFile.take_owner`.
        """
        if self._row is None:
            # Only once: reading /proc for each claim took a fifth of a claim's time, with the lock held.
            byte = self._lock.take_owner()
            self._row = (_machine(), byte, self._mine, _boot(), os.getpid(), _started())
        return self._row

    def alive(self, reader: RowReader) -> tuple[list[str], list[str]]:
        """The names of the living owners on this machine, and of all owners on other machines."""
        here, elsewhere = [self._mine], []
        for byte, name, machine, boot in reader.rows("select byte, id, machine, boot from owner"):
            # A damaged row may hold anything in place of the byte. The lease then decides, as elsewhere.
            if machine != _machine() or type(byte) is not int:
                elsewhere.append(as_text(name))
            elif boot == _boot() and name != self._mine and self._lock.held(byte):
                here.append(name)
        return here, elsewhere

    def lives(self, reader: RowReader, owner: str) -> bool | None:
        """True if this owner is alive; None if it is on another machine."""
        here, elsewhere = self.alive(reader)
        return None if owner in elsewhere else owner in here


@cache
def _machine() -> str:
    for place in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        try:
            return Path(place).read_text().strip()
        except OSError:
            continue
    return os.uname().nodename


@cache
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _started() -> str:
    """When this process started, in ticks since boot: a later process with the same pid differs in it."""
    try:
        return Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""
