"""Arms a run in this process, and disarms it when the block is left."""

from __future__ import annotations

import io
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any

from chaoskit.core.errors import UsageError
from chaoskit.faults.calls import FAMILIES
from chaoskit.inject.inprocess import (
    bindings,
    clocks,
    connecting,
    ending,
    files,
    memory,
    opening,
    requesting,
    transfers,
    waiting,
    witness,
)
from chaoskit.inject.inprocess import run as runs
from chaoskit.inject.inprocess.machine import FakeMachine
from chaoskit.inject.inprocess.run import WatchedRun
from chaoskit.inject.inprocess.wrapping import Interception, Understand

SEEN: tuple[str, ...] = (
    *("open", "read", "write", "close", "fsync", "fdatasync", "sync", "truncate", "fallocate"),
    *("copy_file_range", "sendfile", "lock", "getdents", "symlink", "clock", "promise", "end"),
    *("dns", "connect", "greeting", "exchange", "http"),
    *dict.fromkeys(row.family for row in files.NAMED.values() if row.family != "truncate"),
)
"""The families of operations seen with hand-picked faults; scenarios have more."""


def table() -> dict[str, Understand]:
    """The functions of ``os`` that are intercepted, by name."""
    return {**files.TABLE, **transfers.TABLE, **ending.TABLE}


@contextmanager
def armed(run: WatchedRun) -> Iterator[None]:
    """While the block lasts, the calls of this process belong to ``run``.

    Raises:
        UsageError: inside another such block.
    """
    if runs.current() is not None:
        raise UsageError(
            "faults were armed in this process while others are; expected one block at a time. "
            "Give all rules to one chaos.inject, and do not call it inside a workload of this backend."
        )
    witness.install()
    with ExitStack() as at_end:
        if isinstance(run.machine, FakeMachine):
            at_end.callback(memory.replaced(run.machine, table()))
        else:
            at_end.callback(bindings.replaced(_real()))
        if run.concerns_clocks:
            at_end.callback(clocks.replaced(run))
        if run.by_hand or run.plan.peers:
            at_end.callback(requesting.replaced(run))
        if _concerns_network(run):
            at_end.callback(connecting.replaced(run))
        at_end.callback(runs.become, None)
        runs.become(run)
        try:
            yield
        finally:
            run.over = True


def _concerns_network(run: WatchedRun) -> bool:
    """True if names, connections and their messages are operations."""
    named = any(FAMILIES[strike.point.call].remote for strike in run.plan.strikes)
    return bool(run.plan.peers) or (run.by_hand and (named or bool(run.rules)))


@cache
def _real() -> dict[Any, Interception]:
    """The functions of this machine, with their replacements; made once, so that bindings are reused."""
    pairs: dict[Any, Interception] = {
        getattr(os, name): Interception(getattr(os, name), understand)
        for name, understand in table().items()
        if hasattr(os, name)
    }
    try:
        import fcntl
    except ImportError:
        pass
    else:
        for name, understand in transfers.LOCKS.items():
            pairs[getattr(fcntl, name)] = Interception(getattr(fcntl, name), understand)
    pairs[time.sleep] = Interception(time.sleep, waiting.sleeping)
    pairs[socket.getaddrinfo] = Interception(socket.getaddrinfo, connecting.asked)
    pairs[io.open] = Interception(io.open, opening.understood)
    return pairs
