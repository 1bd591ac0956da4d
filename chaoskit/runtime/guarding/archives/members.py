"""What is in an archive, whatever its format."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

from chaoskit.runtime.guarding.archives.names import Parts

Kind = Literal["file", "directory", "symlink", "hardlink"]


@dataclass(frozen=True, slots=True)
class ArchiveMember:
    """One entry: ``size`` is what the archive declares, ``to`` what a link leads to, as written there."""

    parts: Parts
    kind: Kind
    size: int = 0
    executable: bool = False
    to: str = ""

    @property
    def path(self) -> str:
        """The name with slashes."""
        return "/".join(self.parts)


class Data(Protocol):
    """The bytes of a member."""

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes, empty at the end."""


class Container(Protocol):
    """An open archive of some format."""

    def members(self) -> Iterator[ArchiveMember]:
        """All members in their order; at the end of it the container was read, and found whole, to its end.

        Raises:
            UnsafeArchive: a name or a kind of member is refused.
            CorruptArchive: something is damaged or missing.
        """

    def open(self) -> AbstractContextManager[Data]:
        """The bytes of the member that was yielded last."""
