"""The idiom of tempfile and os.replace, with and without clean-up, as found in countless programs."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import pytest

from chaoskit import Chaos, faults, scenario
from chaoskit.invariants import no_extra_files

OLD = {"n": 1, "text": "old" * 2000}
NEW = {"n": 2, "text": "new" * 2000}


def save(path: Path, state: object) -> None:
    with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".tmp", delete=False) as file:
        json.dump(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(file.name, path)


def save_and_clean_up(path: Path, state: object) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with open(descriptor, "w") as file:
            json.dump(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def sweep(directory: Path) -> None:
    """What a program does at its start: nothing of the last run's may be left."""
    for leftover in directory.glob("*.tmp"):
        leftover.unlink()


def check(chaos: Chaos, *, complete: bool) -> None:
    found = json.loads((chaos.path / "state.json").read_text())
    assert found in ([NEW] if complete else [OLD, NEW])


@pytest.mark.parametrize("how", [save, save_and_clean_up])
@scenario(faults.disk() | faults.kill())
def test_a_reader_finds_the_old_state_or_the_new(chaos: Chaos, how) -> None:
    """No error and no kill leaves a mixture; success means that the new state is there."""
    save(chaos.path / "state.json", OLD)
    outcome = chaos.run(how, chaos.path / "state.json", NEW)
    check(chaos, complete=outcome.ok)


@scenario(
    faults.disk(),
    invariants=[no_extra_files],
    known={"778f4f": "without clean-up every error leaves the temporary file behind"},
)
def test_without_clean_up_nothing_is_left_after_an_error(chaos: Chaos) -> None:
    """An error leaves only the state, old or new."""
    save(chaos.path / "state.json", OLD)
    chaos.run(save, chaos.path / "state.json", NEW)
    check(chaos, complete=False)


@scenario(
    # An error that stays makes the clean-up fail as well; no program can do better then.
    faults.disk().only("ENOSPC", "EDQUOT", "EIO[]", "EMFILE", "short", "full") | faults.share().only("EINTR"),
    invariants=[no_extra_files],
)
def test_with_clean_up_nothing_is_left_after_an_error(chaos: Chaos) -> None:
    """An error that goes by leaves only the state, old or new."""
    save_and_clean_up(chaos.path / "state.json", OLD)
    chaos.run(save_and_clean_up, chaos.path / "state.json", NEW)
    check(chaos, complete=False)


@scenario(faults.disk() | faults.kill(), invariants=[no_extra_files])
def test_a_sweep_at_the_start_leaves_nothing_after_a_kill(chaos: Chaos) -> None:
    """A program that removes leftovers when it starts leaves none, whatever happened."""
    save_and_clean_up(chaos.path / "state.json", OLD)
    chaos.run(save_and_clean_up, chaos.path / "state.json", NEW)
    chaos.recover(sweep, chaos.path)
    check(chaos, complete=False)
