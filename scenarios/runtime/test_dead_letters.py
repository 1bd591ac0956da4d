"""Redriving a dead letter under disk errors, kills and loss of power: done once, or still a letter."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from budgets import bounded

from chaoskit import Chaos, Outcome, faults, scenario
from chaoskit.runtime import DeadLetters, Outbox, OutboxMessage, Store, VirtualClock, write_file
from chaoskit.runtime.failures.taxonomy import ResilienceError

EVERYTHING = faults.disk() | faults.share() | faults.kill() | faults.power_loss()
TIMEOUT = 30


HOUR = 3600.0


def opened(directory: Path, *, later: float = 0.0) -> Store:
    """The store, so many seconds later: a message that could not be sent waits before it is tried again."""
    clock = VirtualClock(epoch=time.time() + later)
    return Store.open(directory / "store.db", lock_timeout=0.3, reserve=0, clock=clock)


def prepared(directory: Path) -> None:
    """One letter, and a queue that is a directory of files."""
    (directory / "queue").mkdir()
    with opened(directory) as store:
        DeadLetters(store).add(pipeline="p", run_id="r", error=ValueError("bad"), payload=7, attempts=3)


def the_letter(store: Store) -> str:
    [letter] = DeadLetters(store).find(resolved=None)
    return letter.id


def publish(directory: Path, message: OutboxMessage) -> None:
    """Put a message into the queue, durably, under a name that is new each time: as brokers do."""
    text = json.dumps({"key": message.key, "payload": message.payload})
    write_file(directory / "queue" / uuid.uuid4().hex, text.encode())


def received(directory: Path, store: Store, *, deduplicates: bool = True) -> list[int]:
    """Take everything from the queue; the payloads that had an effect."""
    effects = []
    for path in sorted((directory / "queue").iterdir()):
        # A temporary file of a writer that was killed is not a message.
        if path.name.startswith("."):
            continue
        message = json.loads(path.read_text())
        with store.transaction() as tx:
            if Outbox(store).once(message["key"], tx=tx) or not deduplicates:
                effects.append(message["payload"])
    return effects


def judge(directory: Path, *, deduplicates: bool = True) -> None:
    """After a restart of the relay the run has happened once; or its letter is open, and it has not."""
    with opened(directory, later=HOUR) as store:
        Outbox(store).relay(lambda message: publish(directory, message))
        effects = received(directory, store, deduplicates=deduplicates)
        [letter] = DeadLetters(store).find(resolved=None)
        assert effects == ([] if letter.status == "open" else [7])
        assert letter.redrives == len(effects)


def redrive(directory: Path, promise: Callable[[str], None]) -> None:
    with opened(directory) as store:
        DeadLetters(store).redrive(the_letter(store), by="me")
        promise("redriven")
        Outbox(store).relay(lambda message: publish(directory, message))
        promise("sent")


@scenario(EVERYTHING, model="strict", timeout=TIMEOUT, budget=bounded(80))
def test_a_redrive_is_neither_lost_nor_doubled(chaos: Chaos) -> None:
    """The letter, the message, the send and the effect agree, whatever is struck where."""
    prepared(chaos.path)
    outcome: Outcome = chaos.run(redrive, chaos.path, chaos.promise)
    with opened(chaos.path) as store:
        [letter] = DeadLetters(store).find(resolved=None)
        assert "redriven" not in chaos.promised or letter.status == "redriven"
    judge(chaos.path)
    assert outcome.error is None or isinstance(outcome.error, (ResilienceError, OSError))


def add(directory: Path, promise: Callable[[str], None]) -> None:
    with opened(directory) as store:
        letters = DeadLetters(store)
        promise(letters.add(pipeline="p", run_id="other", error=ValueError("bad"), payload=8, attempts=1))


@scenario(EVERYTHING, model="strict", timeout=TIMEOUT, budget=bounded(60))
def test_a_letter_that_was_acknowledged_is_there(chaos: Chaos) -> None:
    """And one that was reported again after the crash is still one."""
    prepared(chaos.path)
    chaos.run(add, chaos.path, chaos.promise)
    with opened(chaos.path) as store:
        letters = DeadLetters(store)
        for id in chaos.promised:
            assert letters.get(id) is not None
        letters.add(pipeline="p", run_id="other", error=ValueError("bad"), payload=8, attempts=1)
        assert sorted(one.run_id for one in letters.find()) == ["other", "r"]
