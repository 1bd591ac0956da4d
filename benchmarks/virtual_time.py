"""What virtual time saves, and what it costs: a sweep of SQLite, a sleep, a deadlock, a read of a clock.

Real and virtual time are measured in one run and in turn; the sweep in real time takes minutes, so it is run
once. Writes ``benchmarks/results/virtual_time.md``. Needs Linux.
"""

from __future__ import annotations

import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from chaoskit.core.schedule import Schedule
from chaoskit.inject.base import Plan, Ran, VirtualTime
from chaoskit.inject.kernel import KernelBackend
from chaoskit.report import read

RESULTS = Path(__file__).parent / "results" / "virtual_time.md"
TMPFS = "/dev/shm"
ROUNDS = 9
READS = 100_000
ORDERS = 50

SWEEP = """
import os, sqlite3
from chaoskit import faults, scenario

def work(path):
    db = sqlite3.connect(path / "a.db")
    with db:
        db.execute("INSERT INTO t VALUES (1)")
    with db:
        db.execute("UPDATE t SET x = x + 1")
    db.close()

@scenario(faults.disk(), time=os.environ["TIME"], timeout=60, oracle="off")
def test_sqlite(chaos):
    db = sqlite3.connect(chaos.path / "a.db")
    db.execute("CREATE TABLE t (x)")
    db.close()
    chaos.run(work, chaos.path)
    db = sqlite3.connect(chaos.path / "a.db")
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()
"""


AGAIN = """
import threading, time
import pytest
from chaoskit import faults, scenario

def work():
    done = []
    def sleeper(name, seconds, times):
        for _ in range(times):
            time.sleep(seconds)
            done.append((name, time.time()))
    rows = (("a", 10, 3), ("b", 15, 2), ("c", 7, 4))
    threads = [threading.Thread(target=sleeper, args=row) for row in rows]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [name for name, when in sorted(done, key=lambda one: one[1])] == [name for name, _ in done]

@pytest.mark.parametrize("number", range(50))
@scenario(faults.clock(), oracle="off")
def test_order(chaos, number):
    outcome = chaos.run(work)
    assert outcome.value
"""


def sweeps(text: str, time_is: str = "virtual") -> list[dict[str, Any]]:
    """Run scenarios in a pytest of another process; return their entries in the report."""
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "test_sweep.py").write_text(textwrap.dedent(text))
        words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--chaoskit-workers=1"]
        subprocess.run(
            [sys.executable, *words, "--chaoskit-report=report"],
            cwd=directory,
            env={**os.environ, "TIME": time_is},
            check=False,
            stdout=subprocess.DEVNULL,
        )
        return [entry.to_dict() for entry in read(Path(directory) / "report").entries]


def _run(work: Callable[[], Any], virtual: bool, schedule: str = "") -> tuple[float, Ran]:
    strikes = Schedule.parse(schedule).strikes
    with tempfile.TemporaryDirectory(dir=TMPFS) as directory:
        root, time_is = os.path.realpath(directory), VirtualTime() if virtual else None
        plan = Plan(root, strikes=strikes, timeout=60.0, time=time_is)
        began = time.perf_counter()
        ran = KernelBackend().run(work, plan)
        return time.perf_counter() - began, ran


def _milliseconds(work: Callable[[], Any], virtual: bool = True, schedule: str = "") -> str:
    taken = sorted(_run(work, virtual, schedule)[0] for _ in range(ROUNDS))
    return f"{median(taken) * 1000:.1f} ms (best {taken[0] * 1000:.1f})"


def _silent() -> str:
    """A client whose time-out is 300 s, and a server whose answer a fault keeps from it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        pid = os.fork()
        if pid == 0:
            while True:
                connection, _ = server.accept()
                connection.recv(100)
                connection.sendall(b"answer")

    def work() -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=300) as client:
            client.sendall(b"question")
            try:
                client.recv(10)
            except TimeoutError:
                return
            raise AssertionError("it was answered")

    try:
        return _milliseconds(work, schedule=f"exchange(127.0.0.1:{port})#1=silent[0]")
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _deadlock() -> None:
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


def _reads() -> float:
    began = time.process_time()
    for _ in range(READS):
        time.time()
    return (time.process_time() - began) / READS * 1e9


def _in_turns() -> str:
    done: list[str] = []

    def sleeper(name: str, seconds: float, times: int) -> None:
        for _ in range(times):
            time.sleep(seconds)
            done.append(name)

    rows = (("a", 10, 5), ("b", 15, 3), ("c", 7, 6))
    threads = [threading.Thread(target=sleeper, args=row) for row in rows]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return "".join(done)


def _verdicts(entry: dict[str, Any]) -> Counter[tuple[tuple[int, ...], str]]:
    """How many cases struck which points with which verdict; a report only counts most that passed."""
    counts = Counter({(tuple(one["points"]), one["verdict"]): one["count"] for one in entry["counted"]})
    counts.update((tuple(case["points"]), case["verdict"]) for case in entry["cases"])
    return counts


def _rows() -> list[tuple[str, str, str]]:
    (real,), (virtual,) = sweeps(SWEEP, "real"), sweeps(SWEEP)
    verdicts = [_verdicts(one) for one in (real, virtual)]
    cases = sum(verdicts[1].values())
    alike = "the same verdicts at each point" if verdicts[0] == verdicts[1] else "OTHER VERDICTS"
    seconds = [f"{one['timing']['cases']:.1f} s" for one in (real, virtual)]
    bare, patched = [], []
    for _ in range(ROUNDS):
        bare.append(_run(_reads, virtual=False)[1].value)
        patched.append(_run(_reads, virtual=True)[1].value)
    again = [sorted(_verdicts(entry).items()) for entry in sweeps(AGAIN)]
    orders = Counter(_run(_in_turns, virtual=True)[1].value for _ in range(ORDERS))
    return [
        (f"a sweep of SQLite, {cases} cases, {alike}", seconds[0], seconds[1]),
        ("a workload that sleeps for an hour", "1 h", _milliseconds(lambda: time.sleep(3600))),
        ("a client with a time-out of 300 s, its server silent", "300 s", _silent()),
        ("a deadlock, until it is known", "the time-out, 60 s", _milliseconds(_deadlock)),
        ("a workload that does nothing", _milliseconds(int, virtual=False), _milliseconds(int)),
        ("a read of the wall clock in Python", f"{min(bare):.0f} ns", f"{min(patched):.0f} ns"),
        (f"orders of 14 sleeps of 3 threads in {ORDERS} runs", "", str(len(orders))),
        (
            f"sets of verdicts of {sum(count for _, count in again[0])} cases in {len(again)} sweeps",
            "",
            str(len(set(map(str, again)))),
        ),
    ]


def main() -> None:
    """Measure, and write the table."""
    lines = [
        "# Virtual time",
        "",
        f"Written by `benchmarks/virtual_time.py`: CPython {platform.python_version()}, "
        f"Linux {platform.release()}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.0f} at first. "
        "Both columns are of one run. Times that hold forks grow with the load, ratios hardly do.",
        "",
        "| | real time | virtual time |",
        "| --- | --- | --- |",
        *(f"| {' | '.join(row)} |" for row in _rows()),
    ]
    RESULTS.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
