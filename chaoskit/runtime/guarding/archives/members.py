"""The members of an archive, whatever its format."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

from chaoskit.runtime.guarding.archives.names import Parts

Kind = Literal["file", "directory", "symlink", "hardlink"]


@dataclass(frozen=True, slots=True)
class ArchiveMember:
    """One entry. ``size`` is the size that the archive declares, ``to`` a link's target as given there."""

    parts: Parts
    kind: Kind
    size: int = 0
    executable: bool = False
    to: str = ""

    @property
    def path(self) -> str:
        """The name, with slashes between its parts."""
        return "/".join(self.parts)


class Data(Protocol):
    """The bytes of a member."""

    def read(self, size: int, /) -> bytes:
        """Read at most ``size`` bytes; an empty result means the end."""


class Container(Protocol):
    """An open archive of some format."""

    def members(self) -> Iterator[ArchiveMember]:
        """Yield all members in order. If this ends without an error, the whole container is intact.

        Raises:
            UnsafeArchive: the name or the kind of a member is refused.
            CorruptArchive: something is damaged or missing.
        """

    def open(self) -> AbstractContextManager[Data]:
        """Open the data of the member that was yielded last."""
