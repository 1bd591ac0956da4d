"""Redriving in the orders that come to mind first: each of these scenarios must be violated.

Run by ``test_planted.py``, which says what each of them shows; run alone, all of them fail.
"""

from __future__ import annotations

from pathlib import Path

from test_dead_letters import TIMEOUT, judge, opened, prepared, publish, redrive, the_letter

from chaoskit import Chaos, faults, scenario
from chaoskit.runtime import OutboxMessage, Store
from chaoskit.runtime.durable.dead_letters.records import DEAD

KILLED = faults.kill()


def mark(store: Store) -> None:
    id = the_letter(store)
    found = store.get(DEAD, id, scope="p")
    assert found is not None
    value = {**found.value, "redrives": 1}
    store.write(lambda tx: tx.change(DEAD, id, scope="p", status="redriven", value=value))


def publish_first(directory: Path) -> None:
    with opened(directory) as store:
        publish(directory, OutboxMessage("p", f"{the_letter(store)}#1", 7))
        mark(store)


@scenario(KILLED, model="strict", timeout=TIMEOUT)
def test_publish_and_then_mark(chaos: Chaos) -> None:
    prepared(chaos.path)
    chaos.run(publish_first, chaos.path)
    judge(chaos.path)


def mark_first(directory: Path) -> None:
    with opened(directory) as store:
        mark(store)
        publish(directory, OutboxMessage("p", f"{the_letter(store)}#1", 7))


@scenario(KILLED, model="strict", timeout=TIMEOUT)
def test_mark_and_then_publish(chaos: Chaos) -> None:
    prepared(chaos.path)
    chaos.run(mark_first, chaos.path)
    judge(chaos.path)


@scenario(KILLED, model="strict", timeout=TIMEOUT)
def test_the_receiver_does_not_deduplicate(chaos: Chaos) -> None:
    prepared(chaos.path)
    chaos.run(redrive, chaos.path, chaos.promise)
    judge(chaos.path, deduplicates=False)
