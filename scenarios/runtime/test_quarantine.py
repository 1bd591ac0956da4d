"""Quarantine and the watch on dead letters, under disk errors, kills and loss of power."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from budgets import bounded

from chaoskit import Chaos, faults, scenario
from chaoskit.runtime import (
    DeadLetters,
    DiskFull,
    LetterWatch,
    Notice,
    Notifier,
    OutcomeUnknown,
    Quarantine,
    Severity,
    Store,
)
from chaoskit.runtime.failures.taxonomy import ResilienceError

EVERYTHING = faults.disk() | faults.kill() | faults.power_loss()
TIMEOUT = 30

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


def prepared(directory: Path) -> Path:
    """One item with content, durable."""
    item = directory / "item"
    item.mkdir()
    (item / "data").write_text("pixels")
    return item


def put(directory: Path, promise: Callable[[object], None]) -> None:
    """Put it into quarantine; promise what was acknowledged."""
    Quarantine(directory / "quarantine").put(directory / "item", "too noisy")
    promise("quarantined")


def judge(chaos: Chaos) -> None:
    """In one place, whole, and with its reason where it is in quarantine."""
    inside, outside = list(Quarantine(chaos.path / "quarantine").items()), chaos.path / "item"
    assert {one.path.name for one in inside} <= {"item"}, "an item that was never put there"
    assert len(inside) + outside.exists() == 1, "in both places, or in none"
    if chaos.promised == ["quarantined"]:
        assert inside, "it was acknowledged"
    if inside:
        assert inside[0].why is not None, "without its reason"
        assert inside[0].why.reason == "too noisy"


@scenario(EVERYTHING, model="ext4", timeout=TIMEOUT, budget=bounded(120))
def test_an_item_is_in_one_place_with_its_reason(chaos: Chaos) -> None:
    """Whatever fails, and wherever the process is killed or power is lost."""
    prepared(chaos.path)
    chaos.run(put, chaos.path, chaos.promise)
    judge(chaos)


class Sent:
    """A channel whose receiver is a file: one line for each notification that it has taken."""

    name, least = "sent", Severity.INFO

    def __init__(self, path: Path) -> None:
        self._path = path

    def send(self, notification: Notice) -> None:
        with open(self._path, "a") as file:
            file.write(json.dumps(notification.title) + "\n")


def told(directory: Path) -> list[str]:
    path = directory / "sent"
    # Torn by a kill: the receiver has not got that one.
    return [line for line in path.read_text().splitlines() if line.endswith('"')] if path.exists() else []


def with_letter(directory: Path) -> None:
    with Store.open(directory / "store.db", reserve=0) as store:
        DeadLetters(store).add(pipeline="p", run_id="r", error=ValueError("bad"), attempts=3)


def look(directory: Path) -> None:
    """One look of the watch."""
    with Store.open(directory / "store.db", reserve=0, lock_timeout=0.3) as store:
        LetterWatch(store, Notifier([Sent(directory / "sent")], attempts=1)).look()


def judge_watch(directory: Path) -> None:
    """After as many looks as it takes it has been told; once more changes nothing."""
    look(directory)
    first = told(directory)
    assert first, "a dead letter that was never told"
    look(directory)
    assert told(directory) == first, "told again for no reason"


@scenario(faults.disk() | faults.kill(), timeout=TIMEOUT, budget=bounded(80))
def test_a_letter_is_told_at_least_once(chaos: Chaos) -> None:
    """A watch that is killed or fails anywhere tells it the next time."""
    with_letter(chaos.path)
    outcome = chaos.run(look, chaos.path)
    assert outcome.error is None or isinstance(
        outcome.error, ResilienceError | OutcomeUnknown | DiskFull | OSError
    )
    judge_watch(chaos.path)
