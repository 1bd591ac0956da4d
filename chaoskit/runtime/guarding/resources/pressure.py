"""Memory pressure: collects garbage, writes an emergency checkpoint, shrinks the batch, and continues."""

from __future__ import annotations

import gc
import logging
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from chaoskit.core.errors import wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.calling.callables import called, finished, synchronous, synchronous_all
from chaoskit.runtime.clock import Clock, SystemClock
from chaoskit.runtime.failures.taxonomy import OutOfMemory
from chaoskit.runtime.guarding.resources import readings
from chaoskit.runtime.numbers import is_number, is_whole, whole
from chaoskit.runtime.observing.events import Event
from chaoskit.runtime.observing.observers import Listener, emit

__all__ = ["MemoryPressed", "MemoryPressure"]

T = TypeVar("T")
R = TypeVar("R")

logger = logging.getLogger("chaoskit")


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPressed(Event):
    """Memory ran short. The next batch has ``batch`` items; ``saved`` is True if ``emergency`` succeeded."""

    name: ClassVar[str] = "memory.pressed"

    batch: int
    collected: int
    free: int | None
    saved: bool


class MemoryPressure:
    """Processes items in batches that fit into memory.

    If a batch ends in ``MemoryError`` (or ``OutOfMemory``), or would begin with less than ``keep_free`` bytes
    available, it releases what the failed attempt held, collects garbage, calls ``emergency`` to write a
    checkpoint, and continues with a batch that is smaller by the factor ``shrink``. After ``grow_after``
    successful batches in a row the batch grows again, up to ``batch``. If even ``least`` items do not fit, it
    raises ``OutOfMemory``.

    ``reserve`` bytes are allocated in advance, and freed before ``emergency`` is called, so that it has room;
    its errors are logged and do not stop the work. Not thread-safe: use one per thread. When memory runs out,
    the kernel may kill a process without warning; ``keep_free`` and the checkpoint are for that case.

    Raises UsageError for impossible numbers.
    """

    def __init__(
        self,
        batch: int,
        *,
        least: int = 1,
        shrink: float = 0.5,
        grow_after: int = 8,
        emergency: Callable[[], object] | None = None,
        keep_free: int = 0,
        reserve: int = 1 << 20,
        clock: Clock | None = None,
        listeners: Sequence[Listener] = (),
    ) -> None:
        whole("batch", batch, 1)
        if not (is_whole(least) and 1 <= least <= batch):
            raise wrong("least", least, f"a whole number between 1 and the batch, {batch}")
        if not (is_number(shrink) and 0 < shrink < 1):
            raise wrong("shrink", shrink, "a share between 0 and 1, such as 0.5")
        bytes_ = (keep_free, reserve)
        if not (is_whole(grow_after) and grow_after >= 1 and all(is_whole(n) and n >= 0 for n in bytes_)):
            raise wrong(
                "grow_after, keep_free, reserve",
                (grow_after, keep_free, reserve),
                "at least 1 batch, and two whole numbers of bytes of at least 0",
            )
        synchronous("emergency", emergency)
        self._most, self._least, self._shrink, self._grow_after = batch, least, shrink, grow_after
        self._emergency, self._keep_free, self._size = emergency, keep_free, reserve
        self._clock = kinds.clock(clock, optional=True) or SystemClock()
        self._listeners = synchronous_all("listener", listeners)
        self._batch, self._good = batch, 0
        self._reserve: bytearray | None = bytearray(reserve)

    @property
    def batch(self) -> int:
        """The most items of the next batch."""
        return self._batch

    def run(self, work: Callable[[Sequence[T]], R], items: Sequence[T]) -> Iterator[R]:
        """Call ``work`` with the items, in order, batch by batch, and yield what it returns for each batch.

        If memory runs out, ``work`` is called again with fewer of the same items: it must leave nothing
        behind, or tolerate being repeated.

        Raises:
            OutOfMemory: ``least`` items do not fit.
        """
        done = 0
        while done < len(items):
            if self._short():
                self._relieve()
            part = items[done : done + self._batch]
            ran, result = self._tried(work, part)
            if not ran:
                if len(part) <= self._least:
                    raise OutOfMemory(
                        f"a batch of {len(part)} items does not fit into memory; expected the least to fit."
                        " Raise the memory limit, or make the items smaller.",
                        context={"done": done, "items": len(items)},
                    )
                self._relieve(len(part))
                continue
            done += len(part)
            self._grown()
            yield result

    def _tried(self, work: Callable[[Sequence[T]], R], part: Sequence[T]) -> tuple[bool, Any]:
        try:
            return True, finished("the work of a batch", work, work(part))
        except (MemoryError, OutOfMemory) as error:
            # The frames of the failed attempt hold everything that it allocated: collecting garbage would
            # free nothing while the traceback lives.
            traceback.clear_frames(error.__traceback__)
            error.__traceback__ = error.__context__ = None
        return False, None

    def _short(self) -> bool:
        if not self._keep_free:
            return False
        left = readings.memory()
        return left is not None and left.free < self._keep_free

    def _relieve(self, tried: int | None = None) -> None:
        """Free memory, save a checkpoint, and shrink the batch."""
        self._good = 0
        self._reserve = None
        collected = gc.collect()
        saved = self._save()
        # Start from the size that failed: the last batch of the items may be smaller than the others.
        size = self._batch if tried is None else min(tried, self._batch)
        self._batch = max(self._least, int(size * self._shrink))
        free = readings.memory()
        event = MemoryPressed(
            at=self._clock.monotonic(),
            batch=self._batch,
            collected=collected,
            free=None if free is None else free.free,
            saved=saved,
        )
        emit(self._listeners, event)

    def _save(self) -> bool:
        if self._emergency is None:
            return False
        try:
            called("emergency", self._emergency)
        # Without the checkpoint the work has lost only a safeguard; if it stopped here, it would lose all.
        except Exception as error:
            logger.error("the emergency checkpoint was not written: %r", error)
            return False
        return True

    def _grown(self) -> None:
        self._good += 1
        if self._reserve is None and self._good >= self._grow_after:
            # Only after successful batches: earlier, the reserve would take the memory that the work needs.
            try:
                self._reserve = bytearray(self._size)
            except MemoryError:
                return
        if self._batch < self._most and self._good >= self._grow_after:
            self._good = 0
            self._batch = min(self._most, max(self._batch + 1, int(self._batch / self._shrink)))
