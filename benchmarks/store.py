"""What a durable save costs, beside plain SQLite and beside the disk itself.

    python benchmarks/store.py [--write] [--directory DIR]

Every contestant saves in turn, in many short rounds and in an order that changes, so that noise of the disk
meets all alike; the figure is the median over the rounds of a rate divided by another one of the same round.
Payloads differ in every save (SQLite does not write what does not change), and everybody makes JSON of them.
``--write`` puts the table into ``benchmarks/results/store.md``. Exits with 1 if a gate is missed. Run it
where saves will lie: in memory, where nothing waits for a disk, group commit saves nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from chaoskit.runtime import Store
from chaoskit.runtime.durable.store.protocol import Kind

ROUNDS = 40
SAVES = 30
"""Of one thread in a round, where each waits for the disk; ten times as many where none does."""
KEYS = 50
STEP = Kind("step")
RESULT = Path(__file__).parent / "results" / "store.md"

Save = Callable[[int, Any], None]

GATES = {
    ("power-loss", "SQLite, WAL, FULL"): 0.85,
    ("process-crash", "SQLite, WAL, NORMAL"): 0.70,
    ("power-loss, 8 threads", "power-loss"): 2.5,
    ("power-loss, 32 threads", "power-loss"): 3.5,
}
"""At least so many times the rate of the other one."""

SHOWN = {
    **GATES,
    ("power-loss", "append and fsync"): None,
    ("SQLite, WAL, FULL", "append and fsync"): None,
    ("process-crash, 8 threads", "process-crash"): None,
    ("process-crash", "SQLite, WAL, NORMAL, rowid"): None,
    ("process-crash", "diskcache"): None,
    ("process-crash", "SQLAlchemy Core, NORMAL"): None,
    ("power-loss", "SQLAlchemy Core, FULL"): None,
    ("power-loss", "DuckDB"): None,
    ("power-loss", "DBOS"): None,
    ("process-crash", "DBOS"): None,
}
"""Shown, if both are installed."""


def payload(n: int) -> dict[str, Any]:
    """About 900 bytes of JSON, never the same twice."""
    return {
        "stage": "calibrate",
        "n": n,
        "files": [f"product-{n}-{i:03}.fits" for i in range(35)],
        "ok": True,
    }


def bare(path: Path, synchronous: str, *, rowid: bool = False) -> Save:
    """What one writes by hand. ``rowid``: the table as SQLite makes it if nothing is said; a row of more than
    a quarter of a page is written in half the time then, which few know."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("pragma journal_mode = wal")
    connection.execute(f"pragma synchronous = {synchronous}")
    connection.execute(
        "create table kept(key text primary key, status text, payload text, updated real)"
        f"{'' if rowid else ' without rowid'}"
    )
    statement = (
        "insert into kept values(?, ?, ?, ?) on conflict(key) do update set status = excluded.status,"
        " payload = excluded.payload, updated = excluded.updated"
    )

    def save(n: int, value: Any) -> None:
        connection.execute(statement, (f"key-{n % KEYS}", "done", json.dumps(value), time.time()))

    return save


def appending(path: Path) -> Save:
    file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)

    def save(n: int, value: Any) -> None:
        os.write(file, json.dumps(value).encode() + b"\n")
        os.fsync(file)

    return save


def through_sqlalchemy(path: Path, synchronous: str) -> Save | None:
    try:
        import sqlalchemy as sa
    except ImportError:
        return None
    from sqlalchemy.dialects.sqlite import insert

    engine = sa.create_engine(f"sqlite:///{path}")
    table = sa.Table(
        "kept",
        sa.MetaData(),
        sa.Column("key", sa.Text, primary_key=True),
        *(sa.Column("status", sa.Text), sa.Column("payload", sa.Text), sa.Column("updated", sa.Float)),
    )
    table.metadata.create_all(engine)
    connection = engine.connect()
    connection.exec_driver_sql("pragma journal_mode = wal")
    connection.exec_driver_sql(f"pragma synchronous = {synchronous}")
    connection.commit()
    statement = insert(table)
    changed = {name: statement.excluded[name] for name in ("status", "payload", "updated")}
    statement = statement.on_conflict_do_update(index_elements=["key"], set_=changed)

    def save(n: int, value: Any) -> None:
        row = {
            "key": f"key-{n % KEYS}",
            "status": "done",
            "payload": json.dumps(value),
            "updated": time.time(),
        }
        connection.execute(statement, row)
        connection.commit()

    return save


def through_diskcache(path: Path) -> Save | None:
    try:
        import diskcache
    except ImportError:
        return None
    # As it comes: synchronous = normal, and pickles unless told otherwise.
    cache = diskcache.Cache(str(path), disk=diskcache.JSONDisk)

    def save(n: int, value: Any) -> None:
        cache[f"key-{n % KEYS}"] = value

    return save


def through_duckdb(path: Path) -> Save | None:
    try:
        import duckdb
    except ImportError:
        return None
    connection = duckdb.connect(str(path))
    connection.execute("create table kept(key text primary key, status text, payload text, updated double)")

    def save(n: int, value: Any) -> None:
        row = (f"key-{n % KEYS}", "done", json.dumps(value), time.time())
        connection.execute("insert or replace into kept values(?, ?, ?, ?)", row)

    return save


def through_dbos(path: Path, stack: ExitStack) -> Save | None:
    """DBOS keeps what workflows return: a save is one that returns the value, with an id for each."""
    try:
        from dbos import DBOS, SetWorkflowID
    except ImportError:
        return None
    config = {"name": "store", "system_database_url": f"sqlite:///{path}", "log_level": "CRITICAL"}
    DBOS(config={**config, "run_admin_server": False})

    @DBOS.workflow(name="kept")
    def kept(value: str) -> str:
        return value

    DBOS.launch()
    stack.callback(DBOS.destroy, destroy_registry=True)

    def save(n: int, value: Any) -> None:
        with SetWorkflowID(uuid.uuid4().hex):
            kept(json.dumps(value))

    return save


def saving(store: Store) -> Save:
    def save(n: int, value: Any) -> None:
        store.put(STEP, f"key-{n % KEYS}", value, status="done")

    return save


def rate(save: Save, threads: int, saves: int) -> float:
    """Saves a second, of all threads together. Each has keys and payloads to itself."""
    base = uuid.uuid4().int % 1_000_000 * 1000
    ready = threading.Barrier(threads + 1)

    def work(me: int) -> None:
        ready.wait()
        for n in range(me * saves, (me + 1) * saves):
            save(base + n, payload(base + n))

    if threads == 1:
        begun = time.perf_counter()
        for n in range(saves):
            save(base + n, payload(base + n))
        return saves / (time.perf_counter() - begun)
    workers = [threading.Thread(target=work, args=(me,)) for me in range(threads)]
    for one in workers:
        one.start()
    ready.wait()
    begun = time.perf_counter()
    for one in workers:
        one.join()
    return threads * saves / (time.perf_counter() - begun)


def measure(directory: Path, rounds: int) -> dict[str, list[float]]:
    """The rates of each contestant, round by round."""
    with ExitStack() as stack:
        durable = saving(stack.enter_context(Store.open(directory / "durable.db")))
        crash = saving(stack.enter_context(Store.open(directory / "crash.db", durability="process-crash")))
        contestants: dict[str, tuple[Save, int, int]] = {
            "append and fsync": (appending(directory / "log"), 1, SAVES),
            "SQLite, WAL, FULL": (bare(directory / "full.db", "full"), 1, SAVES),
            "SQLite, WAL, NORMAL": (bare(directory / "normal.db", "normal"), 1, 10 * SAVES),
            "power-loss": (durable, 1, SAVES),
            "power-loss, 8 threads": (durable, 8, SAVES),
            "power-loss, 32 threads": (durable, 32, SAVES),
            "process-crash": (crash, 1, 10 * SAVES),
            "process-crash, 8 threads": (crash, 8, SAVES),
            "SQLite, WAL, NORMAL, rowid": (bare(directory / "rowid.db", "normal", rowid=True), 1, 10 * SAVES),
        }
        others = {
            "SQLAlchemy Core, FULL": through_sqlalchemy(directory / "alchemy-full.db", "full"),
            "SQLAlchemy Core, NORMAL": through_sqlalchemy(directory / "alchemy.db", "normal"),
            "diskcache": through_diskcache(directory / "cache"),
            "DuckDB": through_duckdb(directory / "duck.db"),
            "DBOS": through_dbos(directory / "dbos.db", stack),
        }
        contestants |= {name: (save, 1, SAVES) for name, save in others.items() if save is not None}
        for save, *_ in contestants.values():
            rate(save, 1, 2 * KEYS)  # every key is there, so that all rounds update
        rates: dict[str, list[float]] = {name: [] for name in contestants}
        order = random.Random(1)
        for _ in range(rounds):
            for name in order.sample(list(contestants), len(contestants)):
                rates[name].append(rate(*contestants[name]))
    return rates


def ratios(rates: dict[str, list[float]]) -> dict[tuple[str, str], tuple[float, float, float]]:
    """The median and the quartiles of each ratio that is shown."""
    found = {}
    for one, other in SHOWN:
        if one not in rates or other not in rates:
            continue
        pairs = [a / b for a, b in zip(rates[one], rates[other], strict=True)]
        low, middle, high = statistics.quantiles(pairs, n=4)
        found[one, other] = (middle, low, high)
    return found


def table(rates: dict[str, list[float]]) -> list[str]:
    lines = ["| rate of | beside | median | quartiles | gate |", "|---|---|---|---|---|"]
    for pair, (middle, low, high) in ratios(rates).items():
        gate = SHOWN[pair]
        lines.append(
            f"| {pair[0]} | {pair[1]} | {middle:.2f} | {low:.2f} to {high:.2f} | {gate if gate else ''} |"
        )
    lines += ["", "| | saves a second, median |", "|---|---|"]
    return [*lines, *(f"| {name} | {statistics.median(all_):,.0f} |" for name, all_ in rates.items())]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--directory", default=tempfile.gettempdir())
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    asked = parser.parse_args()
    directory = Path(tempfile.mkdtemp(dir=asked.directory))
    try:
        rates = measure(directory, asked.rounds)
    finally:
        shutil.rmtree(directory)
    lines = table(rates)
    print("\n".join(lines))
    if asked.write:
        made = f"Made by `python benchmarks/store.py --write`, {asked.rounds} rounds."
        head = f"# What a durable save costs\n\n{made}"
        about = f"## CPython {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
        RESULT.write_text("\n\n".join([head, about, "\n".join(lines)]) + "\n", "utf-8")
    missed = [
        f"{one} is {found[0]:.2f} × {other}, the gate is {gate}"
        for (one, other), found in ratios(rates).items()
        if (gate := GATES.get((one, other))) is not None and found[0] < gate
    ]
    for line in missed:
        print(f"missed: {line}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
