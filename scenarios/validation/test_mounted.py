"""What a real file system shows after a power loss is among the states that its model allows.

Needs root, /dev/fuse, loop devices and the tools of the file systems; says what is missing where it is
skipped. Run with ``make validation``; with ``CHAOSKIT_VALIDATE=complete`` in the environment all workloads of
one call, 3,000 of two, 5,000 random programs and 1,000 that store into mappings are run on each file system,
which takes hours.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bed import VARIANTS, Bed, Cut, Execution
from campaign import Tally, campaign, examine, hold, workloads
from crash_recorder import Recorder
from disk_programs import base as generated_base
from judging import digest
from probes import FIRST_FIVE, MORE, Probe, base
from rules import WRONG

from chaoskit.explore.crash import MODELS, Materialiser, Snapshot, crash_states, script

Beds = Callable[[str], Bed]
DEFAULTS = ("ext4", "xfs", "btrfs")
COMPLETE = os.environ.get("CHAOSKIT_VALIDATE") == "complete"
COUNTS: dict[str, Any] = (
    {"one": "all", "two": 3000, "by_chance": 5000, "mapped": 1000}
    if COMPLETE
    else {"one": "70", "two": 30, "by_chance": 50, "mapped": 30}
)
TRIES = 12
"""How often a program is run whose outcome is a race in the kernel."""


@pytest.fixture(params=DEFAULTS)
def bed(request: pytest.FixtureRequest, beds: Beds) -> Bed:
    """The bed of each file system as it is mounted by default."""
    return beds(request.param)


def executed(bed: Bed, probe: Probe) -> Execution:
    return bed.execute(lambda recorder, hidden: probe(recorder), base, 0.0)


@pytest.mark.parametrize("probe", FIRST_FIVE + MORE, ids=lambda p: p.__name__)
def test_what_is_left_is_among_the_states_of_the_model(bed: Bed, probe: Probe) -> None:
    """For one rule after the other, whenever the power goes."""
    tally = Tally(bed.variant.name)
    assert examine(bed, executed(bed, probe), tally, MODELS[bed.variant.model]) is None
    assert tally.cuts > 0


@pytest.mark.parametrize("name", VARIANTS)
def test_what_generated_programs_leave_is_among_them(
    name: str, beds: Beds, record_property: Callable[[str, object], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """Also for programs that were not written with a rule in mind; the share of legal states seen is said."""
    tally = campaign(beds(name), workloads(**COUNTS))
    record_property("validation", tally.line())
    with capsys.disabled():
        print(
            f"\n{name}: {tally.programs} programs, {tally.cuts} power losses,"
            f" {tally.share:.0%} of the legal states were seen"
        )
    assert tally.programs >= 150
    assert tally.outside == []
    # Under a tenth of this all would be allowed, and nothing could be outside.
    assert tally.share > 0.02


@pytest.mark.parametrize(
    ("wrong", "name"), [(wrong, name) for wrong, one in WRONG.items() for name in one.variants]
)
def test_a_wrong_rule_is_refuted(wrong: str, name: str, beds: Beds) -> None:
    """Planted again, it is caught by the program that showed it; without it nothing is outside."""
    bed, one = beds(name), WRONG[wrong]
    planted = one.model(bed.variant.model)
    for _ in range(TRIES):
        assert hold(bed, one.program, Tally(name), slow=one.slow) is None
        with contextlib.ExitStack() as stack:
            if one.plant is not None:
                stack.enter_context(one.plant())  # type: ignore[arg-type]
            caught = hold(bed, one.program, Tally(name), slow=one.slow, model=planted)
        if caught is not None:
            return
    raise AssertionError(f"{wrong}: {one.program} showed nothing outside it on {name} in {TRIES} tries")


def test_a_model_that_is_too_wide_shows_by_the_share_that_is_seen(beds: Beds) -> None:
    """Of what strict allows far less is ever seen than of what the model of the file system allows."""
    bed, shares = beds("ext4"), {}
    for model in ("ext4", "strict"):
        tally = Tally("ext4")
        for program in workloads("12", 0, 0):
            assert hold(bed, program, tally, model=MODELS[model]) is None
        shares[model] = tally.share
    assert shares["strict"] < shares["ext4"] / 1.5


def left(bed: Bed, probe: Probe, name: str) -> object:
    execution = executed(bed, probe)
    found = bed.left(execution, Cut(execution.end))
    assert found is not None
    inode = found.entries[0].get(name, -1) if "/" not in name else found.entries[found.entries[0]["n"]]["f"]
    return None if inode < 0 else found.nodes[inode].content.read()


EXPECTED = {
    # What the five probes showed when the models were written: content of a file, None if it is gone.
    "replace_unsynced": ("a", {"ext4": b"N" * 5000, "xfs": b"", "btrfs": b"old"}),
    "publish_unsynced": ("new", {"ext4": b"", "xfs": b"", "btrfs": None}),
    "create_in_new_directory_and_sync": ("n/f", {"ext4": b"data", "xfs": b"data", "btrfs": b"data"}),
    "unlink_and_sync_other": ("a", {"ext4": None, "xfs": None, "btrfs": b"old"}),
    "replace_and_sync_other_directory": ("a", {"ext4": b"new", "xfs": b"old"}),
}


@pytest.mark.parametrize("probe", FIRST_FIVE, ids=lambda p: p.__name__)
def test_the_five_probes_show_what_the_models_were_made_from(bed: Bed, probe: Probe) -> None:
    """A kernel that behaves otherwise is not an error of a model, but should be looked at."""
    name, expected = EXPECTED[probe.__name__]
    if bed.variant.name in expected:
        assert left(bed, probe, name) == expected[bed.variant.name]


def test_there_are_enough_probes() -> None:
    """The five of the design, and at least fifteen more."""
    assert len(FIRST_FIVE) == 5
    assert len(MORE) >= 15


def test_a_state_written_to_a_directory_has_the_hash_that_is_compared(tmp_path: Path) -> None:
    """The comparison above looks at what users get, not at something made for it alone."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    generated_base(Recorder(source))  # type: ignore[arg-type]
    before, recorder = Snapshot.take(source), Recorder(source)
    recorder.put("t", b"N" * 5000)
    recorder.rename("t", "a")
    states = crash_states(script(recorder.trace(), before), "ext4")
    materialiser = Materialiser(states)
    for state in states:
        materialiser.write(state, target)
        assert digest(Snapshot.take(target)) == state.hash


def test_the_same_seed_gives_the_same_programs() -> None:
    """A program that left something outside can be run again by its number."""
    assert list(workloads("5", 5, 5, 3)) == list(workloads("5", 5, 5, 3))
    assert list(workloads("0", 0, 5, 3)) != list(workloads("0", 0, 5, 4))
    parts = [program for part in (1, 2, 3) for program in workloads(f"{part}/3", 0, 0)]
    assert sorted(map(repr, parts)) == sorted(map(repr, workloads("all", 0, 0)))
    assert len(parts) >= 800
