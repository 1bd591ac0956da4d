"""A connection on which every wait for the server ends."""

from __future__ import annotations

import math
import time
from collections.abc import Generator
from typing import Any

import psycopg

__all__ = ["BoundedConnection"]


class BoundedConnection(psycopg.Connection[tuple[Any, ...]]):
    """A connection that gives up if the server has sent nothing for ``patience`` seconds after a request.

    The server enforces the time-outs of statements, and the kernels those of TCP: a server that is suspended,
    or waits for a disk that hangs, exceeds neither. When this connection gives up, the statement may or may
    not have taken effect.
    """

    patience = math.inf

    def wait(self, gen: Any, *rest: Any, **named: Any) -> Any:
        return super().wait(_until(gen, self.patience), *rest, **named)


def _until(asking: Generator[Any, Any, Any], patience: float) -> Generator[Any, Any, Any]:
    """Run ``asking`` until it has taken too long. psycopg resumes it at least every 0.1 s."""
    end = time.monotonic() + patience
    try:
        wanted = next(asking)
        while True:
            ready = yield wanted
            # Data that has arrived is still read, however late.
            if not ready and time.monotonic() >= end:
                raise psycopg.OperationalError(f"the server has said nothing for {patience:.3g} s")
            wanted = asking.send(ready)
    except StopIteration as done:
        return done.value
