"""The S rows in which processes are killed, race with each other, or inherit an open store."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import ExitStack
from itertools import takewhile
from typing import Any

from hypothesis import strategies as st

from chaoskit.contracts.report import Row, demand
from chaoskit.contracts.store_adapter import StoreAdapter, StoreSubject
from chaoskit.contracts.store_rows.forked import calls_in, child, die, dying_at, lines

__all__ = ["KILLED"]

POINTS = 8
"""One example kills a save at about this many of its calls; the next example at their neighbours."""
HUNG = 20
"""Seconds after which a child that uses an inherited store counts as hanging."""


def fill(store: StoreSubject, key: str, count: int, size: int) -> None:
    """Save the numbers from 1 to ``count``, each as a list of ``size`` copies."""
    for n in range(1, count + 1):
        store.save(key, [n] * size)


def in_child(adapter: StoreAdapter, place: str, work: Callable[[StoreSubject], object]) -> int | None:
    """The number that ``work`` returns in a child that has opened the store; None if the child died."""

    def run(write: int) -> None:
        with adapter.open(place) as store:
            os.write(write, f"{work(store)}\n".encode())

    with child(run) as (_, read):
        said = list(lines(read))
    return int(said[0]) if said else None


def found(adapter: StoreAdapter, place: str, key: str) -> Any:
    """What a reader finds: the value, None if there is none, or the reader's error."""
    with adapter.open(place) as store:
        try:
            return store.load(key)
        except KeyError:
            return None
        # An error is kept as the finding: a record that cannot be loaded is neither value.
        except Exception as error:
            return error


def old_or_new(adapter: StoreAdapter, example: tuple[int, int, int]) -> None:
    """S1: wherever in a save a process is killed, a reader sees the complete old value or the new one."""
    before, size, shift = example
    old, new = [before] * size, [before + 1] * size

    def count(store: StoreSubject) -> int:
        fill(store, "counted", before, size)
        return calls_in(lambda: store.save("counted", new))

    with adapter.place() as place:
        calls = in_child(adapter, place, count) or 0
        stride = max(1, calls // POINTS)
        for call in range(shift % stride, calls + 1, stride):

            def save(store: StoreSubject, call: int = call) -> None:
                fill(store, f"k{call}", before, size)
                dying_at(call, lambda: store.save(f"k{call}", new))

            in_child(adapter, place, save)
            there = found(adapter, place, f"k{call}")
            demand(
                there in (old, new),
                f"killed at call {call} of the {calls} of a save, after {before} that ended, there is "
                + ("no value" if there is None else f"neither the old nor the new value: {str(there)[:60]}"),
            )


def acknowledged(adapter: StoreAdapter, example: tuple[int, int]) -> None:
    """S2: a value that was acknowledged before a kill is there after it."""
    count, size = example

    def save(store: StoreSubject) -> None:
        fill(store, "k", count, size)
        die()

    with adapter.place() as place:
        in_child(adapter, place, save)
        there = found(adapter, place, "k")
    demand(there == [count] * size, f"{count} was acknowledged; after the kill there is {str(there)[:60]}")


def steps_end_once(adapter: StoreAdapter, example: int) -> None:
    """S3: a step whose process was killed runs again, a finished one does not; attempts are counted."""
    with adapter.place() as place:
        for _ in range(example):

            def begin(write: int) -> None:
                with adapter.open(place) as store:
                    store.step("s", die)

            with child(begin) as (_, read):
                list(lines(read))
        ran: list[int] = []
        with adapter.open(place) as store:

            def work() -> str:
                ran.append(1)
                return "result"

            results = [store.step("s", work) for _ in range(3)]
            counted = store.attempts("s")
    demand(ran, f"killed {example} times, the step counts as done and never ran to its end")
    demand(len(ran) == 1, f"the step ran {len(ran)} times after it was done")
    demand(results == ["result"] * 3, f"the results of the step were {results}")
    demand(
        counted in (None, example + 1), f"{example} killed attempts and one more were counted as {counted}"
    )


def one_claims(adapter: StoreAdapter, example: int) -> None:
    """S4: if several processes claim each record at the same time, exactly one gets it."""
    keys = [f"job-{n}" for n in range(10)]
    with adapter.place() as place:
        with adapter.open(place) as store:
            store.save("there", 1)

        def claim(write: int) -> None:
            with adapter.open(place) as store:
                for key in keys:
                    if store.claim(key) is not None:
                        os.write(write, f"{key}\n".encode())
                os.write(write, b"end\n")
                # Stay alive until all have tried: the claims of a dead process are free again.
                signal.pause()

        with ExitStack() as running:
            reads = [running.enter_context(child(claim))[1] for _ in range(example)]
            got = [line for read in reads for line in takewhile(b"end".__ne__, lines(read))]
    for key in keys:
        times = got.count(key.encode())
        demand(times == 1, f"{key} was claimed by {times} of {example} processes at once")


def carried_across(adapter: StoreAdapter, example: bool) -> None:
    """S10: in a forked child an open store is refused or works; the parent's store goes on as before."""
    with adapter.place() as place, adapter.open(place) as store:
        store.save("before", "good")

        def use(write: int) -> None:
            # A store that waits for a thread or a lock of the parent would wait forever.
            signal.alarm(HUNG)
            try:
                store.save("child", "good")
            except Exception:
                os.write(write, b"refused\n")
            else:
                os.write(write, b"saved\n")

        with child(use) as (_, read):
            said = list(lines(read))
        demand(said in ([b"refused"], [b"saved"]), f"the child neither saved nor was refused: {said}")
        if example:
            store.save("after", "good")
            _demand_value(store, "after")
        _demand_value(store, "before")
        if said == [b"saved"]:
            _demand_value(store, "child")


def _demand_value(store: StoreSubject, key: str) -> None:
    try:
        found: Any = store.load(key)
    except Exception as error:
        found = error
    demand(found == "good", f"after the fork the value of {key!r} is {found!r}")


_SIZES = st.sampled_from([1, 500, 20_000])
_FORK = frozenset({"fork"})

KILLED = (
    Row(
        "S1",
        "Kill at any operation: a reader sees the old or the new value, never neither, never a mix.",
        old_or_new,
        st.tuples(st.integers(1, 3), _SIZES, st.integers(0, 50)),
        needs=_FORK,
    ),
    Row(
        "S2",
        "A save that returned is there after a kill of the process.",
        acknowledged,
        st.tuples(st.integers(1, 6), _SIZES),
        needs=_FORK,
    ),
    Row(
        "S3",
        "A step recorded as done never runs again; one not recorded runs, its attempts counted before.",
        steps_end_once,
        st.integers(0, 2),
        needs=_FORK | {"steps"},
    ),
    Row(
        "S4", "Of two recoverers exactly one claims.", one_claims, st.integers(2, 3), needs=_FORK | {"claims"}
    ),
    Row(
        "S10",
        "A store carried across a fork is refused or reopened, never shared.",
        carried_across,
        st.booleans(),
        needs=_FORK,
    ),
)
