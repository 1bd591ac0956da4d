"""The judge that confirms findings, against the brute-force reference and against its own broken rules."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from reference import Judge as Reference
from reference import World, freeze
from test_oracle import _OPS, START, few_steps, run

from chaoskit.explore.crash import crash_states, script
from chaoskit.explore.crash.materialise import tree_of
from chaoskit.explore.crash.steps import mask_of
from chaoskit.explore.crash.tables import Tables

sys.path.insert(0, str(Path(__file__).parents[3]))
from scenarios.durability.judge import MODELS, Judge


@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=120, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(ops=st.lists(_OPS, min_size=2, max_size=8))
def test_of_all_sets_of_steps_the_judge_allows_those_that_the_reference_allows(
    model: str, ops: list[tuple[object, ...]]
) -> None:
    """Every set after every operation: what either allows leaves the same trees. Torn writes apart."""
    trace, before = run(ops)
    assume(few_steps(trace, before))
    split = script(trace, before)
    tables, reference = Tables(split), Reference(World(trace, START), model)
    for operation in trace:
        judge = Judge(split, model, operation.index)
        numbers = [step.index for step in judge.steps]
        allowed = set()
        for kept in itertools.chain.from_iterable(
            itertools.combinations(numbers, count) for count in range(len(numbers) + 1)
        ):
            if not any(judge.objections(mask_of(kept))):
                allowed.add(freeze(tree_of(tables, mask_of(kept))))
        assert allowed == whole_states(reference, operation.index)


def test_btrfs_may_take_steps_out_of_turn_with_a_sync() -> None:
    """A rename comes along with the sync of its file, although an earlier removal is still to come."""
    trace, before = run([("unlink", "b"), ("rename", "a", "n"), ("overwrite", "n", b"x", "fdatasync")])
    split = script(trace, before)
    judge = Judge(split, "btrfs", trace.operations[-1].index)
    everything = mask_of(step.index for step in judge.steps)
    unlinked = mask_of(step.index for step in judge.steps if trace[step.operation].call == "unlink")
    assert not any(judge.objections(everything & ~unlinked))
    assert any(Judge(split, "xfs", trace.operations[-1].index).objections(everything & ~unlinked))
    tree = freeze(tree_of(Tables(split), everything & ~unlinked))
    reference = Reference(World(trace, START), "btrfs")
    assert tree in whole_states(reference, trace.operations[-1].index)


def test_a_large_write_may_be_torn_between_blocks_everywhere() -> None:
    """Also on btrfs, where a block is whole or not there at all."""
    trace, before = run([("overwrite", "b", b"L" * 40_000, ""), ("promise",)])
    for model in MODELS:
        states = crash_states(script(trace, before), model)
        judge = Judge(states.script, model, 1)
        torn = [s for s in states if s.moment.operation == 1 and s.persisted & ~s.moment.present]
        assert torn
        assert not any(list(judge.objections(state.persisted, state.garbage)) for state in torn)


def whole_states(reference: Reference, op: int) -> set[object]:
    """The trees that the reference allows without tearing anything."""
    past = {micro.number for micro in reference.world.micro if micro.op <= op}
    must = reference.durable(op)
    free, needed = sorted(past - must), reference._needed(op)
    found = set()
    for count in range(len(free) + 1):
        for extra in itertools.combinations(free, count):
            kept = must | set(extra)
            if all(needed[number] <= kept for number in extra):
                found.add(reference.tree(kept))
    return found


@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(ops=st.lists(_OPS, min_size=2, max_size=10))
def test_what_is_enumerated_has_no_objections(model: str, ops: list[tuple[object, ...]]) -> None:
    """Torn writes and garbage included, and traces that are too long for brute force."""
    trace, before = run(ops)
    states = crash_states(script(trace, before), model)
    judges = {operation.index: Judge(states.script, model, operation.index) for operation in trace}
    for state in states:
        assert list(judges[state.moment.operation].objections(state.persisted, state.garbage)) == []


def test_an_illegal_state_is_refused_with_the_rule() -> None:
    """A synced write that is missing, and a rename that is there without what came before it."""
    trace, before = run([("create", "n", b"x", "fsync"), ("rename", "n", "a"), ("unlink", "b")])
    split = script(trace, before)
    last = trace.operations[-1].index
    judge = Judge(split, "xfs", last)
    everything = mask_of(step.index for step in judge.steps)
    data = next(step.index for step in judge.steps if step.payload is not None)
    renamed = next(s.index for s in judge.steps if trace[s.operation].call == "rename")
    assert not any(judge.objections(everything))
    assert "made durable by operation" in next(judge.objections(everything & ~(1 << data))).rule
    objections = list(judge.objections(everything & ~(1 << renamed)))
    assert {one.rule for one in objections} == {"there without what it needs"}


def test_a_model_that_does_not_exist_is_refused() -> None:
    """The error lists those that do."""
    trace, before = run([("promise",), ("promise",)])
    with pytest.raises(ValueError, match=r"zfs.*ext4, ext4-ordered, xfs, btrfs, portable, strict"):
        Judge(script(trace, before), "zfs", 0)
