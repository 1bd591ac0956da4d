"""What a sweep of failed allocations costs: json, csv, sqlite3 and pickle, each allocation that is offered.

``python benchmarks/memory.py PYTHON…`` runs it with each interpreter and writes ``results/memory.md``. A case
is measured beside a run of nothing, so the figure is what lies above the fork and the exit.
"""

from __future__ import annotations

import csv
import io
import json
import pickle
import platform
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from chaoskit import faults
from chaoskit.core.schedule import Schedule, Strike, point_of
from chaoskit.explore.interpreters import own_failure
from chaoskit.explore.job import Job
from chaoskit.explore.observation import Observation
from chaoskit.faults.inside import inside_of
from chaoskit.inject.base import Plan, Ran
from chaoskit.inject.kernel import KernelBackend
from chaoskit.session.outcomes import summary_of

RESULTS = Path(__file__).with_name("results") / "memory.md"
HEAD = """# Memory

`benchmarks/memory.py`: the sweep of `faults.memory()` over a function of ten lines that uses json, csv,
sqlite3 and pickle.

- *ms a case* is the median above *fork and exit*, which is the median of runs of nothing, made in turn with
  the cases. Both are processor time, of the workload and of its injector: a busy machine changes them little.
- *without proof* counts the cases whose allocation is not proven to have failed: none of them can pass.
- *interpreter* counts those in which CPython itself failed.

| Python | cases | without proof | MemoryError | others | returned | interpreter | ms a case | fork and exit |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""


def work() -> int:
    """What programs do with data: read it, write it, keep it."""
    rows = json.loads('[{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]')
    text = json.dumps(rows)
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerows([row["a"], row["b"]] for row in rows)
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE t (a, b)")
    database.executemany("INSERT INTO t VALUES (:a, :b)", rows)
    kept = pickle.loads(pickle.dumps(database.execute("SELECT a FROM t").fetchall()))
    database.close()
    return len(text) + len(kept)


def nothing() -> int:
    """What every case costs."""
    return 0


def spent() -> float:
    """Seconds of processor time, of this process and of those that it has waited for."""
    used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def swept(root: str) -> str:
    """The row of the table for this Python."""
    backend, family = KernelBackend(), faults.memory()
    inside = inside_of(family)
    trace = backend.run(work, Plan(root, record=True, inside=inside)).trace
    strikes = [
        Strike(point_of(operation), fault)
        for operation in trace
        for entry in family.entries
        for fault in entry.family.offers(operation, trace)
    ]
    times: list[float] = []
    empty: list[float] = []
    ended: list[Ran] = []
    own = unproven = 0
    for strike in strikes:
        began = spent()
        ran = backend.run(work, Plan(root, strikes=(strike,), inside=inside))
        times.append(spent() - began)
        began = spent()
        backend.run(nothing, Plan(root))
        empty.append(spent() - began)
        unproven += not ran.receipts
        seen = Observation(
            runs=(summary_of(ran, 1, False, 0.0),), struck=tuple(one.strike for one in ran.receipts)
        )
        if own_failure(Job(Schedule((strike,))), seen) is not None:
            own += 1
        else:
            ended.append(ran)
    short = sum(isinstance(ran.error, MemoryError) for ran in ended)
    returned = sum(ran.ok for ran in ended)
    forked = statistics.median(empty) * 1000
    cells = [
        *(platform.python_version(), len(strikes), unproven, short, len(ended) - short - returned, returned),
        *(own, f"{statistics.median(times) * 1000 - forked:.1f}", f"{forked:.1f}"),
    ]
    return f"| {' | '.join(map(str, cells))} |"


def main(pythons: list[str]) -> None:
    """Print the row of this Python, or write the table of several."""
    if not pythons:
        with tempfile.TemporaryDirectory() as root:
            print(swept(str(Path(root).resolve())))
        return
    rows = [
        subprocess.run([one, __file__], check=True, capture_output=True, text=True).stdout for one in pythons
    ]
    RESULTS.write_text(HEAD + "".join(rows))


if __name__ == "__main__":
    main(sys.argv[1:])
