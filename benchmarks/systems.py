"""What the runtime costs the five systems on a healthy run, against the same program without it.

Both do the same work, in turn, on the same disk, at the durability that the system runs with. The figures are
medians. What is added is divided by the units of work and set against what one unit takes in production.
Writes ``benchmarks/results/systems.md``. Needs the packages of the group ``scenarios``.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # for ``scenarios``

RESULTS = Path(__file__).parent / "results" / "systems.md"
ROUNDS = 7
GATE = 0.02


@dataclass(frozen=True, slots=True)
class Comparison:
    """One healthy run of a system, with the runtime and without."""

    guarded: Callable[[], object]
    plain: Callable[[], object]


@dataclass(frozen=True, slots=True)
class System:
    """One line of the table.

    ``prepared`` makes in a fresh directory whatever a run needs. ``units`` is how many a run has, and
    ``takes`` for how many seconds one of them keeps the system busy in production, as ``why`` argues.
    """

    name: str
    durability: str
    prepared: Callable[[Path], Any]
    unit: str
    units: int
    takes: float
    why: str


@contextmanager
def watcher(directory: Path) -> Iterator[Comparison]:
    """Forty samples, two servers on the loopback interface."""
    program, settings, servers, share, plain = (
        importlib.import_module(f"scenarios.watcher.{name}")
        for name in ("program", "settings", "servers", "share", "plain")
    )
    servers.SESSION = 1 << 30
    run = directory / "share" / "run"
    run.mkdir(parents=True)
    names = [f"s{number}" for number in range(40)]
    (run / share.SHEET).write_text("sample,reads\n" + "".join(f"{name},{name}.fastq\n" for name in names))
    for name in names:
        (run / f"{name}.fastq").write_text("ACGT\n" * 1000)
    (run / share.COMPLETE).touch()
    started = [servers.PipelineServer(0), servers.DatabaseServer(0)]
    threads = [threading.Thread(target=one.serve_forever, args=(0.01,), daemon=True) for one in started]
    for thread in threads:
        thread.start()
    pipeline, database = (f"http://127.0.0.1:{one.server_port}" for one in started)
    state, results = directory / "state", directory / "results"
    for made in (state, results):
        made.mkdir()
    configured = settings.live(
        {
            "WATCHER_SHARE": str(directory / "share"),
            "WATCHER_STATE": str(state),
            "WATCHER_PIPELINE__URL": pipeline,
            "WATCHER_DATABASE__URL": database,
            # The server is asked as often as by the other program: without a pause.
            "WATCHER_ASK": "0.000001",
            "WATCHER_LIMITS__DISK": "1",
        }
    )
    try:
        yield Comparison(
            partial(program.main, configured, once=True),
            partial(plain.main, directory / "share", results, pipeline, database),
        )
    finally:
        for one, thread in zip(started, threads, strict=True):
            one.shutdown()
            one.server_close()
            thread.join()


@contextmanager
def optimizer(directory: Path) -> Iterator[Comparison]:
    """One job of some seconds that saves where it is eight times."""
    program, settings, plain = (
        importlib.import_module(f"scenarios.optimizer.{name}") for name in ("program", "settings", "plain")
    )
    drop, state = directory / "drop", directory / "state"
    for made in (drop, state):
        made.mkdir()
    job = {"points": [number / 7 for number in range(100_000)], "steps": 40}
    (drop / "job.json").write_text(json.dumps(job))
    configured = settings.read(
        {"OPTIMIZER_DROP": str(drop), "OPTIMIZER_STATE": str(state), "OPTIMIZER_BATCH": "100000"}
    ).value
    yield Comparison(
        partial(program.main, configured, once=True), partial(plain.main, drop, directory / "results")
    )


@contextmanager
def neuro(directory: Path) -> Iterator[Comparison]:
    """Twenty containers that end at once, as tasks of a queue in this process."""
    world, plain = (importlib.import_module(f"scenarios.neuro.{name}") for name in ("world", "plain"))
    world.prepare(directory)
    (directory / "plain").mkdir()
    runs = [("conversion", "good", str(number)) for number in range(20)]

    def guarded() -> None:
        with world.opened(directory) as runner:
            for run in runs:
                runner.submit(*run)
            world.drain(runner)

    command = ["sh", "../container.sh", "{subject}", "{output}", "../tried"]
    yield Comparison(guarded, partial(plain.main, directory / "plain", command, runs))


@contextmanager
def ingest(directory: Path) -> Iterator[Comparison]:
    """Ten files of ten thousand rows, into tables below a directory."""
    program, settings, plain = (
        importlib.import_module(f"scenarios.ingest.{name}") for name in ("program", "settings", "plain")
    )
    inbox, state = directory / "inbox", directory / "state"
    for made in (inbox / "weather", state):
        made.mkdir(parents=True)
    rows = "".join(
        f"2026-11-{number % 5 + 1:02}T{number % 24:02}:00:00,station-{number % 7},{number / 3}\n"
        for number in range(10_000)
    )
    for number in range(10):
        (inbox / "weather" / f"file-{number}.csv").write_text(f"time,station,value\n{rows}")
    places = {"INBOX": inbox, "STATE": state, "TARGET": directory / "tables"}
    configured = settings.read({f"INGEST_{name}": str(place) for name, place in places.items()}).value
    yield Comparison(
        partial(program.main, configured, once=True), partial(plain.main, inbox, directory / "plain")
    )


@contextmanager
def imaging(directory: Path) -> Iterator[Comparison]:
    """Ten observations of a hundred thousand samples, staged in memory where there is room."""
    world, program, plain = (
        importlib.import_module(f"scenarios.imaging.{name}") for name in ("world", "program", "plain")
    )
    incoming, products = directory / "incoming", directory / "plain"
    for made in (incoming, products, directory / "state"):
        made.mkdir()
    told = {"at": world.AT, "noise": 1.0, "samples": [number / 7 for number in range(100_000)]}
    for number in range(10):
        (incoming / f"target-{number}.json").write_text(json.dumps(told))
    world.registry(directory).write(world.CALIBRATIONS)
    solution = world.CALIBRATIONS[2]
    yield Comparison(
        partial(program.main, world.configured(directory), once=True),
        partial(plain.main, incoming, products, solution),
    )


SYSTEMS = (
    System("watcher", "power-loss", watcher, "sample", 40, 60.0, "a minute of a pipeline, or more"),
    System("neuro", "power-loss", neuro, "run", 20, 300.0, "the shortest containers; others take hours"),
    System("ingest", "power-loss", ingest, "file", 10, 10.0, "a file of some hundred megabytes"),
    System("imaging", "power-loss", imaging, "observation", 10, 600.0, "ten minutes of imaging, or more"),
    System("optimizer", "power-loss", optimizer, "job", 1, 300.0, "the time that a job is given"),
)


def measured(system: System, rounds: int = ROUNDS) -> tuple[float, float]:
    """Seconds of a run with the runtime and without, medians of ``rounds``, taken in turn."""
    took: tuple[list[float], list[float]] = ([], [])
    # The first round imports and warms up; it does not count.
    for number in range(rounds + 1):
        with (
            tempfile.TemporaryDirectory(prefix="chaoskit-bench-") as name,
            system.prepared(Path(os.path.realpath(name))) as comparison,
        ):
            for seconds, work in zip(took, (comparison.guarded, comparison.plain), strict=True):
                began = time.perf_counter()
                work()
                if number:
                    seconds.append(time.perf_counter() - began)
    return median(took[0]), median(took[1])


def main() -> None:
    """Measure the systems named on the command line, or all."""
    chosen = [system for system in SYSTEMS if not sys.argv[1:] or system.name in sys.argv[1:]]
    rows = []
    for system in chosen:
        guarded, plain = measured(system)
        added = (guarded - plain) / system.units
        share = added / system.takes
        cells = (
            system.name,
            system.durability,
            f"{1000 * guarded:.0f} ms",
            f"{1000 * plain:.0f} ms",
            f"{1000 * added:.1f} ms per {system.unit}",
            f"{100 * share:.3f} % of {system.takes:g} s: {system.why}",
            "yes" if share < GATE else "NO",
        )
        rows.append(f"| {' | '.join(cells)} |")
        print(rows[-1], flush=True)
    RESULTS.write_text(_page(rows))


def _page(rows: list[str]) -> str:
    uname = os.uname()
    machine = f"Linux {uname.release} {uname.machine}, {os.cpu_count()} processors"
    lines = [
        "# What the runtime costs five systems",
        "",
        f"Python {sys.version.split()[0]}, {machine}; medians, in turn in one run of"
        " `python benchmarks/systems.py`.",
        "",
        "A run here has nothing to wait for, so that what the runtime adds is seen. In production one unit of"
        " work takes as long as the last but one column says; the share is of that.",
        "",
        "| system | durability | with the runtime | without | added | share in production | below 2 % |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *rows,
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
