"""The layout that a directory has, or is to get."""

from __future__ import annotations

from pathlib import Path

from chaoskit.core.errors import wrong
from chaoskit.runtime.durable.transactions.local.absent import is_directory
from chaoskit.runtime.durable.transactions.local.final import RESERVED, FinalDirectory
from chaoskit.runtime.durable.transactions.local.pointer import PointerDirectory, workspace_of
from chaoskit.runtime.durable.transactions.places import AnyPlace, PlaceOptions

__all__ = ["directory", "layouts_at"]


def directory(target: Path, layout: str, options: PlaceOptions) -> AnyPlace:
    """The target, for transactions with this layout.

    Raises:
        UsageError: there is no such layout, or the target has the other one.
        StorageError: a hidden directory is listed and cannot be found.
    """
    if layout == "pointer":
        return PointerDirectory(target, options)
    if layout == "final":
        # The members would be written into a generation of the other layout, and vanish with it.
        if is_directory(workspace_of(target)):
            raise wrong("layout", layout, f"'pointer', which {str(target)!r} has")
        return FinalDirectory(target, options)
    raise wrong("layout", layout, "'pointer' or 'final'")


def layouts_at(target: Path, options: PlaceOptions) -> AnyPlace | None:
    """The target with the layout of its earlier transactions; None if there never was one.

    Raises:
        StorageError: a hidden directory is listed and cannot be found.
    """
    if is_directory(workspace_of(target)):
        return PointerDirectory(target, options)
    if is_directory(target / RESERVED):
        return FinalDirectory(target, options)
    return None
