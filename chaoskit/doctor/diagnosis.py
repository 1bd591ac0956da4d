"""A diagnosis as records: what was examined, its status, and what would help."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

Status = Literal["ok", "degraded", "no"]
"""``degraded``: works with limits, or slower; ``no``: does not work."""


@dataclass(frozen=True, slots=True)
class Item:
    """One result of an examination.

    ``detail`` says what was found, ``hint`` what would help; it is empty if all is well. ``needed`` is true
    if the default backend cannot work without it.
    """

    area: str
    name: str
    status: Status
    detail: str
    hint: str = ""
    needed: bool = False


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All items, by area, in reading order. ``backend`` is the default backend here."""

    backend: str
    items: tuple[Item, ...]

    @property
    def ok(self) -> bool:
        """True if the default backend works here."""
        return not any(item.needed and item.status == "no" for item in self.items)

    @property
    def areas(self) -> tuple[str, ...]:
        """The areas, each once, in order."""
        return tuple(dict.fromkeys(item.area for item in self.items))

    def of(self, area: str) -> tuple[Item, ...]:
        """The items of one area."""
        return tuple(item for item in self.items if item.area == area)

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``: ``ok``, ``backend`` and the list of ``items``."""
        return {"ok": self.ok, "backend": self.backend, "items": [asdict(item) for item in self.items]}


def worst(statuses: Iterable[Status]) -> Status:
    """The worst of several; ``ok`` if there is none."""
    order: tuple[Status, ...] = ("ok", "degraded", "no")
    return max(statuses, key=order.index, default="ok")
