"""Checkpoints under disk errors, kills and loss of power: done is done, and starts were counted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from budgets import bounded

from chaoskit import Chaos, Outcome, faults, scenario
from chaoskit.runtime import Checkpoints, DeadLetters, Store
from chaoskit.runtime.failures.taxonomy import ResilienceError

EVERYTHING = faults.disk() | faults.share() | faults.kill() | faults.power_loss()
TIMEOUT = 30
KEYS = ("a", "b", "c")


def opened(directory: Path) -> Store:
    return Store.open(directory / "store.db", lock_timeout=0.3, reserve=0)


def prepared(directory: Path) -> None:
    """Three steps that wait, and a place for what they make."""
    (directory / "out").mkdir()
    with opened(directory) as store, Checkpoints(store, attempts=2) as checkpoints:
        for key in KEYS:
            checkpoints.save(key, {"input": key}, status="pending")


def check_errors(outcome: Outcome) -> None:
    """Whatever went wrong has a name."""
    assert outcome.error is None or isinstance(outcome.error, (ResilienceError, OSError)), outcome.error


# --- one step with an artefact -----------------------------------------------------------------------------


def work(directory: Path, promise: Callable[[str], None]) -> None:
    with opened(directory) as store, Checkpoints(store, attempts=2) as checkpoints:
        claim = checkpoints.claim("a")
        assert claim is not None
        promise("started")
        with claim:
            (directory / "out" / "a").write_text("made")
            claim.complete({"rows": 3}, artefacts=["out/a"])
        promise("done")


@scenario(EVERYTHING, model="strict", timeout=TIMEOUT, budget=bounded(80))
def test_a_completed_step_has_its_artefact(chaos: Chaos) -> None:
    """Done means: recorded, with a file that is what it was; not done means that it can be had again."""
    prepared(chaos.path)
    outcome = chaos.run(work, chaos.path, chaos.promise)
    with opened(chaos.path) as store, Checkpoints(store, attempts=2) as checkpoints:
        found = checkpoints.record("a")
        assert found is not None
        if "started" in chaos.promised:
            assert found.attempts == 1 or found.status == "pending"
        if found.status == "completed":
            assert checkpoints.is_completed("a", verify_checksum=True)
            assert checkpoints.load("a") == {"rows": 3}
        else:
            assert "done" not in chaos.promised
            assert checkpoints.claim("a") is not None
        assert checkpoints.verify().ok
    check_errors(outcome)


# --- the last attempt --------------------------------------------------------------------------------------


def fail_for_good(directory: Path, promise: Callable[[str], None]) -> None:
    with opened(directory) as store, Checkpoints(store, attempts=1) as checkpoints:
        claim = checkpoints.claim("a")
        assert claim is not None
        promise("started")
        claim.fail(ValueError("bad"))
        promise("dead")


@scenario(EVERYTHING, model="strict", timeout=TIMEOUT, budget=bounded(80))
def test_the_last_failure_is_never_lost(chaos: Chaos) -> None:
    """The step is always in exactly one place: to be had, or a dead letter; never both or none."""
    prepared(chaos.path)
    outcome = chaos.run(fail_for_good, chaos.path, chaos.promise)
    with opened(chaos.path) as store, Checkpoints(store, attempts=1) as checkpoints:
        found = checkpoints.record("a")
        letters = list(DeadLetters(store).find())
        assert found is not None
        assert (found.status == "dead") == (len(letters) == 1)
        if "dead" in chaos.promised:
            assert found.status == "dead"
        if found.status == "running":
            # Its worker is gone, and its only attempt with it.
            assert checkpoints.claim("a") is None
            assert [one.error["type"] for one in DeadLetters(store).find()] == ["WorkerLost"]
    check_errors(outcome)


# --- a batch -----------------------------------------------------------------------------------------------


def work_through(directory: Path, promise: Callable[[str], None]) -> None:
    with opened(directory) as store, Checkpoints(store, attempts=2) as checkpoints:
        with checkpoints.batch(KEYS, window=2) as batch:
            for claim in batch:
                with claim:
                    claim.complete({"done": claim.key})
        for key in KEYS:
            promise(key)


@scenario(EVERYTHING, model="strict", timeout=TIMEOUT, budget=bounded(80))
def test_a_batch_keeps_what_it_acknowledged(chaos: Chaos) -> None:
    """What the block has left is done; what it has not is to be had again, with at most one start counted."""
    prepared(chaos.path)
    outcome = chaos.run(work_through, chaos.path, chaos.promise)
    with opened(chaos.path) as store, Checkpoints(store, attempts=2) as checkpoints:
        for key in KEYS:
            found = checkpoints.record(key)
            assert found is not None
            assert found.attempts <= 1
            if found.status == "completed":
                assert found.value == {"done": key}
            else:
                assert key not in chaos.promised
                assert checkpoints.claim(key) is not None
    check_errors(outcome)


# --- a full disk -------------------------------------------------------------------------------------------


def fail_on_a_full_disk(directory: Path, promise: Callable[[str], None]) -> None:
    with (
        Store.open(directory / "store.db", lock_timeout=0.3, reserve=256 << 10) as store,
        Checkpoints(store, attempts=1) as checkpoints,
    ):
        claim = checkpoints.claim("a")
        assert claim is not None
        promise("claimed")
        claim.fail(ValueError("bad"))
        promise("failed")
        assert len(list(DeadLetters(store).find())) == 1
        promise("listed")


@scenario(faults.disk().only("full"), timeout=TIMEOUT, budget=bounded(40))
def test_a_failure_is_recorded_on_a_full_disk(chaos: Chaos) -> None:
    """The reserve is given up for it: a step that was claimed leaves its letter, which can be listed."""
    (chaos.path / "out").mkdir()
    with Store.open(chaos.path / "store.db", reserve=256 << 10) as store, Checkpoints(store) as checkpoints:
        checkpoints.save("a", {"input": "a"}, status="pending")
    chaos.run(fail_on_a_full_disk, chaos.path, chaos.promise)
    assert "claimed" not in chaos.promised or "listed" in chaos.promised
    with opened(chaos.path) as store:
        assert len(list(DeadLetters(store).find())) == ("failed" in chaos.promised)
