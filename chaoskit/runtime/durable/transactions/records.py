"""The record of a transaction: its members with their checksums, and which transaction came before it.

A record is text with a checksum. No part of a damaged record is used; the layout that reads it decides what
the damage means.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any, Literal, Self, TypeAlias

from chaoskit.core.errors import wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.failures.taxonomy import TransactionError

__all__ = [
    "Layout",
    "TransactionConflict",
    "TransactionMember",
    "TransactionReceipt",
    "checked_id",
    "member_name",
    "newest_members",
]

Layout: TypeAlias = Literal["pointer", "final"]

FORMAT = 1

_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")


class TransactionConflict(TransactionError):
    """Another transaction was published since this one began. Nothing of this one was published."""

    default_hint = "Begin again, from the current state."


@dataclass(frozen=True, slots=True)
class TransactionMember:
    """One file or object: its name below the target, its size in bytes, and ``sha256:…``."""

    name: str
    size: int
    checksum: str


@dataclass(frozen=True, slots=True)
class TransactionReceipt:
    """The record of a committed transaction. It never changes.

    ``generation`` is the attempt that succeeded, among those with this ``id``. ``number`` counts the
    transactions of a target, and ``previous`` is the generation before this one. ``at`` is a time shortly
    before the decision, in seconds since the epoch. ``fence`` counts how often a recovery in an object store
    has rewritten the record.
    """

    id: str
    generation: str
    layout: Layout
    members: tuple[TransactionMember, ...]
    number: int = 1
    previous: str | None = None
    at: float = 0.0
    fence: int = 0

    def to_dict(self) -> dict[str, Any]:
        """A form that JSON can hold, for example as the value with which a claim is completed."""
        return {**asdict(self), "members": [asdict(one) for one in self.members]}

    def encode(self) -> bytes:
        """The bytes in which it is stored."""
        text = json.dumps({"format": FORMAT, **self.to_dict()})
        return (json.dumps({"crc": zlib.crc32(text.encode()), "transaction": text}) + "\n").encode()

    @classmethod
    def decode(cls, content: bytes) -> Self | None:
        """The receipt that ``encode`` made ``content`` from; None if it is damaged.

        Raises:
            TransactionError: a newer version wrote it.
        """
        try:
            outer = json.loads(content)
            text = outer["transaction"]
            if zlib.crc32(text.encode()) != outer["crc"]:
                return None
            known = json.loads(text)
            written = known.pop("format")
            if written == FORMAT:
                members = tuple(TransactionMember(**one) for one in known.pop("members"))
                return cls(members=members, **known)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return None
        raise TransactionError(
            f"a transaction is recorded in format {written}; expected at most {FORMAT}",
            hint="Install the version that wrote it, or a newer one.",
        )


def newest_members(receipts: Iterable[TransactionReceipt]) -> dict[str, TransactionMember]:
    """For each name, the member in the last transaction that had a member with that name."""
    found: dict[str, TransactionMember] = {}
    for receipt in sorted(receipts, key=lambda one: one.number):
        found.update((member.name, member) for member in receipt.members)
    return found


def checked_id(id: str) -> str:
    """Return ``id`` if it can be part of a file's name on every system.

    Raises:
        UsageError: it cannot.
    """
    if not _ID.fullmatch(kinds.text("id", id)):
        raise wrong("id", id, "1 to 100 letters, digits, '.', '_' or '-', without a dot at the start")
    return id


def member_name(name: str, reserved: str) -> str:
    """Return ``name`` if it is a relative path with forward slashes, outside ``reserved``.

    Raises:
        UsageError: it leads out of the target, or means something else on another system.
    """
    parts = PurePosixPath(name).parts
    odd = not name or "/".join(parts) != name or name.startswith("/") or ".." in parts
    if odd or not name.isprintable() or "\\" in name:
        raise wrong("name", name, "a plain relative path such as 'tables/a.csv'")
    if parts[0] == reserved:
        raise wrong("name", name, f"a path outside {reserved!r}, which is the transactions' own")
    return name
