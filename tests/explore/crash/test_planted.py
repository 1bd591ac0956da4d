"""Programs with a planted power-loss bug: found where the model says it is one, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from programs import ALL, PROGRAMS, Program

from chaoskit.explore.crash import CrashState, CrashStates, explain, simplest, state_tree

EACH = pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.name.replace(" ", "-"))


def broken(program: Program, states: CrashStates) -> list[CrashState]:
    return [s for s in states if not program.check(state_tree(states, s), states.promised(s))]


@EACH
def test_a_planted_bug_is_found_under_exactly_the_models_that_have_it(
    program: Program, states_of: Callable[..., CrashStates]
) -> None:
    """The union of the models of all broken states is where the bug is one."""
    found = {m for s in broken(program, states_of(program.setup, program.wrong)) for m in s.models}
    assert found == set(program.found)


@EACH
@pytest.mark.parametrize("exhaustive", [0, 64, 100_000])
def test_the_corrected_twin_is_clean_under_every_model(
    program: Program, exhaustive: int, states_of: Callable[..., CrashStates]
) -> None:
    """However many states are taken, correct discipline is never blamed."""
    states = states_of(program.setup, program.right, exhaustive=exhaustive)
    assert not broken(program, states)


@EACH
def test_families_alone_find_every_planted_bug(
    program: Program, states_of: Callable[..., CrashStates]
) -> None:
    """Where there are too many states to take all, each bug is found still, under the same models."""
    states = states_of(program.setup, program.wrong, exhaustive=0)
    assert {m for s in broken(program, states) for m in s.models} == set(program.found)


@EACH
def test_the_simplest_broken_state_blames_the_right_call(
    program: Program, states_of: Callable[..., CrashStates]
) -> None:
    """The advice is of the expected kind, names a call of the trace, and its fix is three lines at most."""
    states = states_of(program.setup, program.wrong)
    advice = explain(states.script, simplest(broken(program, states)))
    assert advice.kind == program.blamed
    assert 0 <= advice.operation < len(states.script.trace)
    assert advice.text
    assert advice.fix.count("\n") <= 2


def test_there_are_at_least_fifteen_kinds() -> None:
    """No kind of bug is planted twice, and there are enough of them."""
    assert len({p.name for p in PROGRAMS}) == len(PROGRAMS) >= 15
    assert all(set(p.found) <= set(ALL) for p in PROGRAMS)
