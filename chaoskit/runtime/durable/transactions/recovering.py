"""Cleaning up after transactions whose processes died, and reading what is published."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from chaoskit.runtime import kinds
from chaoskit.runtime.clock import Clock, SystemClock
from chaoskit.runtime.durable.levels import DEFAULT_DURABILITY, Durability
from chaoskit.runtime.durable.transactions.local.directories import layouts_at
from chaoskit.runtime.durable.transactions.objects.prefixes import S3Target, layout_in
from chaoskit.runtime.durable.transactions.places import AnyPlace, PlaceOptions, TransactionRecovery
from chaoskit.runtime.durable.transactions.records import TransactionMember, TransactionReceipt
from chaoskit.runtime.failures.taxonomy import FileMissing

__all__ = ["TransactionReader", "recover_transactions"]


def recover_transactions(
    target: str | os.PathLike[str] | S3Target,
    *,
    durability: Durability = DEFAULT_DURABILITY,
    grace: float = 3600.0,
    lock_timeout: float = 10.0,
    abandoned: float = 86400.0,
    clock: Clock | None = None,
) -> TransactionRecovery:
    """Complete decided transactions, remove abandoned ones, and members replaced ``grace`` seconds ago.

    May be called at any time, during transactions, in several processes at once, and twice: the second call
    finds nothing to do. A target that never had a transaction is left as it is. ``abandoned`` is for S3: a
    stage without an upload for that many seconds is removed. For a directory the kernel knows which owners
    are alive.

    Raises:
        UsageError: the durability or a time is out of range.
        StoreBusy: other processes held the lock for ``lock_timeout`` seconds.
        OSError: the recovery is not finished; call it again.
    """
    options = PlaceOptions(durability, grace, lock_timeout, abandoned, clock or SystemClock())
    place = _place(target, options)
    return TransactionRecovery() if place is None else place.recover()


class TransactionReader:
    """The members published at a target now. With layout ``pointer``, later commits don't change them.

    Raises:
        FileMissing: no transaction was ever committed there.
        TransactionError: the record is damaged; or, with layout ``final``, a transaction is decided and not
            finished.
    """

    def __init__(self, target: str | os.PathLike[str] | S3Target) -> None:
        place = _place(target, PlaceOptions())
        receipt, members, files = (None, {}, None) if place is None else place.newest()
        if receipt is None or files is None:
            raise FileMissing(f"no transaction was committed at {target!s}; expected one at least")
        self._receipt, self._members, self._files = receipt, members, files

    @property
    def receipt(self) -> TransactionReceipt:
        """The receipt of the last transaction."""
        return self._receipt

    def manifest(self) -> Mapping[str, TransactionMember]:
        """Every member by its name, with size and checksum."""
        return self._members

    def open(self, name: str) -> IO[bytes]:
        """A member's content, after comparing it with its checksum.

        Raises:
            UsageError: there is no such member.
            DataIntegrityError: the content is not what was committed.
            FileNotFoundError: the member was replaced, and removed after the grace. Make another reader.
        """
        return self._files.open(name)

    def read(self, name: str) -> bytes:
        """The whole content of a member at once. Raises as ``open``."""
        return self._files.read(name)

    def verify(self) -> list[str]:
        """Read every member; return a sentence for each whose content is not what was committed."""
        wrongs = []
        for name in self._members:
            try:
                self._files.open(name).close()
            except OSError as error:
                wrongs.append(f"{name!r} can't be read: {error.strerror or error}")
            except Exception as error:
                wrongs.append(str(error))
        return wrongs


def _place(target: str | os.PathLike[str] | S3Target, options: PlaceOptions) -> AnyPlace | None:
    if isinstance(target, S3Target):
        return layout_in(target.objects(), options)
    kinds.instance("target", target, str, os.PathLike, S3Target)
    return layouts_at(Path(os.path.abspath(target)), options)
