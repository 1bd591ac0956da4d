"""The records of a batch: the outcome of each item, the summary, and the events on the way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from chaoskit.runtime.observing.events import Event

__all__ = ["BatchProgress", "ItemFailed", "ItemFailure", "ItemSuccess", "Summary"]

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class ItemSuccess(Generic[T, R]):
    """An item that succeeded, and its value."""

    item: T
    value: R


@dataclass(frozen=True, slots=True)
class ItemFailure(Generic[T]):
    """An item that failed, and its error."""

    item: T
    error: Exception


@dataclass(frozen=True, slots=True)
class Summary:
    """The counts of a batch. ``skipped`` items were not begun or not finished when the batch ended early."""

    succeeded: int
    failed: int
    skipped: int
    by_type: dict[str, int]
    aborted: bool

    @property
    def total(self) -> int:
        """All items that the batch knows of."""
        return self.succeeded + self.failed + self.skipped

    def __str__(self) -> str:
        kinds = ", ".join(
            f"{n} {name}" for name, n in sorted(self.by_type.items(), key=lambda kv: (-kv[1], kv[0]))
        )
        text = f"{self.succeeded} of {self.total} succeeded, {self.failed} failed"
        text += f" ({kinds})" if kinds else ""
        return f"{text}, {self.skipped} not begun: given up" if self.aborted else text


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemFailed(Event):
    """One item of a batch failed; the others go on."""

    name: ClassVar[str] = "batch.item_failed"

    batch: str
    item: Any
    error: Exception


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchProgress(Event):
    """One more item is done, successful or not. ``total`` is None if it is not known in advance."""

    name: ClassVar[str] = "batch.progress"

    batch: str
    done: int
    failed: int
    total: int | None
