"""How fast crash states are enumerated, and how fast they are checked.

    python benchmarks/crash_states.py            # prints the table
    python benchmarks/crash_states.py --write    # and commits it to benchmarks/results/crash_states.md

Each figure is the median of several rounds that take turns, so that a noisy machine hurts all alike.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from chaoskit.explore.crash import DEFAULT, CrashStates, Materialiser, Script, Snapshot, crash_states, script

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

from crash_recorder import Recorder

ROUNDS = 7
MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None
RESULT = Path(__file__).parent / "results" / "crash_states.md"


def recorded(setup: Callable[[Recorder], None], work: Callable[[Recorder], None]) -> Script:
    """The script of ``work``, run after ``setup`` in a directory in memory."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as place:
        setup(Recorder(place))
        before, recorder = Snapshot.take(place), Recorder(place)
        work(recorder)
        for fd in recorder.descriptors:
            os.close(fd)
        return script(recorder.trace(), before)


def ten_files(r: Recorder) -> None:
    """A workspace of ten files, 1 to 10 kB."""
    for number in range(10):
        r.put(f"f{number}", b"x" * 1000 * (number + 1))


def replacing(r: Recorder) -> None:
    """Files of the workspace are replaced, with more and less discipline."""
    for number in range(40):
        r.put("tmp", b"N" * 3000, sync=number % 3 == 0)
        r.rename("tmp", f"f{number % 10}")
        if number % 5 == 4:
            r.sync_path(".")
        r.promise(number)


def nothing(r: Recorder) -> None:
    """An empty workspace."""


def many_files(count: int) -> Callable[[Recorder], None]:
    """Files are created and nothing is ever synced: the worst case, everything stays open."""

    def work(r: Recorder) -> None:
        for number in range(count):
            r.put(f"f{number}", b"x" * 100)

    return work


def many_records(count: int) -> Callable[[Recorder], None]:
    """Records are appended to one file."""

    def work(r: Recorder) -> None:
        fd = r.open("log", os.O_WRONLY | os.O_CREAT)
        for number in range(count):
            r.write(fd, b"record %06d\n" % number)

    return work


def large_write(megabytes: int) -> Callable[[Recorder], None]:
    """One write of a large file."""

    def work(r: Recorder) -> None:
        r.put("f", os.urandom(megabytes << 20))

    return work


def seconds(action: Callable[[], object]) -> float:
    """How long ``action`` takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def checked(states: CrashStates, place: str) -> float:
    """Distinct states a second that are written and looked at: every file is read."""
    materialiser, chosen = Materialiser(states), list(states)[:1500]

    def all_of_them() -> None:
        for state in chosen:
            materialiser.write(state, place)
            for name in os.listdir(place):
                with open(os.path.join(place, name), "rb") as file:
                    file.read()

    return len(chosen) / seconds(all_of_them)


def write_all(states: CrashStates, place: str) -> None:
    """Write each state into one directory."""
    materialiser = Materialiser(states)
    for state in states:
        materialiser.write(state, place)


def table() -> list[tuple[str, str, str]]:
    """What was measured: what, figure, what is asked for."""
    work = recorded(ten_files, replacing)
    states = crash_states(work)
    rates: dict[str, list[float]] = {"real": [], "strict": [], "checked": []}
    sizes = (1000, 2000, 4000, 8000)
    prefix: dict[tuple[str, int], list[float]] = {}
    scripts = {(n, c): recorded(nothing, f(c)) for n, f in (("files", many_files), ("records", many_records))
               for c in sizes}  # fmt: skip
    with tempfile.TemporaryDirectory(dir=MEMORY) as place:
        for turn in range(ROUNDS):
            for name, models in (("real", DEFAULT), ("strict", ("strict",))):
                rates[name].append(states_a_second(work, models))
            rates["checked"].append(checked(states, place))
            for key, split in scripts.items() if turn % 2 == 0 else ():
                took = seconds(lambda split=split: crash_states(split, "ext4", prefixes_only=True))
                prefix.setdefault(key, []).append(1e6 * took / len(split.trace))
    rows = [
        ("enumerated, ext4 + xfs + btrfs", f"{statistics.median(rates['real']):,.0f} states/s", "≥ 20,000"),
        ("enumerated, strict", f"{statistics.median(rates['strict']):,.0f} states/s", "≥ 20,000"),
        ("distinct of those, ext4 + xfs + btrfs", str(states.counts), ""),
        (
            "written and every file read, ten files",
            f"{statistics.median(rates['checked']):,.0f} states/s",
            "≥ 300",
        ),
    ]
    for name in ("files", "records"):
        costs = [f"{statistics.median(prefix[name, count]):.0f}" for count in sizes]
        asked = "the same for each" if name == "files" else ""
        rows.append(
            (f"prefixes, {name}: µs an operation at {', '.join(map(str, sizes))}", " / ".join(costs), asked)
        )
    return rows + large_writes()


def large_writes() -> list[tuple[str, str, str]]:
    """What one large write costs, by its size: to enumerate, and to write one state."""
    sizes, found, written = (4, 8, 16), [], []
    for size in sizes:
        split = recorded(nothing, large_write(size))
        enumerations = [seconds(lambda split=split: crash_states(split)) for _ in range(3)]
        found.append(f"{1000 * statistics.median(enumerations) / size:.0f}")
        states = crash_states(split)
        with tempfile.TemporaryDirectory(dir=MEMORY) as place:
            took = seconds(lambda states=states, place=place: write_all(states, place))
        written.append(f"{1000 * took / len(states) / size:.1f}")
    which = f"at {', '.join(map(str, sizes))} MB"
    return [
        (f"one large write, enumerated: ms a MB {which}", " / ".join(found), "the same for each"),
        (f"one large write, a state written: ms a MB {which}", " / ".join(written), "the same for each"),
    ]


def states_a_second(work: Script, models: tuple[str, ...]) -> float:
    """Enumerated states (before equal ones are found) a second, hashing included."""
    possible = crash_states(work, models).counts.possible
    return possible / seconds(lambda: crash_states(work, models))


def main() -> None:
    """Measure, print, perhaps write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    lines = ["# Crash states", "", "| what | measured | asked for |", "|---|---|---|"]
    lines += [f"| {what} | {figure} | {asked} |" for what, figure, asked in table()]
    lines += [
        "",
        f"One core, CPython {platform.python_version()}, Linux {platform.release().split('-')[0]},"
        " medians of rounds that take turns. `python benchmarks/crash_states.py --write` repeats it.",
    ]
    print("\n".join(lines))
    if arguments.write:
        RESULT.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
