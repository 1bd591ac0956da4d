"""The store with one thing done otherwise: each of these scenarios must be violated.

Run by ``test_planted.py``, which says what each of them shows; run alone, all of them fail.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from test_store import (
    JOB,
    TIMEOUT,
    VALUES,
    check_not_called_damaged,
    content,
    create_and_save,
    opened,
    save,
    value_of,
)

from chaoskit import Chaos, faults, scenario
from chaoskit.runtime import OutcomeUnknown, Store
from chaoskit.runtime.durable.store import core, opening, sqlite
from chaoskit.runtime.durable.store.protocol import Tx
from chaoskit.runtime.failures.taxonomy import ResilienceError, StorageError

Patch = pytest.MonkeyPatch
SYNCED, KILLED = faults.power_loss(), faults.kill()


def save_at_a_weaker_level(directory: Path, promise: Callable[[int], None]) -> None:
    with Store.open(directory / "store.db", durability="process-crash", reserve=0) as store:
        for value in VALUES:
            store.put(JOB, "k", content(value), status="done")
            promise(value)


@scenario(SYNCED, model="strict", timeout=TIMEOUT)
def test_a_level_without_syncs_is_called_durable(chaos: Chaos) -> None:
    chaos.run(save_at_a_weaker_level, chaos.path, chaos.promise)
    with opened(chaos.path) as store:
        assert value_of(store) >= max(chaos.promised, default=0)


@scenario(SYNCED, model="strict", timeout=TIMEOUT)
def test_the_directory_is_not_synced(chaos: Chaos, monkeypatch: Patch) -> None:
    monkeypatch.setattr(opening, "make_directories", lambda path: os.makedirs(path, exist_ok=True))
    chaos.run(create_and_save, chaos.path, chaos.promise)
    with opened(chaos.path / "new") as store:
        assert value_of(store) >= max(chaos.promised, default=0)


@scenario(faults.disk().on(call=("write", "fsync", "fdatasync")), model="strict", timeout=TIMEOUT)
def test_an_unknown_outcome_is_called_a_failure(chaos: Chaos, monkeypatch: Patch) -> None:
    with opened(chaos.path) as store:
        store.put(JOB, "k", content(1), status="done")

    def certain(*args: object, **known: object) -> ResilienceError:
        error = sqlite.failure(*args, **known)  # type: ignore[arg-type]
        return StorageError(str(error)) if isinstance(error, OutcomeUnknown) else error

    monkeypatch.setattr(core, "failure", certain)
    outcome = chaos.run(save, chaos.path, chaos.promise)
    with opened(chaos.path) as store:
        assert outcome.error is None or value_of(store) == 1


@scenario(faults.disk().on(call="fdatasync"), model="strict", timeout=TIMEOUT)
def test_the_connection_is_kept_after_an_error(chaos: Chaos, monkeypatch: Patch) -> None:
    with opened(chaos.path) as store:
        store.put(JOB, "k", content(1), status="done")
    monkeypatch.setattr(core, "_BROKEN", frozenset())
    check_not_called_damaged(chaos.run(save, chaos.path, chaos.promise))


def finish_in_two_steps(directory: Path) -> None:
    with opened(directory) as store:
        [claim] = store.write(lambda tx: tx.claim(JOB, lease=60))

        def tell(tx: Tx) -> None:
            tx.put(JOB, "message", "k is done", status="pending", due=tx.now)

        store.write(lambda tx: tx.change(JOB, "k", status="done", fence=claim.fence))
        store.write(tell)


@scenario(KILLED, model="strict", timeout=TIMEOUT)
def test_the_result_and_the_message_are_two_writes(chaos: Chaos) -> None:
    with opened(chaos.path) as store:
        store.put(JOB, "k", content(1), status="pending", due=1.0)
    chaos.run(finish_in_two_steps, chaos.path)
    with opened(chaos.path) as store:
        found = store.get(JOB, "k")
        assert found is not None
        assert (found.status == "done") == (store.get(JOB, "message") is not None)


def copy_in_place(directory: Path) -> None:
    with opened(directory) as store:
        store.backup(directory / "copy.db")
        shutil.copy(directory / "copy.db", directory / "backup.db")


@scenario(KILLED, model="strict", timeout=TIMEOUT)
def test_a_backup_is_written_in_place(chaos: Chaos) -> None:
    with opened(chaos.path) as store:
        store.put(JOB, "k", content(1), status="done")
        store.backup(chaos.path / "backup.db")
    chaos.run(copy_in_place, chaos.path)
    with Store.open(chaos.path / "backup.db", reserve=0) as store:
        assert value_of(store) == 1
