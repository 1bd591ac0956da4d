"""The sets by which crash states are explained."""

from __future__ import annotations

from typing import Any, cast

from chaoskit.explore.crash.steps import Script, Step, StepKind, bits
from chaoskit.explore.crash.traits import traits_of


def test_steps_that_are_seen_late_belong_to_their_own_operation() -> None:
    """A store to a mapped file stands behind later steps; it counts from the call that mapped the file."""
    operations = [0, 1, 1, 3, 0, 4, 2, 4]
    steps = tuple(Step(index, made_by, StepKind.DATA, 7) for index, made_by in enumerate(operations))
    traits = traits_of(Script(cast(Any, ()), cast(Any, None), (), steps, (), ()))
    for operation in range(6):
        before = [index for index, made_by in enumerate(operations) if made_by < operation]
        assert list(bits(traits.before(operation))) == before
