"""What files and snapshots cost, beside the same work by hand and beside other forms of state.

    python benchmarks/files.py [--write] [DIRECTORY]

All contestants of a table take turns in many short rounds, so that noise of the machine meets all alike;
a figure is the median over the rounds, a ratio the median of the ratios within one round. Times of writing
are the clock's, since waiting for the disk is what they are about; times of encoding are the processor's.
DIRECTORY is on the disk to be measured, else the system's temporary one. ``--write`` puts the tables into
``benchmarks/results/files.md``. Exits with 1 if a gate is missed.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import pickle
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd

from chaoskit.runtime import AppendLog, SignedPickle, Snapshots, StateCodec, open_atomic, write_file

ROUNDS = 40
RESULTS = Path(__file__).parent / "results" / "files.md"

Contestants = Mapping[str, Callable[[], object]]
Table = Mapping[str, list[float]]


# --- writing ------------------------------------------------------------------------------------------


def by_hand(directory: Path, sync: bool) -> Callable[[], object]:
    """The right way to replace a file, written out; or the same without its syncs."""
    number = itertools.count()

    def write() -> None:
        data = b"%1000d" % next(number)
        hidden = directory / "hand.tmp"
        descriptor = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        os.write(descriptor, data)
        if sync:
            os.fsync(descriptor)
        os.close(descriptor)
        os.replace(hidden, directory / "hand")
        if sync:
            descriptor = os.open(directory, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)

    return write


def ours(directory: Path, durability: Any) -> Callable[[], object]:
    number = itertools.count()
    return lambda: write_file(directory / "ours", b"%1000d" % next(number), durability=durability)


def ours_opened(directory: Path) -> Callable[[], object]:
    number = itertools.count()

    def write() -> None:
        with open_atomic(directory / "opened") as file:
            file.write(b"%1000d" % next(number))

    return write


def appending(directory: Path, sync: bool) -> Callable[[], object]:
    """Append and sync, without length, checksum and lock."""
    descriptor = os.open(directory / f"hand.log{sync}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    number = itertools.count()

    def append() -> None:
        os.write(descriptor, b"%100d" % next(number))
        if sync:
            os.fdatasync(descriptor)

    return append


def log(directory: Path, durability: Any) -> Callable[[], object]:
    opened = AppendLog(directory / f"{durability}.log", durability=durability)
    number = itertools.count()
    return lambda: opened.append(b"%100d" % next(number))


def writing(directory: Path) -> dict[str, Contestants]:
    """Tables of writing; the first row of each is what the others are compared with."""
    return {
        "1 kB replaced, synced": {
            "by hand: write, fsync, rename, fsync of the directory": by_hand(directory, True),
            "`write_file`": ours(directory, "power-loss"),
            "`open_atomic`": ours_opened(directory),
        },
        "1 kB replaced, not synced": {
            "by hand: write, rename": by_hand(directory, False),
            "`write_file`, process-crash": ours(directory, "process-crash"),
        },
        "100 bytes appended, synced": {
            "by hand: write, fdatasync": appending(directory, True),
            "`AppendLog.append`": log(directory, "power-loss"),
        },
        "100 bytes appended, not synced": {
            "by hand: write": appending(directory, False),
            "`AppendLog.append`, process-crash": log(directory, "process-crash"),
        },
    }


# --- state --------------------------------------------------------------------------------------------


def dictionaries() -> Any:
    return [{"id": i, "x": [i * 0.1] * 10, "ok": True} for i in range(500)]


def arrays() -> Any:
    chance = np.random.default_rng(7)
    return {"a": chance.random((1000, 1000)), "b": np.arange(100_000, dtype=np.int32)}


def table() -> Any:
    chance = np.random.default_rng(7)
    when = pd.date_range("2020", periods=50_000, freq="s")
    return pd.DataFrame({"a": chance.random(50_000), "s": [f"x{i}" for i in range(50_000)], "t": when})


def npz(state: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **state)
    return buffer.getvalue()


def un_npz(data: bytes) -> Any:
    return dict(np.load(io.BytesIO(data), allow_pickle=False))


Form = tuple[Callable[[Any], Any], Callable[[Any], Any]]

SIGNED = SignedPickle(b"k" * 32)
SHA, XXH = StateCodec(), StateCodec(checksum="xxh3")
CODECS: dict[str, Form] = {
    "pickle 5, without a checksum": (lambda state: pickle.dumps(state, 5), pickle.loads),
    "`StateCodec(checksum='xxh3')`": (XXH.dumps, XXH.loads),
    "the same in pieces, without joining them": (XXH.pieces, lambda pieces: XXH.loads(b"".join(pieces))),
    "`StateCodec()`": (SHA.dumps, SHA.loads),
    "`SignedPickle`": (SIGNED.dumps, SIGNED.loads),
}
OTHERS: dict[str, dict[str, Form]] = {
    "500 dictionaries": {"json": (json.dumps, json.loads)},
    "8.4 MB of NumPy arrays": {"npz": (npz, un_npz)},
    "table of pandas, 50,000 rows": {},
}
GATES = {
    ("500 dictionaries, save", "`StateCodec(checksum='xxh3')`"): 1.0,
    ("500 dictionaries, save", "`StateCodec()`"): 1.0,
    ("8.4 MB of NumPy arrays, save", "`StateCodec(checksum='xxh3')`"): 3.0,
    ("8.4 MB of NumPy arrays, save", "the same in pieces, without joining them"): 3.0,
}
"""Milliseconds of processor time."""


def encoding() -> dict[str, Contestants]:
    """Tables of saving to memory and of loading from it."""
    tables: dict[str, Contestants] = {}
    for (name, others), state in zip(OTHERS.items(), (dictionaries(), arrays(), table()), strict=True):
        forms = {**CODECS, **others}
        saved = {form: save(state) for form, (save, _) in forms.items()}
        tables[f"{name}, save"] = {form: _bound(save, state) for form, (save, _) in forms.items()}
        tables[f"{name}, load"] = {form: _bound(load, saved[form]) for form, (_, load) in forms.items()}
    return tables


def keeping(directory: Path) -> dict[str, Contestants]:
    """A table of whole saves, the file included."""
    state = arrays()
    made = {
        level: Snapshots(directory / level, codec=XXH, durability=level, keep=3)  # type: ignore[arg-type]
        for level in ("process-crash", "power-loss")
    }
    data = pickle.dumps(state, 5)
    plain = directory / "plain"
    return {
        "8.4 MB of NumPy arrays, to a file": {
            "pickle 5, written in place, not synced": lambda: plain.write_bytes(pickle.dumps(state, 5)),
            "only its bytes": lambda: plain.write_bytes(data),
            "`Snapshots.save`, process-crash, xxh3": lambda: made["process-crash"].save(state),
            "`Snapshots.save`, power-loss, xxh3": lambda: made["power-loss"].save(state),
        }
    }


def _bound(fn: Callable[[Any], Any], argument: Any) -> Callable[[], object]:
    return lambda: fn(argument)


# --- measuring ----------------------------------------------------------------------------------------


def measured(contestants: Contestants, clock: Callable[[], float], rounds: int) -> Table:
    """Milliseconds of each, one in each round, in turn."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(rounds + 1):
        for name, fn in contestants.items():
            begun = clock()
            fn()
            if turn:  # The first round warms up.
                times[name].append((clock() - begun) * 1e3)
    return times


def lines(title: str, times: Table) -> list[str]:
    first = next(iter(times.values()))
    rows = [f"| {title} | ms | × the first |", "| --- | ---: | ---: |"]
    for name, row in times.items():
        ratio = median(one / other for one, other in zip(row, first, strict=True))
        rows.append(f"| {name} | {median(row):.3g} | {ratio:.2f} |")
    return [*rows, ""]


def main(arguments: list[str]) -> int:
    """Measure, print, and compare with the gates; the exit status."""
    text, missed = [], []
    places = [one for one in arguments if one != "--write"]
    with tempfile.TemporaryDirectory(dir=places[0] if places else None) as name:
        directory = Path(name)
        for title, contestants in {**writing(directory), **keeping(directory)}.items():
            text += lines(title, measured(contestants, time.perf_counter, ROUNDS))
    for title, contestants in encoding().items():
        times = measured(contestants, time.thread_time, ROUNDS if "table" not in title else 5)
        text += lines(title, times)
        for form, row in times.items():
            limit = GATES.get((title, form))
            if limit is not None and median(row) > limit:
                missed.append(f"{title}, {form}: {median(row):.3g} ms; the gate is {limit} ms")
    head = f"CPython {platform.python_version()}, medians of {ROUNDS} interleaved rounds (tables: 5).\n"
    page = "\n".join(["# What files and snapshots cost\n", head, *text])
    print(page)
    if "--write" in arguments:
        RESULTS.write_text(page.rstrip() + "\n", encoding="utf-8")
    print(*missed, sep="\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
