"""Who works on what: the fence, the count of attempts, the end of a claim, and what no end is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from chaoskit.core.errors import UsageError
from chaoskit.runtime import Checkpoints, Claim, DeadLetters, LeaseLost, OutcomeUnknown, Store, StoreBusy
from chaoskit.runtime.clock import VirtualClock
from chaoskit.runtime.durable.store.lock import LockFile


def claimed(checkpoints: Checkpoints, key: str = "a") -> Claim:
    claim = checkpoints.claim(key)
    assert claim is not None
    return claim


def status(checkpoints: Checkpoints, key: str = "a") -> tuple[str, int]:
    found = checkpoints.record(key)
    assert found is not None
    return found.status, found.attempts


def test_a_claim_that_is_refused_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    """A worker that finds nothing to do is not an owner: what runs again and again changes nothing."""
    place = tmp_path / "store.db"
    with Checkpoints(place, pipeline="p") as checkpoints:
        claimed(checkpoints, "dead").fail(ValueError("wrong"), final=True)
        claimed(checkpoints, "done").complete()
    before = place.read_bytes()
    with Checkpoints(place, pipeline="p") as checkpoints:
        assert checkpoints.claim("dead") is None
        assert checkpoints.claim("done") is None
    assert place.read_bytes() == before


@pytest.mark.parametrize("after", [float("nan"), float("inf")])
def test_a_failure_is_tried_again_at_a_time(checkpoints: Checkpoints, after: float) -> None:
    """A backoff that went wrong is told at once: the run would be pending, and due at no time at all."""
    claim = claimed(checkpoints)
    with pytest.raises(UsageError, match="retry_in is"):
        claim.fail(ValueError("x"), retry_in=after)
    claim.fail(ValueError("x"), retry_in=0)
    claimed(checkpoints)
    assert status(checkpoints) == ("running", 2)


# --- the end of a claim ------------------------------------------------------------------------------------


def test_the_attempt_is_counted_before_the_work(checkpoints: Checkpoints) -> None:
    """As soon as the claim is there, it is on record that there was one."""
    claim = claimed(checkpoints)
    assert status(checkpoints) == ("running", 1)
    assert checkpoints.claim("a") is None
    claim.complete({"n": 1})
    assert checkpoints.load("a") == {"n": 1}
    assert checkpoints.claim("a") is None


def test_leaving_the_block_ends_it(checkpoints: Checkpoints) -> None:
    """Without an error it is completed, and keeps what it was saved with; with one it failed."""
    checkpoints.save("a", "input", status="pending")
    with claimed(checkpoints) as claim:
        assert claim.value == "input"
    assert status(checkpoints) == ("completed", 1)
    assert checkpoints.load("a") == "input"
    with pytest.raises(ValueError, match="bad"), claimed(checkpoints, "b"):
        raise ValueError("bad")
    assert status(checkpoints, "b") == ("failed", 1)
    with claimed(checkpoints, "c") as claim:
        claim.fail(ValueError("told"))
    assert status(checkpoints, "c") == ("failed", 1)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(), StoreBusy("busy"), OutcomeUnknown("?")])
def test_what_is_no_result_gives_it_back(checkpoints: Checkpoints, error: BaseException) -> None:
    """An interrupt, and the store's own trouble: the attempt does not count, and it is due at once."""
    for _ in range(5):
        with pytest.raises(type(error)), claimed(checkpoints):
            raise error
    assert status(checkpoints) == ("pending", 0)
    assert [claim.attempt for claim in checkpoints.claim_next()] == [1]


def test_an_ended_claim_does_no_more(checkpoints: Checkpoints) -> None:
    """Completing twice is an error that says so; releasing after the end does nothing."""
    claim = claimed(checkpoints)
    claim.complete()
    for again in (claim.complete, lambda: claim.fail(ValueError()), lambda: claim.progress(1)):
        with pytest.raises(UsageError, match="has ended"):
            again()
    claim.release()
    assert status(checkpoints) == ("completed", 1)


def test_progress_outlives_the_attempt(checkpoints: Checkpoints) -> None:
    """The next attempt finds how far the last one came."""
    claim = claimed(checkpoints)
    claim.progress({"row": 7})
    claim.fail(ValueError("bad"))
    assert claimed(checkpoints).reached == {"row": 7}


def test_progress_and_attempts_are_those_of_one_input(checkpoints: Checkpoints, tmp_path: Path) -> None:
    """A worker that finds another input than the one before it begins at the beginning."""
    path, seen = tmp_path / "in.csv", []
    for text in ("one", "one", "two", "three"):
        path.write_text(text)
        claim = checkpoints.claim("a", source=path)
        assert claim is not None
        assert claim.source is not None
        assert claim.source.checksum == f"sha256:{sha256(text.encode()).hexdigest()}"
        seen.append((claim.reached, claim.attempt))
        claim.progress(text)
        if text == "two":
            claim.release()
        else:
            claim.fail(ValueError("bad"), retry_in=0.0)
    assert seen == [(None, 1), ("one", 2), (None, 1), (None, 1)]


def test_a_failure_can_wait(checkpoints: Checkpoints, clock: VirtualClock) -> None:
    """It is due again after the time that was given, and not before."""
    claimed(checkpoints).fail(ValueError("bad"), retry_in=30)
    assert status(checkpoints) == ("pending", 1)
    assert checkpoints.claim("a") is None
    assert checkpoints.claim_next() == []
    clock.advance(30)
    assert [claim.attempt for claim in checkpoints.claim_next()] == [2]


def test_an_end_in_a_transaction_comes_with_it(checkpoints: Checkpoints, store: Store) -> None:
    """The result and what else is written are one."""
    claim = claimed(checkpoints)

    def work() -> None:
        with store.transaction() as tx:
            claim.complete(1, tx=tx)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert status(checkpoints) == ("running", 1)


# --- attempts ----------------------------------------------------------------------------------------------


def fail(checkpoints: Checkpoints, times: int) -> None:
    for n in range(times):
        claimed(checkpoints).fail(ValueError(f"bad {n}"))


def test_the_last_attempt_leaves_a_dead_letter(checkpoints: Checkpoints, letters: DeadLetters) -> None:
    """With payload, error and history, in one transaction with the end; it can no longer be claimed."""
    checkpoints.save("a", {"file": "x"}, status="pending")
    fail(checkpoints, 3)
    assert status(checkpoints) == ("dead", 3)
    assert checkpoints.claim("a") is None
    assert checkpoints.claim_next() == []
    [letter] = letters.find()
    assert (letter.pipeline, letter.run_id, letter.attempts) == ("p", "a", 3)
    assert letter.payload == {"file": "x"}
    assert letter.error["message"] == "bad 2"
    assert [one["attempt"] for one in letter.history] == [1, 2, 3]
    found = checkpoints.record("a")
    assert found is not None
    assert found.letter == letter.id


def test_a_redriven_letter_revives_its_checkpoint(checkpoints: Checkpoints, letters: DeadLetters) -> None:
    """All attempts again, and the fence counts on; failing again opens the letter, completing resolves it."""
    fail(checkpoints, 3)
    [letter] = letters.find()
    letters.redrive(letter.id, by="me")
    assert status(checkpoints) == ("pending", 0)
    fail(checkpoints, 3)
    [letter] = letters.find()
    assert (letter.status, letter.attempts, letter.redrives) == ("open", 6, 1)
    letters.redrive(letter.id, by="me")
    claimed(checkpoints).complete()
    [letter] = letters.find(resolved=True)
    assert (letter.resolved_by, letter.redrives) == ("attempt 7 of 'a'", 2)


def test_a_completed_checkpoint_is_not_revived(checkpoints: Checkpoints, letters: DeadLetters) -> None:
    """A late redrive must not undo what a person has put right; nothing is changed."""
    fail(checkpoints, 3)
    [letter] = letters.find()
    checkpoints.save("a", "by hand")
    with pytest.raises(UsageError, match="is running, done or removed"):
        letters.redrive(letter.id, by="me")
    assert [one.status for one in letters.find()] == ["open"]
    assert checkpoints.load("a") == "by hand"


def test_room_is_left_for_a_failure(checkpoints: Checkpoints, letters: DeadLetters) -> None:
    """However large a value was taken, a long error full of odd characters can be recorded with it."""
    checkpoints.save("a", "x" * 900_000, status="pending")
    for _ in range(3):
        claimed(checkpoints).fail(ValueError("\x01\ud800é" * 100_000))
    assert [one.status for one in letters.find()] == ["open"]


# --- fences ------------------------------------------------------------------------------------------------


def test_a_late_end_changes_nothing(checkpoints: Checkpoints) -> None:
    """Whatever the claim tries that was taken over: the later one's result stays."""
    claim = claimed(checkpoints)
    checkpoints.save("a", "by hand", status="pending")
    later = claimed(checkpoints)
    assert later.fence > claim.fence
    late = claimed_again(checkpoints, claim)
    with pytest.raises(LeaseLost, match=f"fence {claim.fence}"):
        claim.complete("late")
    for end in (lambda: late.fail(ValueError()), late.release, lambda: late.progress(1), late.check):
        late._open = True
        with pytest.raises(LeaseLost):
            end()
    assert claim.lost.is_set()
    later.check()
    later.complete("right")
    assert checkpoints.load("a") == "right"


def test_a_late_failure_leaves_no_letter(checkpoints: Checkpoints, store: Store) -> None:
    """A person would redrive what another worker has in hand."""
    claim = claimed(checkpoints)
    checkpoints.save("a", "by hand")
    with pytest.raises(LeaseLost):
        claim.fail(ValueError("late"), final=True)
    assert list(DeadLetters(store).find()) == []


def test_progress_renews_the_lease(checkpoints: Checkpoints, clock: VirtualClock) -> None:
    """A worker that tells of its progress is alive, whatever its thread for renewals does."""
    claim = claimed(checkpoints)
    clock.advance(40)
    claim.progress(1)
    found = checkpoints.record("a")
    assert found is not None
    assert found.due == clock.time() + 60


def test_a_step_that_is_done_again_has_no_artefacts_yet(checkpoints: Checkpoints, tmp_path: Path) -> None:
    """Those of the time before are of another result, if it fails now."""
    (tmp_path / "out").write_text("made")
    claimed(checkpoints).complete(artefacts=["out"])
    again = checkpoints.reclaim("a")
    assert again is not None
    again.fail(ValueError("x"))
    found = checkpoints.record("a")
    assert found is not None
    assert found.artefacts == ()


def claimed_again(checkpoints: Checkpoints, claim: Claim) -> Claim:
    """The same claim once more, as another part of the program may hold it."""
    return Claim(checkpoints._terms, claim.held, checkpoints._renewal, checkpoints._submit)


def test_without_the_fence_a_late_end_wins(checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: an end that looks at the key alone overwrites the later result."""

    def unfenced(tx, terms, held, content):  # type: ignore[no-untyped-def]
        return tx.change(terms.kind, held.record.key, status="completed", value=content)

    claim = claimed(checkpoints)
    checkpoints.save("a", "by hand")
    monkeypatch.setattr("chaoskit.runtime.durable.checkpoints.claims.complete", unfenced)
    claim.complete("late")
    assert checkpoints.load("a") == "late"


def test_renewal_keeps_leases_and_tells_what_is_lost(checkpoints: Checkpoints, clock: VirtualClock) -> None:
    """One commit for all of them; one that was taken over learns of it."""
    kept, gone = claimed(checkpoints), claimed(checkpoints, "b")
    checkpoints.save("b", "by hand")
    clock.advance(40)
    checkpoints._renewal.renew()
    found = checkpoints.record("a")
    assert found is not None
    assert found.due == clock.time() + 60
    assert gone.lost.is_set()
    assert not kept.lost.is_set()
    kept.complete()
    checkpoints._renewal.renew()
    assert not kept.lost.is_set()


def test_the_thread_renews(store: Store) -> None:
    """By itself, at a third of the lease; it ends with the checkpoints, which give back what is held."""
    with Checkpoints(store, pipeline="p", lease=0.03) as checkpoints:
        claim = claimed(checkpoints)
        checkpoints.save("a", "by hand")
        assert claim.lost.wait(20)
        claimed(checkpoints, "b")
    with Checkpoints(store, pipeline="p") as checkpoints:
        assert status(checkpoints, "b") == ("pending", 0)


# --- other processes ---------------------------------------------------------------------------------------

WORKER = """
import sys
from chaoskit.runtime import Checkpoints
checkpoints = Checkpoints(sys.argv[1], pipeline="p", attempts=3, lease=0.001, durability="process-crash")
for line in sys.stdin:
    claim = checkpoints.claim(line.strip())
    print(claim and claim.attempt, flush=True)
"""


class Worker:
    """Another process that claims when it is told to, and holds on to it."""

    def __init__(self, target: str) -> None:
        command = [sys.executable, "-c", WORKER, target]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def claim(self, key: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{key}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def suspend(self, lock: LockFile) -> None:
        """Stop it outside a commit: stopped within one, it would keep the store from everyone."""
        pid = self.process.pid
        while True:
            os.kill(pid, signal.SIGSTOP)
            os.waitid(os.P_PID, pid, os.WSTOPPED)
            if lock.holder(0) != pid:
                return
            os.kill(pid, signal.SIGCONT)

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def shared(target: str, clock: VirtualClock) -> Iterator[Checkpoints]:
    with (
        Store.open(target, durability="process-crash", clock=clock, reserve=0) as store,
        Checkpoints(store, pipeline="p", attempts=3) as checkpoints,
    ):
        yield checkpoints


@pytest.mark.parametrize("target", ["sqlite"], indirect=True)
def test_a_suspended_worker_keeps_its_claim(shared: Checkpoints, target: str, clock: VirtualClock) -> None:
    """Its lease is long over and the clock an hour ahead: it lives, so it has it; killed, it has not."""
    worker = Worker(target)
    assert worker.claim("a") == "1"
    worker.suspend(LockFile.open(Path(f"{target}.lock")))
    clock.step(3600)
    assert shared.claim("a") is None
    worker.kill()
    claim = shared.claim("a")
    assert claim is not None
    assert claim.attempt == 2


def test_killed_workers_use_up_the_attempts(shared: Checkpoints, target: str) -> None:
    """Three that were killed without a word: the fourth claim is a dead letter that says so."""
    for attempt in "123":
        worker = Worker(target)
        assert worker.claim("a") == attempt
        worker.kill()
    assert shared.claim("a") is None
    [letter] = DeadLetters(shared._store).find()
    assert (letter.error["type"], letter.attempts) == ("WorkerLost", 3)
    assert status(shared)[0] == "dead"


def test_a_worker_that_was_killed_last_is_what_its_letter_tells(shared: Checkpoints, target: str) -> None:
    """And not the error of an attempt before, which may long be mended."""
    claimed(shared).fail(ValueError("mended since"))
    for _ in "23":
        worker = Worker(target)
        assert worker.claim("a") != "None"
        worker.kill()
    assert shared.claim("a") is None
    [letter] = DeadLetters(shared._store).find()
    assert letter.error["type"] == "WorkerLost"
    assert [one["type"] for one in letter.history] == ["ValueError", "WorkerLost"]


def test_a_poisonous_one_does_not_stop_the_next(shared: Checkpoints, target: str) -> None:
    """claim_next buries what has no attempt left, and hands out what stands behind it."""
    shared.save("a", 1, status="pending")
    for _ in "123":
        worker = Worker(target)
        assert worker.claim("a") != "None"
        worker.kill()
    shared.save("b", 2, status="pending")
    assert [claim.key for claim in shared.claim_next(limit=1)] == ["b"]


# --- lost answers ------------------------------------------------------------------------------------------


class Deaf:
    """A store whose writes commit, and whose answer is lost."""

    def __init__(self, store: Store) -> None:
        self._store, self.deaf = store, True

    def write(self, work, *, operation_id=None, urgent=False):  # type: ignore[no-untyped-def]
        if not self.deaf:
            return self._store.write(work, operation_id=operation_id, urgent=urgent)
        ids: list[str] = []
        self._store.write(lambda tx: (ids.append(tx.operation_id), work(tx)))
        raise OutcomeUnknown("the answer was lost", operation_id=ids[0])

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)


def test_a_lost_answer_is_asked_for(checkpoints: Checkpoints, store: Store) -> None:
    """What was claimed is held, and what was completed is: neither is left to a worker that does not know."""
    deaf = Deaf(store)
    object.__setattr__(checkpoints._terms, "store", deaf)
    checkpoints._store = deaf  # type: ignore[assignment]
    claim = claimed(checkpoints)
    claim.complete(5)
    deaf.deaf = False
    assert checkpoints.load("a") == 5
    assert status(checkpoints) == ("completed", 1)


def test_an_attempt_that_was_left_is_given_back(checkpoints: Checkpoints) -> None:
    """By the thread, as soon as the store takes it; one that has ended is left as it ended."""
    claim = claimed(checkpoints, "a")
    claim.leave()
    claim.leave()
    assert not claim.open
    checkpoints._renewal.settle()
    record = checkpoints.record("a")
    assert record is not None
    assert (record.status, record.attempts) == ("pending", 0)
    done = claimed(checkpoints, "a")
    done.complete("result")
    done.leave()
    checkpoints._renewal.settle()
    assert checkpoints.load("a") == "result"


def test_what_was_to_come_with_a_transaction_does_not_come_without_it(
    checkpoints: Checkpoints, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transaction of the caller failed: the attempt is given back, and not completed later."""
    claim = claimed(checkpoints, "a")

    def end() -> None:
        with store.transaction() as tx:
            monkeypatch.setattr(type(tx), "change", lambda *args, **options: 1 / 0)
            claim.complete("result", tx=tx)

    with pytest.raises(ZeroDivisionError):
        end()
    monkeypatch.undo()
    claim.leave()
    checkpoints._renewal.settle()
    record = checkpoints.record("a")
    assert record is not None
    assert record.status == "pending"
