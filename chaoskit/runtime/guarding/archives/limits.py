"""How much an archive may hold."""

from __future__ import annotations

from dataclasses import dataclass

from chaoskit.core.errors import wrong
from chaoskit.runtime.numbers import is_number, whole

__all__ = ["ArchiveLimits"]


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """The most that :func:`~chaoskit.runtime.extract` accepts; beyond that it raises ``ArchiveTooBig``.

    ``members``
        Files, directories and links together.
    ``total``
        Bytes of all files together, unpacked.
    ``ratio``
        Unpacked bytes for each byte of the archive. The first MiB is exempt: a short text compresses well.
    ``depth``
        The most directories above a file.
    """

    members: int = 10_000
    total: int = 1 << 30
    ratio: float = 200.0
    depth: int = 64

    def __post_init__(self) -> None:
        for name in ("members", "total", "depth"):
            whole(f"ArchiveLimits.{name}", getattr(self, name), 1)
        if not isinstance(self.ratio, int | float) or not (is_number(self.ratio) and self.ratio >= 1):
            raise wrong("ArchiveLimits.ratio", self.ratio, "a number of at least 1")

    def unpacked(self, archive_size: int) -> int:
        """The number of bytes that an archive of ``archive_size`` bytes may unpack to."""
        return min(self.total, int(self.ratio * archive_size) + (1 << 20))
