"""The key of a model's rules: the same for the same answers, another one for each rule that is changed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

import pytest
from answers import corpus, key_of
from bed import Execution
from disk_programs import DiskRecorder, Hidden, Program, base, run
from rules import WRONG

from chaoskit.explore.crash import MODELS, Snapshot

GRAINS = ((4096, 4),)


def recorded(programs: Iterable[Program], place: Path) -> list[Execution]:
    """What the programs do in directories here: to know what is allowed needs no disk."""
    found = []
    for number, program in enumerate(programs):
        top = place / str(number)
        top.mkdir()
        setup = DiskRecorder(top, lambda: 0)
        base(setup)
        setup.finish()
        before, recorder = Snapshot.take(top), DiskRecorder(top, lambda: 0)
        run([call for call in program if not call[0].startswith("~")], recorder, Hidden("ext4", top))
        recorder.finish()
        found.append(Execution("", recorder.trace(), before, tuple(recorder.positions), 0, ()))
    return found


@pytest.fixture(scope="module")
def executions(tmp_path_factory: pytest.TempPathFactory) -> list[Execution]:
    """The corpus, recorded once."""
    return recorded(corpus(), tmp_path_factory.mktemp("corpus"))


@pytest.mark.parametrize("model", ["ext4", "xfs", "btrfs"])
def test_the_same_rules_have_the_same_key(executions: list[Execution], model: str, tmp_path: Path) -> None:
    """Also for another recording of the same programs; another model has another key."""
    key = key_of(executions, MODELS[model], GRAINS)
    assert key == key_of(recorded(corpus(), tmp_path), MODELS[model], GRAINS)
    assert key != key_of(executions, MODELS["strict"], GRAINS)


@pytest.mark.parametrize(
    ("wrong", "model"), [(wrong, name) for wrong, one in WRONG.items() for name in one.variants]
)
def test_a_changed_rule_has_another_key(executions: list[Execution], wrong: str, model: str) -> None:
    """Each rule that was once wrong, planted again: what was held against the right one does not count."""
    one = WRONG[wrong]
    key = key_of(executions, MODELS[model], GRAINS)
    with contextlib.ExitStack() as stack:
        if one.plant is not None:
            stack.enter_context(one.plant())  # type: ignore[arg-type]
        assert key_of(executions, one.model(model), GRAINS) != key
