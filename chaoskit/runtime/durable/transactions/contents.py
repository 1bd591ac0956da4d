"""The members of a transaction as they can be read: by validators before, and by readers afterwards."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import IO, Any

from chaoskit.core.errors import wrong
from chaoskit.runtime.durable.transactions.records import TransactionMember
from chaoskit.runtime.failures.taxonomy import DataIntegrityError

__all__ = ["PIECE", "TransactionFiles", "digest_of"]

PIECE = 1 << 20
"""Bytes that are read at once."""


class TransactionFiles:
    """Members by name. What ``open`` returns has been read and compared with its checksum."""

    def __init__(
        self,
        members: Mapping[str, TransactionMember],
        opener: Callable[[TransactionMember], IO[bytes]],
        where: str,
    ) -> None:
        self.members = members
        self._opener, self._where = opener, where

    def open(self, name: str) -> IO[bytes]:
        """The content of a member, to be read.

        Raises:
            UsageError: there is no such member.
            DataIntegrityError: it is not what was committed.
            FileNotFoundError: it is gone; the transaction may have been replaced longer ago than its grace.
        """
        member = self.members.get(name)
        if member is None:
            raise wrong("name", name, f"one of the {len(self.members)} members of {self._where}")
        file = self._opener(member)
        try:
            # Read twice, and by then mostly from memory: a check at the end would come after the use.
            size, checksum = digest_of(file)
            if (size, checksum) != (member.size, member.checksum):
                raise DataIntegrityError(
                    f"{name!r} of {self._where} has {size:,} bytes and {checksum}; expected"
                    f" {member.size:,} bytes and {member.checksum}",
                    hint="It was changed behind the transaction: commit it again from its source.",
                )
            file.seek(0)
        except BaseException:
            file.close()
            raise
        return file

    def read(self, name: str) -> bytes:
        """The whole content of a member; raises as ``open``."""
        with closing(self.open(name)) as file:
            return file.read()


def digest_of(file: IO[Any]) -> tuple[int, str]:
    """Size and checksum of what follows in a binary file."""
    state, size = hashlib.sha256(), 0
    while piece := file.read(PIECE):
        state.update(piece)
        size += len(piece)
    return size, f"sha256:{state.hexdigest()}"
