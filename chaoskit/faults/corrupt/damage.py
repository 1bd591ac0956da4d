"""One damage of one file, and the small edits from which damages are made."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

_Member = TypeVar("_Member")


@dataclass(frozen=True, slots=True)
class Damage:
    """What a file may look like after one damage.

    ``structure`` is the part of the file that is hit (``entry2``, ``page1``, empty for the file as a whole),
    ``kind`` what happens to it. ``make`` returns the damaged bytes. If it is ``lazy``, making them is
    expensive, like compressing a bomb, and waits until the damage strikes.
    """

    structure: str
    kind: str
    make: Callable[[], bytes]
    lazy: bool = True

    @property
    def name(self) -> str:
        """Structure and kind as one word."""
        return f"{self.structure}.{self.kind}" if self.structure else self.kind

    @property
    def alike(self) -> tuple[str, str]:
        """Equal for damages that differ only in which of several like structures they hit."""
        # Without numbers: member1 and member2 are hit in the same way.
        return re.sub(r"\d+", "", self.structure), self.kind


ABSOLUTE = "/tmp/chaoskit-evil"
"""The absolute name of a hostile member: a program that obeys it writes four bytes there."""

MOST = 64 << 20
"""The most bytes to unpack: there are bombs, and a file of the project may be one."""

INNER = 16 << 20
"""The largest content of a compressed file, in bytes, that is damaged as well."""

Damages: TypeAlias = Iterator[Damage]
Enumerator: TypeAlias = Callable[[bytes], Damages]
"""Yields the damages of a file by its content, the most interesting first; the same for equal content.

It may raise on content that turns out not to be of its format; damages yielded before that are kept.
"""


def first_and_last(members: Sequence[_Member], most: int) -> Iterator[tuple[int, _Member]]:
    """At most ``most`` members of an archive with their numbers from 1; the last is always among them."""
    for number, member in enumerate(members, 1):
        if number < most or number == len(members):
            yield number, member


def made(structure: str, kind: str, data: bytes) -> Damage:
    """A damage whose bytes exist already."""
    return Damage(structure, kind, lambda: data, lazy=False)


def flipped(data: bytes, at: int, bit: int = 0) -> bytes:
    """``data`` with one bit changed."""
    # One bit, which a checksum must find and a parser may not notice.
    changed = bytearray(data)
    changed[at] ^= 1 << bit
    return bytes(changed)


def replaced(data: bytes, at: int, new: bytes) -> bytes:
    """``data`` with the bytes from ``at`` on replaced by ``new``, as many as it has."""
    return data[:at] + new + data[at + len(new) :]


def cuts(structure: str, data: bytes, *places: tuple[str, int]) -> Damages:
    """Damages in which the file ends at one of these places; its very beginning and end are left out."""
    for name, at in places:
        if 0 < at < len(data):
            yield made(structure, f"cut.{name}", data[:at])


def flips(structure: str, data: bytes, *places: tuple[str, int]) -> Damages:
    """Damages in which one bit of one of these bytes is changed."""
    for name, at in places:
        if 0 <= at < len(data):
            yield made(structure, f"flip.{name}", flipped(data, at))


def unpacked(data: bytes, engine: Callable[[], Any], most: int, after: bytes = b"") -> bytes:
    """The joined content of the streams in ``data``; ``after`` is allowed as padding.

    ``engine`` makes a decompressor as those of :mod:`zlib`, :mod:`bz2` and :mod:`lzma` are.

    Raises:
        EOFError: if the last stream has no end. ValueError: if it is more than ``most`` bytes. OSError, or
        another error of the decompressor: if the data has another format.
    """
    found = bytearray()
    while data:
        one = engine()
        # One byte more than allowed, since zlib takes a bound of 0 for no bound.
        found += one.decompress(data, most - len(found) + 1)
        if len(found) > most:
            raise ValueError(f"it unpacks to more than {most} bytes")
        if not one.eof:
            raise EOFError("a stream is cut off")
        data = one.unused_data.lstrip(after) if after else one.unused_data
    return bytes(found)


def is_within(stream: Any, most: int = MOST) -> bool:
    """Return True if a file object has at most ``most`` bytes; read it to its end or to that limit."""
    left = most
    while left >= 0:
        got = len(stream.read(1 << 20))
        if not got:
            return True
        left -= got
    return False
