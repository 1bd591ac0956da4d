"""Checkpoints with one thing done otherwise: each of these scenarios must be violated.

Run by ``test_planted.py``, which says what each of them shows; run alone, all of them fail.
"""

from __future__ import annotations

import pytest
from budgets import bounded
from test_checkpoints import KEYS, TIMEOUT, fail_for_good, fail_on_a_full_disk, opened, prepared, work

from chaoskit import Chaos, faults, scenario
from chaoskit.runtime import Checkpoints, DeadLetters, Store
from chaoskit.runtime.durable.checkpoints import sources, transitions
from chaoskit.runtime.durable.reserve import Reserve

Patch = pytest.MonkeyPatch
KILLED, LOST = faults.kill(), faults.power_loss()


@scenario(LOST, model="strict", timeout=TIMEOUT)
def test_artefacts_are_not_synced(chaos: Chaos, monkeypatch: Patch) -> None:
    monkeypatch.setattr(sources, "_sync_file", lambda path: None)
    prepared(chaos.path)
    chaos.run(work, chaos.path, chaos.promise)
    with opened(chaos.path) as store, Checkpoints(store) as checkpoints:
        found = checkpoints.record("a")
        assert found is not None
        assert found.status != "completed" or checkpoints.is_completed("a", verify_checksum=True)


@scenario(KILLED, model="strict", timeout=TIMEOUT)
def test_the_letter_is_another_write(chaos: Chaos, monkeypatch: Patch) -> None:
    bury = transitions._bury

    def apart(tx, terms, held, attempts):  # type: ignore[no-untyped-def]
        record = held.record
        tx.change(terms.kind, record.key, scope=record.scope, status="dead", fence=record.fence)
        written.append((terms, held, attempts))

    written: list[tuple[object, object, int]] = []

    def fail_in_two(directory, promise):  # type: ignore[no-untyped-def]
        with opened(directory) as store, Checkpoints(store, attempts=1) as checkpoints:
            claim = checkpoints.claim("a")
            assert claim is not None
            claim.fail(ValueError("bad"))
            store.write(lambda tx: bury(tx, *written[0]))  # type: ignore[arg-type]

    monkeypatch.setattr(transitions, "_bury", apart)
    prepared(chaos.path)
    chaos.run(fail_in_two, chaos.path, chaos.promise)
    with opened(chaos.path) as store, Checkpoints(store, attempts=1) as checkpoints:
        found = checkpoints.record("a")
        assert found is not None
        assert (found.status == "dead") == (len(list(DeadLetters(store).find())) == 1)


@scenario(KILLED, model="strict", timeout=TIMEOUT)
def test_the_attempt_is_not_counted(chaos: Chaos, monkeypatch: Patch) -> None:
    monkeypatch.setattr(transitions.ClaimedRecord, "attempt", 1)
    prepared(chaos.path)
    chaos.run(fail_for_good, chaos.path, chaos.promise)
    with opened(chaos.path) as store, Checkpoints(store, attempts=1) as checkpoints:
        found = checkpoints.record("a")
        assert found is not None
        assert found.status != "running" or checkpoints.claim("a") is None


@scenario(KILLED, model="strict", timeout=TIMEOUT)
def test_a_batch_acknowledges_before_it_flushes(chaos: Chaos) -> None:
    def work_and_tell(directory, promise):  # type: ignore[no-untyped-def]
        with (
            opened(directory) as store,
            Checkpoints(store, attempts=2) as checkpoints,
            checkpoints.batch(KEYS, window=2) as batch,
        ):
            for claim in batch:
                claim.complete({"done": claim.key})
                promise(claim.key)

    prepared(chaos.path)
    chaos.run(work_and_tell, chaos.path, chaos.promise)
    with opened(chaos.path) as store, Checkpoints(store, attempts=2) as checkpoints:
        for key in KEYS:
            assert key not in chaos.promised or checkpoints.is_completed(key)


@scenario(faults.disk().only("full"), timeout=TIMEOUT, budget=bounded(40))
def test_the_reserve_is_not_given_up(chaos: Chaos, monkeypatch: Patch) -> None:
    monkeypatch.setattr(Reserve, "give_up", lambda reserve: False)
    with Store.open(chaos.path / "store.db", reserve=256 << 10) as store, Checkpoints(store) as checkpoints:
        checkpoints.save("a", {"input": "a"}, status="pending")
    chaos.run(fail_on_a_full_disk, chaos.path, chaos.promise)
    assert "claimed" not in chaos.promised or "failed" in chaos.promised
