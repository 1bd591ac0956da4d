"""What checkpoints cost a healthy run of many short items, beside the same run without them.

    python benchmarks/batch.py [--write] [--directory DIR] [--rounds N] [--first]

Each round does the same items in five ways, in an order that changes: a plain loop, and at both levels
``Checkpoints.batch`` and a claim for each item by itself. An item waits 5 ms, as one that asks a service
does. A figure is the median of the ratios within a round; beside it stands the processor time that an item
costs more, which other programs on the machine change less. With ``--first`` this process goes before all
others (Linux, as root), so that a busy machine wakes no sleeper late. ``--write`` puts the table into
``benchmarks/results/batch.md``. Exits with 1 if the gate is missed.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median, quantiles

from chaoskit.runtime import Checkpoints

ITEM = 0.005
ITEMS = 250
"""In a round; 40 rounds are ten times the thousand of the gate."""
ROUNDS = 40
GATE = 0.02
"""Of ``batch`` at the level process-crash, as a part of the plain loop."""
RESULT = Path(__file__).parent / "results" / "batch.md"
PLAIN, GATED = "a plain loop", "`batch`, process-crash"

Run = Callable[[list[str]], None]


def work(key: str) -> dict[str, object]:
    time.sleep(ITEM)
    return {"file": f"{key}.fits", "ok": True}


def plain(keys: list[str]) -> None:
    for key in keys:
        work(key)


def batched(checkpoints: Checkpoints) -> Run:
    def run(keys: list[str]) -> None:
        with checkpoints.batch(keys) as batch:
            for claim in batch:
                with claim:
                    claim.complete(work(claim.key))

    return run


def one_by_one(checkpoints: Checkpoints) -> Run:
    def run(keys: list[str]) -> None:
        for key in keys:
            claim = checkpoints.claim(key)
            assert claim is not None
            with claim:
                claim.complete(work(key))

    return run


def contestants(directory: Path, stack: ExitStack) -> Iterator[tuple[str, Run]]:
    yield PLAIN, plain
    for level in ("process-crash", "power-loss"):
        path = directory / f"{level}.db"
        checkpoints = stack.enter_context(Checkpoints(path, durability=level))  # type: ignore[arg-type]
        yield f"`batch`, {level}", batched(checkpoints)
        yield f"a claim for each, {level}", one_by_one(checkpoints)


def measure(directory: Path, rounds: int) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Seconds of each way, round by round: by the clock, and of the processor."""
    order = random.Random(1)
    with ExitStack() as stack:
        runs = dict(contestants(directory, stack))
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        busy: dict[str, list[float]] = {name: [] for name in runs}
        for turn in range(rounds):
            for name in order.sample(list(runs), len(runs)):
                keys = [f"{name}-{turn}-{n}" for n in range(ITEMS)]
                begun, used = time.perf_counter(), time.process_time()
                runs[name](keys)
                seconds[name].append(time.perf_counter() - begun)
                busy[name].append(time.process_time() - used)
    return seconds, busy


def overheads(seconds: dict[str, list[float]]) -> dict[str, list[float]]:
    """What each way takes longer than the plain loop of its round, as a part of that."""
    return {
        name: [one / bare - 1 for one, bare in zip(row, seconds[PLAIN], strict=True)]
        for name, row in seconds.items()
        if name != PLAIN
    }


def table(seconds: dict[str, list[float]], busy: dict[str, list[float]]) -> list[str]:
    lines = ["| way | longer than a plain loop, median | quartiles | gate | processor, µs an item |"]
    lines.append("|---|---|---|---|---|")
    for name, parts in overheads(seconds).items():
        low, middle, high = quantiles(parts, n=4)
        gate = f"{GATE:.0%}" if name == GATED else ""
        more = (median(busy[name]) - median(busy[PLAIN])) / ITEMS * 1e6
        lines.append(f"| {name} | {middle:.1%} | {low:.1%} to {high:.1%} | {gate} | {more:.0f} |")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--directory", default=tempfile.gettempdir())
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--first", action="store_true")
    asked = parser.parse_args()
    if asked.first:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    with tempfile.TemporaryDirectory(dir=asked.directory) as directory:
        seconds, busy = measure(Path(directory), asked.rounds)
    lines = table(seconds, busy)
    print("\n".join(lines))
    if asked.write:
        head = "# What checkpoints cost a healthy run"
        command = f"python benchmarks/batch.py --write{' --first' * asked.first}"
        made = f"Made by `{command}`: {asked.rounds} rounds of {ITEMS} items of 5 ms."
        about = (
            f"CPython {platform.python_version()}; a plain loop took {median(seconds[PLAIN]):.2f} s a round."
        )
        # A busy machine wakes sleepers late, and each way is charged for it. With ``--first`` it does not,
        # but what others leave in the caches makes each item dearer than it is alone.
        about += f" The load was {os.getloadavg()[1]:.0f} on {os.cpu_count()} processors."
        RESULT.write_text("\n\n".join([head, f"{made} {about}", "\n".join(lines)]) + "\n", "utf-8")
    middle = median(overheads(seconds)[GATED])
    if middle >= GATE:
        print(f"missed: {GATED} takes {middle:.1%} longer, the gate is {GATE:.0%}", file=sys.stderr)
    return 1 if middle >= GATE else 0


if __name__ == "__main__":
    sys.exit(main())
