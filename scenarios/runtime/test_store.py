"""The store under disk errors, kills and loss of power: what it acknowledged is there, nothing is mixed.

In memory (``/dev/shm``) and with short waits, since a lock that cannot be had is waited for in full.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from budgets import bounded

from chaoskit import Chaos, Outcome, faults, scenario
from chaoskit.runtime import OutcomeUnknown, Store, StoreCorrupt
from chaoskit.runtime.durable.store.protocol import RUNNING, Kind, Tx
from chaoskit.runtime.failures.taxonomy import ResilienceError

JOB = Kind("job")
VALUES = (1, 2)
CRASHES = faults.kill() | faults.power_loss() | faults.fsync_lies()
COMPLETE = faults.disk() | CRASHES
# Where a lock cannot be had for good SQLite retries it for 10 s, whatever it was told. One scenario has all
# of that; in the others locks fail once.
EVERYTHING = (
    faults.disk().on(call=("open", "read", "write", "fsync", "fdatasync", "truncate", "unlink", "rename"))
    | faults.disk().on(call=("close", "mmap", "stat", "chown", "fallocate"))
    | faults.disk().on(call="lock").only("ENOLCK[]")
    | faults.interference().on(call="lock").only("EAGAIN[]")
    | CRASHES
)
TIMEOUT = 30


def opened(directory: Path, **options: Any) -> Store:
    return Store.open(directory / "store.db", lock_timeout=0.3, reserve=0, **options)


def content(value: int) -> list[Any]:
    return [value, "x" * 3000]


def value_of(store: Store) -> int:
    """What is there: a whole value, or 0 if there is none."""
    found = store.get(JOB, "k")
    if found is None:
        return 0
    assert found.value == content(found.value[0])
    return int(found.value[0])


def check_errors(outcome: Outcome) -> None:
    """Whatever went wrong has a name."""
    assert outcome.error is None or isinstance(outcome.error, ResilienceError)


def check_sound(store: Store) -> None:
    """Nothing is damaged, and the store goes on."""
    assert store.verify(deep=True).ok
    store.put(JOB, "after", 1, status="done")


# --- from nothing ------------------------------------------------------------------------------------------


def create_and_save(directory: Path, promise: Callable[[int], None]) -> None:
    with Store.open(directory / "new" / "store.db", lock_timeout=0.3, reserve=64 << 10, wal_limit=4) as store:
        for value in VALUES:
            store.put(JOB, "k", content(value), status="done", operation_id=f"op-{value}")
            promise(value)


@scenario(COMPLETE, model="strict", timeout=TIMEOUT, budget=bounded(100))
def test_save_from_nothing(chaos: Chaos) -> None:
    """Directory, store and saves: all that was promised is there, and the ledger agrees."""
    outcome = chaos.run(create_and_save, chaos.path, chaos.promise)
    with opened(chaos.path / "new") as store:
        value = value_of(store)
        assert value >= max(chaos.promised, default=0)
        for n in VALUES:
            assert store.outcome(f"op-{n}") == ("committed" if n <= value else "absent")
        check_sound(store)
    check_errors(outcome)


# --- one save ----------------------------------------------------------------------------------------------


def save(directory: Path, promise: Callable[[str], None]) -> None:
    with opened(directory) as store:
        try:
            store.put(JOB, "k", content(2), status="done")
        except OutcomeUnknown as unknown:
            promise("unknown")
            # This may fail too, for as long as the disk does: then it is to be asked later.
            promise(store.outcome(str(unknown.operation_id)))
        else:
            promise("committed")


@scenario(EVERYTHING, model="strict", timeout=TIMEOUT, budget=bounded(80))
def test_a_save_says_what_became_of_it(chaos: Chaos) -> None:
    """Returned: it is there. Raised: it is not. Unknown: it is what the store answers, and stays that."""
    with opened(chaos.path) as store:
        store.put(JOB, "k", content(1), status="done")
    outcome = chaos.run(save, chaos.path, chaos.promise)
    with opened(chaos.path) as store:
        value = value_of(store)
        assert value in VALUES
        if chaos.promised and tuple(chaos.promised) != ("unknown",):
            assert value == (2 if "committed" in chaos.promised else 1)
        elif not chaos.promised and isinstance(outcome.error, ResilienceError):
            assert value == 1, f"changed, though the save raised {outcome.error!r}"
        check_sound(store)
    check_errors(outcome)


def check_not_called_damaged(outcome: Outcome) -> None:
    assert not isinstance(outcome.error, StoreCorrupt)


@scenario(
    faults.disk().on(call=("write", "fsync", "fdatasync")),
    model="strict",
    timeout=TIMEOUT,
    budget=bounded(80),
)
def test_what_cannot_be_written_is_not_called_damaged(chaos: Chaos) -> None:
    """After a sync that failed, what the store says about itself is right: nothing is malformed."""
    with opened(chaos.path) as store:
        store.put(JOB, "k", content(1), status="done")
    check_not_called_damaged(chaos.run(save, chaos.path, chaos.promise))
    with opened(chaos.path) as store:
        check_sound(store)


# --- checkpoints -------------------------------------------------------------------------------------------


def save_and_checkpoint(directory: Path, promise: Callable[[int], None]) -> None:
    with opened(directory, wal_limit=1) as store:
        for value in range(2, 6):
            store.put(JOB, "k", content(value), status="done")
            store.put(JOB, f"other-{value}", "y" * 5000, status="done")
            promise(value)


@scenario(EVERYTHING, model="strict", timeout=TIMEOUT, budget=bounded(80))
def test_checkpoints_lose_nothing(chaos: Chaos) -> None:
    """The WAL is copied into the database after every other save, whatever happens meanwhile."""
    with opened(chaos.path) as store:
        store.put(JOB, "k", content(1), status="done")
    outcome = chaos.run(save_and_checkpoint, chaos.path, chaos.promise)
    with opened(chaos.path) as store:
        assert value_of(store) >= max(chaos.promised, default=1)
        check_sound(store)
    check_errors(outcome)


# --- claims ------------------------------------------------------------------------------------------------


def claim_and_finish(directory: Path, promise: Callable[[str], None]) -> None:
    with opened(directory) as store:
        [claim] = store.write(lambda tx: tx.claim(JOB, lease=60))
        promise("claimed")

        def finish(tx: Tx) -> None:
            assert tx.change(JOB, "k", status="done", value=content(2), fence=claim.fence)
            tx.put(JOB, "message", "k is done", status="pending", due=tx.now)

        store.write(finish)
        promise("done")


@scenario(EVERYTHING, model="strict", timeout=TIMEOUT, budget=bounded(80))
def test_a_claim_and_its_end_are_one_each(chaos: Chaos) -> None:
    """The attempt is counted before the work; the result and the message that tells of it come together."""
    with opened(chaos.path) as store:
        store.put(JOB, "k", content(1), status="pending", due=1.0)
    outcome = chaos.run(claim_and_finish, chaos.path, chaos.promise)
    with opened(chaos.path) as store:
        found, message = store.get(JOB, "k"), store.get(JOB, "message")
        assert found is not None
        assert (found.status == "done") == (message is not None)
        assert found.attempts == (0 if found.status == "pending" else 1)
        assert "done" not in chaos.promised or found.status == "done"
        assert "claimed" not in chaos.promised or found.status in (RUNNING, "done")
        if found.status != "done":
            # The owner is gone: whatever is not done is claimed again, at once.
            assert [one.key for one in store.write(lambda tx: tx.claim(JOB, lease=60))] == ["k"]
        check_sound(store)
    check_errors(outcome)


# --- backups -----------------------------------------------------------------------------------------------


def back_up(directory: Path, promise: Callable[[str], None]) -> None:
    with opened(directory) as store:
        store.backup(directory / "backup.db")
        promise("backed up")


@scenario(EVERYTHING, model="strict", timeout=TIMEOUT, budget=bounded(80))
def test_a_backup_is_whole(chaos: Chaos) -> None:
    """Under its name is the earlier backup or the later one, sound; the store is what it was."""
    with opened(chaos.path) as store:
        store.put(JOB, "k", content(1), status="done")
        store.backup(chaos.path / "backup.db")
        store.put(JOB, "k", content(2), status="done")
    outcome = chaos.run(back_up, chaos.path, chaos.promise)
    # A backup is moved into place, and is a store there.
    os.mkdir(chaos.path / "restored")
    os.rename(chaos.path / "backup.db", chaos.path / "restored" / "store.db")
    with opened(chaos.path / "restored") as store:
        assert value_of(store) in ((2,) if chaos.promised else VALUES)
        check_sound(store)
    with opened(chaos.path) as store:
        assert value_of(store) == 2
        check_sound(store)
    check_errors(outcome)
