"""What a real file system shows after a power loss is among the states that its model allows.

Needs root, loop devices and the tools of the file systems; says what is missing where it is skipped.
Run with ``pytest scenarios/validation``; ``CHAOSKIT_VALIDATE=500`` takes that many random programs
for each file system instead of 40.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from crash_recorder import Recorder
from images import MEBIBYTES, Images, shape, unavailable
from probes import FIRST_FIVE, MORE, Probe, base, random_program

from chaoskit.core.operation import Trace
from chaoskit.explore.crash import MODELS, Materialiser, Snapshot, crash_states, script
from chaoskit.explore.crash.materialise import Writer
from chaoskit.explore.crash.order import Order
from chaoskit.explore.crash.playing import play
from chaoskit.explore.crash.states import all_legal
from chaoskit.explore.crash.tables import Tables

MODELS_OF = {"ext4": ("ext4", "ext4-late")}
"""How ext4 behaves depends on whether the disk is busy: see the two models."""
ENOUGH = 200_000
RANDOM = int(os.environ.get("CHAOSKIT_VALIDATE", "40"))


@pytest.fixture(scope="session", params=list(MEBIBYTES))
def system(request: pytest.FixtureRequest) -> str:
    """Each file system that can be mounted here."""
    reason = unavailable(request.param)
    if reason is not None:
        pytest.skip(reason)
    return str(request.param)


@pytest.fixture(scope="session")
def images(system: str, tmp_path_factory: pytest.TempPathFactory) -> Images:
    """A fresh image, in memory where that is possible: copying it is most of the work."""
    place = Path("/dev/shm") / f"chaoskit-{os.getpid()}-{system}"
    if not os.access("/dev/shm", os.W_OK):
        place = tmp_path_factory.mktemp(system)
    return Images(place, system)


@pytest.fixture(scope="session", autouse=True)
def _clean() -> Iterator[None]:
    yield
    for system in MEBIBYTES:
        shutil.rmtree(Path("/dev/shm") / f"chaoskit-{os.getpid()}-{system}", ignore_errors=True)


def allowed(trace: Trace, before: Snapshot, model: str) -> list[dict[str, object]]:
    """Everything that ``model`` allows when the power goes after the last operation."""
    split = script(trace, before)
    order = Order(split, MODELS[model])
    for effect in split.effects:
        play(order, effect)
    legal = all_legal(order, ENOUGH)
    assert legal is not None, "the probe is too long to know all its states"
    tables = Tables(split)
    writer, found, seen = Writer(tables), [], set()
    for state in sorted(legal):
        tree = writer.described(state)
        if repr(tree) not in seen:
            seen.add(repr(tree))
            found.append(tree)
    return found


def assert_allowed(images: Images, probe: Probe) -> None:
    trace, before, left = images.crash(base, probe)
    states: list[dict[str, object]] = []
    for model in MODELS_OF.get(images.system, (images.system,)):
        states = allowed(trace, before, model)
        if shape(left) in states:
            return
    raise AssertionError(f"{probe.__name__} on {images.system}: none of {len(states)} states: {shape(left)}")


@pytest.mark.parametrize("probe", FIRST_FIVE + MORE, ids=lambda p: p.__name__)
def test_what_is_left_is_among_the_states_of_the_model(images: Images, probe: Probe) -> None:
    """For one rule after the other."""
    assert_allowed(images, probe)


@pytest.mark.parametrize("seed", range(RANDOM))
def test_what_a_random_program_leaves_is_among_them(images: Images, seed: int) -> None:
    """Also for generated programs, which were not written with a rule in mind."""
    assert_allowed(images, random_program(seed))


def test_there_are_enough_probes() -> None:
    """The five of the design, and at least fifteen more."""
    assert len(FIRST_FIVE) == 5
    assert len(MORE) >= 15


def left(images: Images, probe: Probe, name: str) -> object:
    found = shape(images.crash(base, probe)[2]).get(name)
    return None if found is None else found[2]  # type: ignore[index]


EXPECTED = {
    # What the five probes showed when the models were written: content of a file, None if it is gone.
    "replace_unsynced": ("a", {"ext4": b"N" * 5000, "xfs": b"", "btrfs": b"old"}),
    "publish_unsynced": ("new", {"ext4": b"", "xfs": b"", "btrfs": None}),
    "create_in_new_directory_and_sync": ("n/f", {"ext4": b"data", "xfs": b"data", "btrfs": b"data"}),
    "unlink_and_sync_other": ("a", {"ext4": None, "xfs": None, "btrfs": b"old"}),
    "replace_and_sync_other_directory": ("a", {"ext4": b"new", "xfs": b"old"}),
}


@pytest.mark.parametrize("probe", FIRST_FIVE, ids=lambda p: p.__name__)
def test_the_five_probes_show_what_the_models_were_made_from(images: Images, probe: Probe) -> None:
    """A kernel that behaves otherwise is no error of a model, but should be looked at."""
    name, expected = EXPECTED[probe.__name__]
    if images.system in expected:
        assert left(images, probe, name) == expected[images.system]


def test_a_state_written_to_a_directory_has_the_shape_that_is_compared(tmp_path: Path) -> None:
    """The comparison above looks at what users get, not at something made for it alone."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    base(Recorder(source))
    before, recorder = Snapshot.take(source), Recorder(source)
    FIRST_FIVE[0](recorder)
    states = crash_states(script(recorder.trace(), before), "ext4")
    materialiser = Materialiser(states)
    for state in states:
        materialiser.write(state, target)
        written = Writer(states.tables).described(state.persisted)
        assert shape(Snapshot.take(target)) == written
