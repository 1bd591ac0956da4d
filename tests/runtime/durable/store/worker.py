"""One of several processes that write to a store while they are killed: run by ``test_processes``.

Each operation has an id and adds one to a counter. What is acknowledged is said on stdout, with the time
that it took.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from chaoskit.runtime import Store
from chaoskit.runtime.durable.store.protocol import Kind, Tx

COUNTER = Kind("counter")


def main(directory: Path, me: str, first: int, last: int) -> None:
    try:
        with Store.open(
            directory / "store.db", durability="process-crash", wal_limit=100, reserve=0
        ) as store:
            for n in range(first, last):
                begun = time.perf_counter()
                store.write(lambda tx, n=n: add(tx, f"{me}-{n % 7}"), operation_id=f"{me}-{n}")  # type: ignore[misc]
                os.write(1, b"done %d %.6f\n" % (n, time.perf_counter() - begun))
    except Exception as error:
        os.write(1, f"error {type(error).__name__}: {error}\n".encode())
        raise


def add(tx: Tx, key: str) -> None:
    found = tx.get(COUNTER, key)
    tx.put(COUNTER, key, {"n": 1 + (found.value["n"] if found else 0), "fill": "x" * 300}, status="counting")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
