"""A run that failed for good is kept, put back neither lost nor doubled, and resolved once."""

from __future__ import annotations

from typing import Any

import pytest

from chaoskit.core.errors import UsageError
from chaoskit.runtime import DeadLetter, DeadLetters, Outbox, RedriveLimit, Store, context
from chaoskit.runtime.clock import VirtualClock

DAY = 86400.0


def add(letters: DeadLetters, run: str = "run-1", attempts: int = 3, **more: Any) -> str:
    given: dict[str, Any] = {"pipeline": "recon", "error": ValueError("no anatomy"), "payload": {"run": run}}
    return letters.add(run_id=run, attempts=attempts, **{**given, **more})


def letter(letters: DeadLetters, id: str) -> DeadLetter:
    found = letters.get(id)
    assert found is not None
    return found


# --- adding ------------------------------------------------------------------------------------------------


def test_a_letter_keeps_all_that_a_person_needs(letters: DeadLetters) -> None:
    """Payload, error chain, attempts, history, correlation id; the error as text."""
    try:
        try:
            raise OSError("disk")
        except OSError as cause:
            raise ValueError("no anatomy, password=hunter2secret") from cause
    except ValueError as error:
        with context.operation("recon", correlation_id="abc123"):
            id = add(letters, error=error, history=[{"attempt": 1}], session="s", subject="m")
    found = letter(letters, id)
    assert (found.pipeline, found.run_id, found.status, found.attempts) == ("recon", "run-1", "open", 3)
    assert found.payload == {"run": "run-1"}
    assert found.history == ({"attempt": 1},)
    assert (found.session, found.subject, found.correlation_id) == ("s", "m", "abc123")
    assert found.error["type"] == "ValueError"
    assert found.error["chain"] == [{"type": "OSError", "message": "disk"}]
    assert "test_letters.py" in found.error["traceback"]
    assert "hunter2secret" not in str(found.to_dict())


@pytest.mark.parametrize(
    "more",
    [
        {"history": ["late"]},
        {"history": "late"},
        {"history": [None]},
        {"history": {"attempt": 1}},
        {"error": {}},
        {"error": {"type": "ValueError", "message": None}},
    ],
)
def test_what_no_reader_of_letters_could_show_is_refused(letters: DeadLetters, more: dict[str, Any]) -> None:
    """A bare TypeError, or a letter on which the page of all letters failed."""
    with pytest.raises(UsageError, match="expected"):
        add(letters, **more)
    assert letters.statistics().total == 0
    found = letter(letters, add(letters, error={"type": "ValueError", "message": "x"}))
    assert (found.error["traceback"], found.error["chain"]) == ("", [])


def test_one_failure_is_one_letter(letters: DeadLetters) -> None:
    """Reported again, it changes nothing; another run, or one of another pipeline, is another letter."""
    first = add(letters)
    assert add(letters, payload="other") == first
    assert letter(letters, first).payload == {"run": "run-1"}
    assert len({first, add(letters, "run-2"), add(letters, pipeline="other")}) == 3


def test_a_letter_comes_with_its_transaction(letters: DeadLetters, store: Store) -> None:
    """Rolled back, it never was."""

    def work() -> None:
        with store.transaction() as tx:
            add(letters, tx=tx)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert list(letters.find()) == []


@pytest.mark.parametrize("wrong", [{"pipeline": ""}, {"run_id": ""}, {"run_id": "r\udcff"}])
def test_a_letter_names_its_run(letters: DeadLetters, wrong: dict[str, str]) -> None:
    """Without a name it could not be told from another one."""
    with pytest.raises(UsageError, match=r"not empty|UTF-8 can hold"):
        letters.add(**{"pipeline": "p", "run_id": "r", "error": ValueError(), "attempts": 1, **wrong})  # type: ignore[arg-type]


# --- redriving ---------------------------------------------------------------------------------------------


def test_a_redrive_is_a_message_and_a_mark(letters: DeadLetters, outbox: Outbox) -> None:
    """Asked for twice it is one message; forced, it is one more."""
    id = add(letters)
    message = letters.redrive(id, by="me")
    assert (message.topic, message.key, message.payload) == ("recon", f"{id}#1", {"run": "run-1"})
    assert letters.redrive(id, by="you").key == message.key
    assert [one.key for one in outbox.pending()] == [f"{id}#1"]
    assert (letter(letters, id).status, letter(letters, id).redrives) == ("redriven", 1)
    assert letters.redrive(id, by="me", force=True).key == f"{id}#2"


def test_a_redrive_within_a_transaction_is_all_or_nothing(
    letters: DeadLetters, outbox: Outbox, store: Store
) -> None:
    """Neither the mark nor the message stays behind."""
    id = add(letters)

    def work() -> None:
        with store.transaction() as tx:
            letters.redrive(id, by="me", tx=tx)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert list(outbox.pending()) == []
    assert letter(letters, id).status == "open"


def test_a_failure_after_a_redrive_opens_it_again(letters: DeadLetters) -> None:
    """Named by the number of the redrive; the report of the first failure, come late, does not."""
    id = add(letters)
    letters.redrive(id, by="me")
    add(letters)
    assert letter(letters, id).status == "redriven"
    add(letters, redrive=1)
    assert letter(letters, id).status == "open"


def test_redrives_are_limited(letters: DeadLetters) -> None:
    """Three, unless forced; failures that differ each time are no poison."""
    id = add(letters)
    for n in range(1, 4):
        letters.redrive(id, by="me")
        add(letters, redrive=n, error=ValueError("abc"[n - 1]))
    with pytest.raises(RedriveLimit, match="redriven 3 times"):
        letters.redrive(id, by="me")
    assert not letter(letters, id).poison
    assert letters.redrive(id, by="me", force=True).key == f"{id}#4"


def test_the_same_failure_again_and_again_is_poison(store: Store) -> None:
    """Two redrives that end alike, but for numbers and addresses: only force puts it back."""
    letters = DeadLetters(store, max_redrives=9, poison_after=2)
    id = add(letters, error=ValueError("row 7 at 0x7f12"))
    for n in (1, 2):
        assert not letter(letters, id).poison
        letters.redrive(id, by="me")
        add(letters, redrive=n, error=ValueError(f"row {n} at 0x{n}"))
    assert [one.id for one in letters.find(poison=True)] == [id]
    with pytest.raises(RedriveLimit, match="same way 3 times"):
        letters.redrive(id, by="me")
    letters.redrive(id, by="me", force=True)
    # One that was forced and failed otherwise is still for a person to look at.
    add(letters, redrive=3, error=TypeError("something else"))
    assert letter(letters, id).poison


def test_a_plan_says_what_would_be(letters: DeadLetters, outbox: Outbox) -> None:
    """By default nothing is done; then what may be is put back, and what may not is named with its reason."""
    stuck, good = add(letters, "stuck"), add(letters, "good")
    for n in range(1, 4):
        letters.redrive(stuck, by="me")
        add(letters, "stuck", redrive=n)
    before = len(list(outbox.pending()))
    plan = letters.redrive_all(by="me")
    assert plan.dry_run
    assert len(list(outbox.pending())) == before
    done = letters.redrive_all(by="me", dry_run=False)
    assert plan.redriven == done.redriven == (good,)
    assert plan.left.keys() == done.left.keys() == {stuck}
    assert letters.redrive_all(lambda one: one.run_id == "none", by="me").redriven == ()
    # What is on its way is in no plan: only a person may decide that it was lost.
    again = letters.redrive_all(by="me", dry_run=False)
    assert (again.redriven, again.left.keys()) == ((), {stuck})


# --- the end -----------------------------------------------------------------------------------------------


def test_resolved_stays_resolved(letters: DeadLetters, clock: VirtualClock) -> None:
    """The first answer stays; it is not redriven; a later failure of the run is another letter."""
    id = add(letters)
    assert letters.resolve(id, by="me", notes="was the scanner")
    clock.advance(5)
    assert not letters.resolve(id, by="you", notes="no")
    found = letter(letters, id)
    assert (found.resolved_by, found.notes, found.resolved_at) == ("me", "was the scanner", clock.time() - 5)
    with pytest.raises(UsageError, match="was resolved by me"):
        letters.redrive(id, by="you", force=True)
    later = add(letters, attempts=6)
    assert later != id
    assert add(letters, attempts=6) == later
    assert letter(letters, id).resolved
    assert [one.id for one in letters.find()] == [later]
    assert [one.id for one in letters.find(resolved=True)] == [id]


def test_only_the_resolved_are_purged(letters: DeadLetters, clock: VirtualClock) -> None:
    """Ninety days after they were; what is open stays for as long as it takes."""
    old, kept = add(letters, "old"), add(letters, "open")
    letters.resolve(old, by="me")
    assert letters.purge() == 0
    clock.advance(91 * DAY)
    assert letters.purge(dry_run=True) == 1
    add(letters, "new")
    assert letters.get(old) is None, "adding cleans up"
    assert letters.get(kept) is not None


@pytest.mark.parametrize("target", ["sqlite"], indirect=True)
def test_letters_that_cannot_be_read_are_counted_apart(
    letters: DeadLetters, store: Store, clock: VirtualClock
) -> None:
    """In the statistics, and in what a purge would remove: they are as old as the others."""
    for run in ("good", "bad"):
        letters.resolve(add(letters, run), by="me")
    with store.transaction() as tx:
        tx.execute("update record set payload = '{' where payload like '%\"bad\"%'")  # type: ignore[attr-defined]
    seen = letters.statistics()
    assert (seen.total, seen.damaged) == (1, 1)
    clock.advance(91 * DAY)
    assert letters.purge(dry_run=True) == letters.purge() == 2
    assert letters.statistics().damaged == 0


def test_statistics_go_by_pipeline(letters: DeadLetters, clock: VirtualClock) -> None:
    """Counted by pipeline and status; the oldest unresolved one tells how long they wait."""
    first = clock.time()
    add(letters)
    clock.advance(10)
    letters.resolve(add(letters, "run-2"), by="me")
    add(letters, pipeline="other")
    seen = letters.statistics()
    assert (seen.total, seen.unresolved, seen.poison, seen.oldest) == (3, 2, 0, first)
    assert seen.by_pipeline == {"recon": {"open": 1, "resolved": 1}, "other": {"open": 1}}
    assert [one.pipeline for one in letters.find("other")] == ["other"]


def test_an_id_is_checked(letters: DeadLetters) -> None:
    """What is none says so; what is not there says that."""
    with pytest.raises(UsageError, match="not the id of a dead letter"):
        letters.get("nonsense")
    assert letters.get("recon:1") is None
    with pytest.raises(UsageError, match="there is no dead letter"):
        letters.resolve("recon:1", by="me")
    with pytest.raises(UsageError, match="at least 1"):
        DeadLetters(letters._store, max_redrives=0)
