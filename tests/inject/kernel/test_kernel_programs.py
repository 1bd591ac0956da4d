"""Generated programs of raw calls with wild arguments end watched as they end alone.

They are played in a cage, see ``tests/support/wild``. Thousands of them are in ``scenarios/validation``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pytest
from budgets import tried
from wild.comparing import Stage, clear
from wild.programs import Draw, parse
from wild.reducing import reduced
from wild.running import played

_SECONDS = 300.0


@pytest.mark.parametrize("where", ["--memory", "--disk"])
@pytest.mark.parametrize("who", ["--root", "--user"])
def test_programs_end_the_same(where: str, who: str) -> None:
    """Results, contents, modes, owners, times, locks and descriptors are those that there are without us."""
    first = {"--memory": 0, "--disk": 50_000}[where] + {"--root": 0, "--user": 25_000}[who]
    count = tried(12)
    found = played(where, who, "--first", str(first), "--count", str(count), "--no-reduce", seconds=_SECONDS)
    assert not found.differing, found.text()
    assert found.counts["played"] == count
    assert found.counts["hung"] + found.counts["unsteady"] <= 3


def test_a_program_is_the_same_each_time() -> None:
    """A seed says all of it, and so does its text."""
    programs = [Draw(seed).program() for seed in range(50)]
    assert programs == [Draw(seed).program() for seed in range(50)]
    assert [parse(one.text()) for one in programs] == programs
    names = {step.name for one in programs for step in one.steps}
    assert {"openat", "write", "rename", "fork", "thread", "flock", "setresuid"} <= names


@pytest.mark.parametrize(
    ("endings", "differ", "unsteady"),
    [
        ("abaa", False, True),
        ("abb", False, True),
        ("abab", True, False),
        (["failed", "failed: an error"], False, False),
        (["done", "failed: an error"] * 2, True, False),
    ],
)
def test_what_differs_once_is_chance(
    monkeypatch: pytest.MonkeyPatch, endings: Iterable[str], differ: bool, unsteady: bool
) -> None:
    """Alone, watched, and both once more: only what is the same alone and differs twice is ours."""
    stage, answers = Stage.__new__(Stage), iter(endings)
    stage.hung = stage.unsteady = 0
    monkeypatch.setattr(stage, "_ending", lambda run: {"ended": next(answers)})
    found = stage.differences(Draw(1).program(), ways=["recorded"])
    assert bool(found) is differ
    assert stage.unsteady == unsteady
    assert next(answers, None) is None


@pytest.mark.parametrize("kind", ["file", "link", "fifo"])
def test_what_a_program_puts_in_the_place_of_its_directory_is_cleared(tmp_path: Path, kind: str) -> None:
    """It is removed like the directory, and what a link leads to is left alone."""
    place, other = tmp_path / "out", tmp_path / "other"
    other.mkdir()
    (other / "kept").touch()
    {"file": place.touch, "link": lambda: place.symlink_to(other), "fifo": lambda: os.mkfifo(place)}[kind]()
    clear(str(place))
    assert not os.path.lexists(place)
    assert (other / "kept").exists()


def test_a_program_is_made_as_short_as_can_be() -> None:
    """What is left differs, and without any step of it does not."""
    whole = next(one for one in (Draw(seed).program() for seed in range(99)) if len(one.steps) > 15)
    needed = [whole.steps[3], whole.steps[11]]
    short = reduced(whole, lambda one: all(step in one.steps for step in needed))
    others = [step for step in short.steps if step not in needed]
    assert all(step in short.steps for step in needed)
    # Actors are begun before they do something.
    assert {step.name for step in others} <= {"fork", "thread"}
