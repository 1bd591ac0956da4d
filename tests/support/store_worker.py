"""One of several processes that write to a store while they are killed: run by ``store_team``.

Each operation has an id and adds one to a counter. What is acknowledged is said on stdout, with the time
that its longest call took. A server may go meanwhile: what that is told as is met as the documents say, and
counted. Every other error ends the worker, and the test. Times are of the clock that all processes of a
machine share.
"""

from __future__ import annotations

import os
import sys
import time

from chaoskit.runtime import OutcomeUnknown, Store
from chaoskit.runtime.durable.store.protocol import Kind, Tx
from chaoskit.runtime.failures.taxonomy import Unreachable

COUNTER = Kind("counter")
PAUSE = 0.01
"""Seconds until a server that has gone is asked again."""


def main(target: str, me: str, first: int, last: int, durability: str) -> None:
    try:
        with opened(target, durability) as store:
            for n in range(first, last):
                os.write(1, b"done %d %.6f %.6f\n" % (n, *add(store, me, n)))
    except Exception as error:
        os.write(1, f"error {type(error).__name__}: {error}\n".encode())
        raise


def opened(target: str, durability: str) -> Store:
    while True:
        try:
            return Store.open(target, durability=durability, wal_limit=100, reserve=0)  # type: ignore[arg-type]
        except Unreachable:
            told("gone")


def add(store: Store, me: str, n: int) -> tuple[float, float]:
    """Have the operation done, whatever the server does; when its longest call began and ended."""
    calls: list[tuple[float, float]] = []
    id = f"{me}-{n}"
    while True:
        begun = time.monotonic()
        try:
            store.write(lambda tx: count(tx, f"{me}-{n % 7}"), operation_id=id)
            break
        except Unreachable:
            calls.append((begun, time.monotonic()))
            told("gone")
        except OutcomeUnknown:
            calls.append((begun, time.monotonic()))
            told("unknown")
            if asked(store, id) == "committed":
                return max(calls, key=length)
    calls.append((begun, time.monotonic()))
    return max(calls, key=length)


def length(call: tuple[float, float]) -> float:
    return call[1] - call[0]


def asked(store: Store, id: str) -> str:
    while True:
        try:
            return store.outcome(id)
        except Unreachable:
            told("gone")


def told(word: str) -> None:
    """Say that the server was not there, and give it a moment."""
    os.write(1, f"{word} 0 0\n".encode())
    time.sleep(PAUSE)


def count(tx: Tx, key: str) -> None:
    found = tx.get(COUNTER, key)
    tx.put(COUNTER, key, {"n": 1 + (found.value["n"] if found else 0), "fill": "x" * 300}, status="counting")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5])
