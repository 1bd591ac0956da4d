"""Random small traces: what is enumerated against a brute-force reference that shares no code."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable

import pytest
from budgets import tried
from crash_recorder import Recorder
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from reference import World, freeze

from chaoskit.core.operation import Trace
from chaoskit.explore.crash import Snapshot, crash_states, script, state_tree

START = {"a": b"old a", "b": b"B" * 4100}
MODELS = ("ext4", "ext4-ordered", "xfs", "btrfs", "portable", "strict")
EVERYTHING = 10**9
KEEP_SIZE = 1
_NAMES = st.sampled_from(["a", "b", "n", "d/a", "d/n"])
_DATA = st.sampled_from([b"x", b"yz" * 10, b"S" * 600, b"P" * 4200])
_OPS = st.one_of(
    st.tuples(st.just("create"), _NAMES, _DATA, st.sampled_from(["", "fsync", "fdatasync"])),
    st.tuples(st.just("rewrite"), _NAMES, _DATA, st.sampled_from(["", "fsync"])),
    st.tuples(st.just("append"), _NAMES, _DATA, st.sampled_from(["", "fsync", "fdatasync"])),
    st.tuples(st.just("overwrite"), _NAMES, _DATA, st.sampled_from(["", "fsync", "fdatasync"])),
    st.tuples(st.just("rename"), _NAMES, _NAMES),
    st.tuples(st.just("link"), _NAMES, _NAMES),
    st.tuples(st.just("unlink"), _NAMES),
    st.tuples(st.just("truncate"), _NAMES, st.sampled_from([0, 3, 4097])),
    st.tuples(
        st.just("allocate"), _NAMES, st.sampled_from([3, 5000]), st.sampled_from([0, KEEP_SIZE]), _DATA
    ),
    st.tuples(st.just("map"), _NAMES, _DATA, st.sampled_from([0, 4090, 4096]), st.sampled_from([0, 4096])),
    st.tuples(st.just("mkdir"), st.just("d")),
    st.tuples(st.just("sync_path"), st.sampled_from([".", "d", "a", "n"]), st.booleans()),
    st.tuples(st.just("chmod"), _NAMES, st.sampled_from([0o600, 0o755])),
    st.tuples(st.just("sync")),
    st.tuples(st.just("promise")),
)


def play(r: Recorder, op: tuple[object, ...]) -> None:
    """One step of a random program; what cannot be done is simply not done."""
    kind, *rest = op
    flags = {
        "create": os.O_WRONLY | os.O_CREAT,
        "rewrite": os.O_WRONLY | os.O_TRUNC,
        "append": os.O_WRONLY | os.O_APPEND,
        "overwrite": os.O_WRONLY,
    }.get(kind)  # type: ignore[call-overload]
    try:
        if flags is not None:
            name, data, sync = rest
            fd = r.open(name, flags)  # type: ignore[arg-type]
            r.write(fd, data)  # type: ignore[arg-type]
            if sync:
                getattr(r, sync)(fd)  # type: ignore[call-overload]
            r.close(fd)
        elif kind == "truncate":
            fd = r.open(rest[0], os.O_WRONLY)  # type: ignore[arg-type]
            r.truncate(fd, rest[1])  # type: ignore[arg-type]
            r.close(fd)
        elif kind == "allocate":
            name, length, mode, data = rest
            fd = r.open(name, os.O_WRONLY | os.O_CREAT)  # type: ignore[arg-type]
            r.fallocate(fd, 0, length, mode)  # type: ignore[arg-type]
            r.write(fd, data)  # type: ignore[arg-type]
            r.close(fd)
        elif kind == "map":
            name, data, offset, synced = rest
            fd = r.open(name, os.O_RDWR)  # type: ignore[arg-type]
            # Not behind the end: what a gap does is in test_states.
            r.write(fd, data, min(offset, os.fstat(fd).st_size))  # type: ignore[arg-type,call-overload]
            r.msync(fd, synced, 4096)  # type: ignore[arg-type]
            r.close(fd)
        elif kind == "promise":
            r.promise(None)
        else:
            getattr(r, kind)(*rest)  # type: ignore[call-overload]
    except OSError:
        pass


def run(ops: list[tuple[object, ...]]) -> tuple[Trace, Snapshot]:
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as directory:
        setup = Recorder(directory)
        for name, data in START.items():
            setup.put(name, data)
        before = Snapshot.take(directory)
        recorder = Recorder(directory)
        for op in ops:
            play(recorder, op)
        return recorder.trace(), before


def promises_until(trace: Trace, operation: int) -> int:
    return sum(op.call == "promise" for op in trace.operations[: operation + 1])


def referee(trace: Trace, model: str) -> set[object]:
    """Every (tree, promises) that the reference allows, after any operation."""
    from reference import Judge

    judge = Judge(World(trace, START), model)
    return {(tree, promises_until(trace, op.index)) for op in trace for tree in judge.states(op.index)}


def few_steps(trace: Trace, before: Snapshot) -> bool:
    steps = script(trace, before)
    return sum(step.torn_from is None for step in steps.steps) <= 10


def enumerated(trace: Trace, before: Snapshot, model: str, exhaustive: int) -> set[object]:
    states = crash_states(script(trace, before), model, exhaustive=exhaustive)
    return {(freeze(state_tree(states, state)), state.moment.promises) for state in states}


def initial(promises: int = 0) -> object:
    return (freeze(START), promises)


_common: Callable[..., object] = settings(
    max_examples=tried(250), deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


@pytest.mark.parametrize("model", MODELS)
@_common
@given(st.lists(_OPS, min_size=2, max_size=8))
def test_all_states_of_a_small_trace_are_those_of_the_reference(
    model: str, ops: list[tuple[object, ...]]
) -> None:
    """Where all legal states can be taken, they are exactly those that brute force finds."""
    trace, before = run(ops)
    assume(few_steps(trace, before))
    assert enumerated(trace, before, model, EVERYTHING) | {initial()} == referee(trace, model) | {initial()}


@pytest.mark.parametrize("model", MODELS)
@_common
@given(st.lists(_OPS, min_size=2, max_size=8))
def test_the_families_never_leave_what_the_reference_allows(
    model: str, ops: list[tuple[object, ...]]
) -> None:
    """Families, which stand for all states of a long trace, contain nothing illegal."""
    trace, before = run(ops)
    assume(few_steps(trace, before))
    assert enumerated(trace, before, model, 0) <= referee(trace, model) | {initial()}
