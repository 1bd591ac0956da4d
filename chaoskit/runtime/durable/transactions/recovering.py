"""Putting right what was left by processes that died, and reading what is there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO

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
    """Complete what was decided; remove what never will be, and what was replaced ``grace`` seconds ago.

    May run at any time, beside transactions, in several places at once, and twice: the second time there is
    nothing to do. A target that never had a transaction is left as it is. ``abandoned`` is for S3: a stage
    without an upload for this many seconds is given up. On a directory the kernel knows whose owner lives.

    Raises:
        StoreBusy: others held the lock all the time.
        OSError: it was not finished; run it again.
    """
    options = PlaceOptions(durability, grace, lock_timeout, abandoned, clock or SystemClock())
    place = _place(target, options)
    return TransactionRecovery() if place is None else place.recover()


class TransactionReader:
    """What is published at a target now. With layout ``pointer`` it stays as it is while others commit.

    Raises:
        FileMissing: no transaction was ever committed there.
        TransactionError: its record is damaged; or, with layout ``final``, one is decided and not finished.
    """

    def __init__(self, target: str | os.PathLike[str] | S3Target) -> None:
        place = _place(target, PlaceOptions())
        receipt, members, files = (None, {}, None) if place is None else place.newest()
        if receipt is None or files is None:
            raise FileMissing(f"no transaction was committed at {target!s}; expected one at least")
        self._receipt, self._members, self._files = receipt, members, files

    @property
    def receipt(self) -> TransactionReceipt:
        """The last transaction."""
        return self._receipt

    def manifest(self) -> Mapping[str, TransactionMember]:
        """Every member by its name, with size and checksum."""
        return self._members

    def open(self, name: str) -> IO[bytes]:
        """A member's content, after it was compared with its checksum.

        Raises:
            UsageError: there is no such member.
            DataIntegrityError: it is not what was committed.
            FileNotFoundError: it was replaced longer ago than the grace, and removed. Make another reader.
        """
        return self._files.open(name)

    def read(self, name: str) -> bytes:
        """As ``open``, the whole content at once."""
        return self._files.read(name)

    def verify(self) -> list[str]:
        """Read every member; a sentence for each that is not what was committed."""
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
    return layouts_at(Path(os.path.abspath(target)), options)
