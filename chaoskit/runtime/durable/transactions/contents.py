"""Reading the members of a transaction: by validators before the commit, and by readers after it."""

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
"""Bytes per read."""


class TransactionFiles:
    """Members by name. ``open`` compares a member with its checksum before returning it."""

    def __init__(
        self,
        members: Mapping[str, TransactionMember],
        opener: Callable[[TransactionMember], IO[bytes]],
        where: str,
    ) -> None:
        self.members = members
        self._opener, self._where = opener, where

    def open(self, name: str) -> IO[bytes]:
        """The content of a member, open for reading.

        Raises:
            UsageError: there is no such member.
            DataIntegrityError: the content is not what was committed.
            FileNotFoundError: the member is gone, for example since it was replaced and the grace has passed.
        """
        member = self.members.get(name)
        if member is None:
            raise wrong("name", name, f"one of the {len(self.members)} members of {self._where}")
        file = self._opener(member)
        try:
            # Read twice, the second time mostly from the page cache. A check while the caller reads would
            # come after the content was used.
            size, checksum = digest_of(file)
            if (size, checksum) != (member.size, member.checksum):
                raise DataIntegrityError(
                    f"{name!r} of {self._where} has {size:,} bytes and {checksum}; expected"
                    f" {member.size:,} bytes and {member.checksum}",
                    hint="It was changed without a transaction: commit it again from its source.",
                )
            file.seek(0)
        except BaseException:
            file.close()
            raise
        return file

    def read(self, name: str) -> bytes:
        """The whole content of a member. Raises as ``open``."""
        with closing(self.open(name)) as file:
            return file.read()


def digest_of(file: IO[Any]) -> tuple[int, str]:
    """The size in bytes and the checksum of the rest of a binary file."""
    state, size = hashlib.sha256(), 0
    while piece := file.read(PIECE):
        state.update(piece)
        size += len(piece)
    return size, f"sha256:{state.hexdigest()}"
