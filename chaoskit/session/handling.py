"""A record, over the runs of one case, of the exception handlers that ran."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from chaoskit.inject.handlers import Handlers, HandlerWatch, Marks


class HandlerLog:
    """What was seen in all runs so far, by the number of the handler or line; empty without ``handlers``."""

    def __init__(self, handlers: Handlers | None) -> None:
        self._handlers = handlers
        self.seen: dict[int, int] = {}

    @contextlib.contextmanager
    def watching(self) -> Iterator[HandlerWatch | None]:
        """Yield the watch for one run; what it saw is added when the run is over, however it ended."""
        if not self._handlers:
            yield None
            return
        marks = Marks(len(self._handlers))
        try:
            yield HandlerWatch(self._handlers, marks)
        finally:
            for number, mark in enumerate(marks.taken()):
                if mark:
                    self.seen[number] = max(mark, self.seen.get(number, 0))
