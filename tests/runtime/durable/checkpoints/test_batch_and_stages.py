"""Many steps with few commits, and the stages of a job in their order."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaoskit.core.errors import UsageError
from chaoskit.runtime import (
    Checkpoints,
    DeadLetters,
    LeaseLost,
    StageDead,
    StageHeld,
    Stages,
    Store,
    StoreBusy,
)
from chaoskit.runtime.durable.checkpoints.claims import Claim

KEYS = [f"{n:02}" for n in range(10)]


def done(checkpoints: Checkpoints) -> list[str]:
    return [key for key in KEYS if checkpoints.is_completed(key)]


def test_a_window_is_one_commit(checkpoints: Checkpoints, store: Store) -> None:
    """Ten keys by fours: three commits that claim and record, and one at the end."""
    before = store.statistics().commits
    with checkpoints.batch(KEYS, window=4) as batch:
        for claim in batch:
            with claim:
                claim.complete(int(claim.key))
    assert store.statistics().commits - before == 4
    assert [checkpoints.load(key) for key in KEYS] == list(range(10))


def test_a_new_step_of_a_batch_costs_one_statement(tmp_path: Path) -> None:
    """That which records its result: the claims of a window are made by a few for all of them."""
    from chaoskit.runtime.durable.store.writing import SqliteTx

    seen: list[str] = []
    sized = SqliteTx._sized
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            SqliteTx, "_sized", lambda tx, text, values: seen.append(text) or sized(tx, text, values)
        )
        with Checkpoints(tmp_path / "s.db", durability="memory") as checkpoints:
            with checkpoints.batch([str(n) for n in range(200)], window=64) as batch:
                for claim in batch:
                    claim.complete(claim.key)
            assert checkpoints.statistics().by_status == {"completed": 200}
    results = [text for text in seen if text.startswith("update")]
    assert len(results) == 200
    # Two for each full window, one for the rest, and one that enters the owner in each transaction.
    assert len(seen) - len(results) <= 12


def test_what_was_not_flushed_is_not_promised(checkpoints: Checkpoints) -> None:
    """A result counts from the flush on; before it, a reader sees the step running."""
    with checkpoints.batch(KEYS[:2]) as batch:
        first, second = batch
        first.complete(1)
        assert done(checkpoints) == []
        batch.flush()
        assert done(checkpoints) == KEYS[:1]
        second.complete(2)
    assert done(checkpoints) == KEYS[:2]


def test_a_result_is_kept_as_it_was_given(checkpoints: Checkpoints) -> None:
    """What the caller does to a value after ``complete``, while the batch waits, is not recorded."""
    value = [1]
    with checkpoints.batch(KEYS[:2]) as batch:
        for claim in batch:
            claim.complete(value)
            value.append(2)
    assert [checkpoints.load(key) for key in KEYS[:2]] == [[1], [1, 2]]


def test_a_batch_leaves_what_it_cannot_have(checkpoints: Checkpoints) -> None:
    """What is completed or runs elsewhere is passed over; a failure is recorded, the others go on."""
    checkpoints.save("00", 0)
    held = checkpoints.claim("01")
    with checkpoints.batch(KEYS[:4]) as batch:
        for claim in batch:
            try:
                with claim:
                    assert claim.key != "02"
            except AssertionError:
                pass
    assert held is not None
    held.release()
    assert done(checkpoints) == ["00", "03"]
    assert [one.key for one in checkpoints.failed()] == ["02"]


def test_an_error_gives_the_rest_back(checkpoints: Checkpoints) -> None:
    """What was done is recorded, and what was claimed but not begun is free, its attempt uncounted."""

    def work() -> None:
        with checkpoints.batch(KEYS, window=4) as batch:
            for claim in batch:
                claim.complete()
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert done(checkpoints) == KEYS[:1]
    assert [(one.key, one.attempts) for one in checkpoints.pending()] == [(key, 0) for key in KEYS[1:4]]


def test_a_key_that_stands_twice_is_done_once(checkpoints: Checkpoints) -> None:
    """Two claims of one step would both believe that it is theirs."""
    with checkpoints.batch(["a", "b", "a"]) as batch:
        assert [claim.key for claim in batch] == ["a", "b"]


def test_what_could_not_be_recorded_is_given_back(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stayed claimed for as long as this process lived. It runs again, its attempt uncounted."""

    def work() -> None:
        with checkpoints.batch(KEYS[:1]) as batch:
            for claim in batch:
                claim.complete()
            monkeypatch.setattr(batch, "_write", busy)

    def busy(*_: object) -> None:
        raise StoreBusy("held by another process")

    with pytest.raises(StoreBusy):
        work()
    assert [(one.key, one.attempts) for one in checkpoints.pending()] == [("00", 0)]


def test_a_flush_says_what_was_taken_over(checkpoints: Checkpoints) -> None:
    """The others are recorded."""
    with checkpoints.batch(KEYS[:2]) as batch:
        first, second = batch
        checkpoints.save("00", "by hand")
        first.complete(1)
        second.complete(2)
        with pytest.raises(LeaseLost, match="00"):
            batch.flush()
    assert (checkpoints.load("00"), checkpoints.load("01")) == ("by hand", 2)
    assert batch.lost == ["00"]


def test_stages_go_on_where_they_stopped(checkpoints: Checkpoints, tmp_path: Path) -> None:
    """What is complete is not run again, and gives its result; what failed is where it resumes."""
    ran: list[str] = []
    stages = Stages(checkpoints, "job", ["convert", "calibrate", "image"])

    def convert() -> dict[str, int]:
        ran.append("convert")
        (tmp_path / "ms").write_text("data")
        return {"rows": 3}

    assert stages.run("convert", convert, artefacts=["ms"]) == {"rows": 3}
    assert stages.run("convert", convert, artefacts=["ms"]) == {"rows": 3}
    with pytest.raises(ZeroDivisionError):
        stages.run("calibrate", lambda: 1 // 0)
    assert stages.resume() == "calibrate"
    assert stages.run("calibrate", lambda: None) is None
    assert stages.run("image", lambda: 3) == 3
    assert stages.resume() is None
    assert ran == ["convert"]
    stages.reset("calibrate")
    assert stages.resume() == "calibrate"


def test_a_stage_without_its_artefact_is_run_again(checkpoints: Checkpoints, tmp_path: Path) -> None:
    """A checkpoint says complete; the file says otherwise, and the file is right."""
    stages = Stages(checkpoints, "job", ["convert", "image"])

    def convert() -> None:
        (tmp_path / "ms").write_text("data")

    stages.run("convert", convert, artefacts=["ms"])
    (tmp_path / "ms").write_text("spoilt")
    assert stages.resume() == "convert"
    with pytest.raises(UsageError, match=r"'image' of 'job' was started and 'convert' is not complete"):
        stages.run("image", lambda: None)
    stages.run("convert", convert, artefacts=["ms"])
    assert stages.resume() == "image"


def test_a_stage_that_cannot_be_had_says_why(checkpoints: Checkpoints, letters: DeadLetters) -> None:
    """Run by another worker, or failed too often."""
    stages = Stages(checkpoints, "job", ["one"])
    claim = checkpoints.claim("one", scope="job")
    assert isinstance(claim, Claim)
    with pytest.raises(StageHeld, match="another worker"):
        stages.run("one", lambda: None)
    claim.release()
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            stages.run("one", lambda: 1 // 0)
    [letter] = letters.find()
    with pytest.raises(StageDead, match=letter.id):
        stages.run("one", lambda: None)
    with pytest.raises(UsageError, match=r"'two'.*expected one of 'one'"):
        stages.run("two", lambda: None)
    with pytest.raises(UsageError, match="each once"):
        Stages(checkpoints, "job", ["a", "a"])
