"""Snapshots swept at every call under the strictest model: the newest acknowledged one is always there."""

from __future__ import annotations

from array import array
from pathlib import Path

from budgets import bounded

from chaoskit import Chaos, faults, scenario
from chaoskit.runtime import OutcomeUnknown, Snapshots

EVERYTHING = faults.disk() | faults.share() | faults.kill() | faults.power_loss() | faults.fsync_lies()

STATES = [{"n": number, "x": array("d", [number / 7] * 600), "t": (number, "x")} for number in range(5)]


def snapshots(directory: Path) -> Snapshots:
    return Snapshots(directory / "kept", keep=2, reserve=4096)


def save(chaos: Chaos) -> None:
    """Two saves, the second of which removes the oldest."""
    kept = snapshots(chaos.path)
    for number in (2, 3):
        kept.save(STATES[number])
        chaos.promise(number)


def check(chaos: Chaos) -> None:
    """The newest is whole, and no older than what was acknowledged."""
    found = snapshots(chaos.path).load()
    assert found in STATES
    assert found["n"] >= max([1, *chaos.promised]), "an acknowledged snapshot is gone"
    # One that was removed may come back from a power loss without its content; the next save removes it.
    newest = {info.number for info in snapshots(chaos.path).list()[-2:]}
    assert not newest & snapshots(chaos.path).verify().keys(), "damaged"


@scenario(EVERYTHING, model="strict", budget=bounded(100))
def test_the_newest_acknowledged_snapshot_is_there(chaos: Chaos) -> None:
    """Whatever happens; older ones are only removed when a newer one is durable."""
    for number in (0, 1):
        snapshots(chaos.path).save(STATES[number])
    outcome = chaos.run(save, chaos)
    check(chaos)
    # A save that succeeds afterwards leaves no more than are to be kept, and nothing half-written.
    if outcome.signal or outcome.power_lost or not outcome.ok:
        snapshots(chaos.path).save(STATES[4])
        assert snapshots(chaos.path).load() == STATES[4]
        left = {path.name for path in (chaos.path / "kept").iterdir() if path.suffix == ".snapshot"}
        assert len(left) == 2


def save_first(chaos: Chaos) -> None:
    snapshots(chaos.path).save(STATES[0])
    chaos.promise(0)


@scenario(EVERYTHING, model="strict", budget=bounded(100))
def test_the_first_snapshot_is_there_with_its_directory(chaos: Chaos) -> None:
    """The directory is made on the way, and is as durable as what is in it."""
    chaos.run(save_first, chaos)
    found = snapshots(chaos.path).load(default=None)
    assert found in (None, STATES[0])
    assert not chaos.promised or found == STATES[0]


def save_in_an_emergency(chaos: Chaos) -> None:
    kept = snapshots(chaos.path)
    try:
        kept.save(STATES[2])
        chaos.promise(2)
    except (OSError, OutcomeUnknown):
        # Nothing that goes wrong here may come out as an exception.
        if kept.emergency(STATES[3]) is not None:
            chaos.promise(3)


@scenario(EVERYTHING, model="strict", budget=bounded(100))
def test_an_emergency_never_raises_and_never_loses(chaos: Chaos) -> None:
    """After any failure of a save it may be called, on a disk that stays full too."""
    for number in (0, 1):
        snapshots(chaos.path).save(STATES[number])
    outcome = chaos.run(save_in_an_emergency, chaos)
    assert outcome.error is None, "an emergency raised"
    check(chaos)


@scenario(faults.disk().only("full"))
def test_a_full_disk_still_holds_an_emergency(chaos: Chaos) -> None:
    """The reserve and the oldest snapshot make room where an ordinary save has failed."""
    for number in (0, 1):
        snapshots(chaos.path).save(STATES[number])
    chaos.run(save_in_an_emergency, chaos)
    assert chaos.promised, "nothing was saved"
    check(chaos)
