"""What it costs to have a case run elsewhere, and how much faster two hosts are than one.

The hosts are processes here, reached through execnet as any other: they take jobs apart and answer at once,
or after some milliseconds in which they use no processor, as if they were other machines. Measured in turn in
one run, medians of several rounds. Writes ``benchmarks/results/dispatch.md``.
"""

from __future__ import annotations

import os
import pickle
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import psutil

from chaoskit.core.schedule import Schedule
from chaoskit.explore.execute import Serial
from chaoskit.explore.job import Expected, Job
from chaoskit.explore.observation import Observation
from chaoskit.explore.snapshot import FileEntry
from chaoskit.hosts.fleet import Fleet
from chaoskit.hosts.spread import BATCH, Spread
from chaoskit.hosts.wire import Frames, Unpacker, framed, write_all

RESULTS = Path(__file__).parent / "results" / "dispatch.md"
ROUNDS = 7
JOBS = 20 * BATCH
CASE = 0.005
FILES = 50


def answer(seconds: float) -> None:
    """Stand for the pytest on a host: every job takes so many seconds and shows nothing."""
    frames, unpacker = Frames(), Unpacker()
    while data := os.read(0, 1 << 20):
        for frame in frames.feed(data):
            message = unpacker.unpack(frame)
            if message[0] == "open":
                tell(("plan", message[1], "same"))
            elif message[0] == "jobs":
                answers = []
                for number, _ in message[2]:
                    time.sleep(seconds)
                    answers.append((number, Observation()))
                tell(("seen", message[1], answers))


def tell(message: object) -> None:
    """Answer."""
    write_all(1, framed(pickle.dumps(message, pickle.HIGHEST_PROTOCOL)))


def jobs() -> Sequence[Job]:
    """Jobs as a scenario has them: their own schedules, and one baseline with some files."""
    left = {f"data/{n}.json": FileEntry("file", 0o644, 300, "0" * 128, b"x" * 264) for n in range(FILES)}
    expected = Expected(left)
    return [Job(Schedule.parse(f"write(a.tmp)#{n}=EIO"), expected=expected) for n in range(1, JOBS + 1)]


@contextmanager
def spread(hosts: int, seconds: float) -> Iterator[Callable[[], float]]:
    """What measures one batch of jobs on so many hosts; the first connection is not in it."""
    words = [str(Path(__file__).resolve()), "--answer", str(seconds)]
    fleet = Fleet([f"popen//python={sys.executable}"] * hosts, words, {})
    given = jobs()

    def measured() -> float:
        began = time.perf_counter()
        assert len(list(executor.run(given))) == JOBS
        return time.perf_counter() - began

    executor = Spread(fleet, "bench", Serial(lambda job, watch: Observation()), {})
    executor.planned("same")
    measured()
    while any(host.state != "ready" for host in fleet.hosts):
        measured()
    try:
        yield measured
    finally:
        fleet.close()


def processor() -> float:
    """Seconds of processor time that this process and all below it have used."""
    me = psutil.Process()
    times = [process.cpu_times() for process in (me, *me.children(recursive=True))]
    return sum(one.user + one.system for one in times)


def main() -> None:
    """Measure and write the table."""
    with spread(1, 0.0) as idle:
        before = processor()
        for _ in range(ROUNDS):
            idle()
        used = (processor() - before) / ROUNDS
    with spread(1, 0.0) as idle, spread(1, CASE) as one, spread(2, CASE) as two:
        rounds = [(idle(), one(), two()) for _ in range(ROUNDS)]
    dispatch, alone, both = (median(column) for column in zip(*rounds, strict=True))
    ratio = median(one / two for _, one, two in rounds)
    lines = [
        "# What it costs to have a case run elsewhere",
        "",
        f"{JOBS} jobs in batches of {BATCH}, {ROUNDS} rounds in turn; CPython {platform.python_version()}.",
        "",
        "| | median |",
        "| --- | --- |",
        f"| dispatch of a case: sent, taken apart, answered | {dispatch / JOBS * 1e3:.2f} ms |",
        f"| processor time for that, of all processes together | {used / JOBS * 1e3:.2f} ms |",
        f"| cases of {CASE * 1e3:.0f} ms on one host | {alone / JOBS * 1e3:.2f} ms each |",
        f"| the same on two hosts | {both / JOBS * 1e3:.2f} ms each |",
        f"| two hosts against one | {ratio:.2f} × |",
        "",
    ]
    RESULTS.write_text("\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--answer"]:
        answer(float(sys.argv[2]))
    else:
        main()
