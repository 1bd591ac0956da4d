"""A connection on which no wait for the server lasts for ever."""

from __future__ import annotations

import math
import time
from collections.abc import Generator
from typing import Any

import psycopg

__all__ = ["BoundedConnection"]


class BoundedConnection(psycopg.Connection[tuple[Any, ...]]):
    """One that gives up a server which has said nothing for ``patience`` seconds since it was asked.

    The time-outs of a statement are the server's to keep, and those of TCP are satisfied by the kernel of its
    machine: a server that is suspended, or waits for a disk that hangs, keeps neither. By then the statement
    may have been done or not.
    """

    patience = math.inf

    def wait(self, gen: Any, *rest: Any, **named: Any) -> Any:
        return super().wait(_until(gen, self.patience), *rest, **named)


def _until(asking: Generator[Any, Any, Any], patience: float) -> Generator[Any, Any, Any]:
    """``asking``, which psycopg wakes at least once in 0.1 s, until it has taken too long."""
    end = time.monotonic() + patience
    try:
        wanted = next(asking)
        while True:
            ready = yield wanted
            # What is there is read, however late it was.
            if not ready and time.monotonic() >= end:
                raise psycopg.OperationalError(f"the server has said nothing for {patience:.3g} s")
            wanted = asking.send(ready)
    except StopIteration as done:
        return done.value
