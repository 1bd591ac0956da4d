"""The layout that a prefix of an object store has, or is to get."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from chaoskit.core.errors import wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.durable.transactions.objects.final import RESERVED, FinalObjects
from chaoskit.runtime.durable.transactions.objects.pointer import CURRENT, PointerObjects
from chaoskit.runtime.durable.transactions.objects.store import ObjectStore, S3Objects
from chaoskit.runtime.durable.transactions.places import AnyPlace, PlaceOptions

__all__ = ["S3Target", "layout_in", "prefix_in"]


@dataclass(frozen=True)
class S3Target:
    """A prefix of a bucket, for recovering and reading: the arguments that ``Transaction.s3`` was given."""

    client: Any
    bucket: str
    prefix: str

    def __post_init__(self) -> None:
        kinds.text("bucket", self.bucket)
        kinds.text("prefix", self.prefix)

    def objects(self) -> S3Objects:
        """The objects below the prefix."""
        return S3Objects(self.client, self.bucket, self.prefix)


def prefix_in(store: ObjectStore, layout: str, options: PlaceOptions) -> AnyPlace:
    """The prefix, for transactions with this layout.

    Raises:
        UsageError: there is no such layout.
    """
    if layout == "pointer":
        return PointerObjects(store, options)
    if layout == "final":
        return FinalObjects(store, options)
    raise wrong("layout", layout, "'pointer' or 'final'")


def layout_in(store: ObjectStore, options: PlaceOptions) -> AnyPlace | None:
    """The prefix with the layout of its earlier transactions; None if there never was one."""
    if next(iter(store.list(f"{RESERVED}/")), None) is not None:
        return FinalObjects(store, options)
    # Recognized even before the first commit, since abandoned stages have to be removed.
    if any(next(iter(store.list(start)), None) is not None for start in (CURRENT, "manifest/", "data/")):
        return PointerObjects(store, options)
    return None
