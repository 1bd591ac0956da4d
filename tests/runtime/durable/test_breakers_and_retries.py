"""What outlives a process beside checkpoints: the state of breakers, and the retry context of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaoskit.core.errors import UsageError
from chaoskit.runtime import (
    AttemptsUsedUp,
    BreakerLink,
    BreakerOpen,
    CircuitBreaker,
    Store,
    StoredBreakers,
    StoredRetries,
)
from chaoskit.runtime.clock import VirtualClock


class Process:
    """A breaker and its link, as one process has them; its thread does not run, rounds are made by hand."""

    def __init__(self, states: StoredBreakers, clock: VirtualClock) -> None:
        self.link = BreakerLink(states, every=3600.0)
        self.link._closed = True  # no thread: ``sync`` is what it would call
        self.breaker = CircuitBreaker(
            name="archive", failures=1, open_for=60.0, clock=clock, shared=self.link
        )

    def call(self, error: bool = False) -> str:
        def work() -> None:
            if error:
                raise ConnectionError("down")

        try:
            self.breaker.call(work)
        except BreakerOpen:
            return "rejected"
        except ConnectionError:
            return "error"
        return "value"


@pytest.fixture
def two(store: Store, clock: VirtualClock) -> tuple[Process, Process]:
    return Process(StoredBreakers(store), clock), Process(StoredBreakers(store), clock)


def test_an_opening_is_shared_and_so_is_a_closing(
    two: tuple[Process, Process], store: Store, clock: VirtualClock
) -> None:
    """The other process rejects without having failed; when one has probed, both are closed."""
    one, other = two
    assert one.call(error=True) == "error"
    one.link.sync()
    assert other.call() == "value"
    other.link.sync()
    assert other.call() == "rejected"
    assert StoredBreakers(store).states() == {"archive": 60.0}
    clock.advance(61)
    assert one.call() == "value"
    one.link.sync()
    other.link.sync()
    assert other.call() == "value"
    assert StoredBreakers(store).states() == {"archive": None}


def test_a_process_closes_what_it_has_opened_itself(store: Store) -> None:
    """At once, as an operator does by hand: its own opening is no news to it."""
    states = StoredBreakers(store)
    states.publish("archive", 60.0, "one")
    states.publish("archive", None, "one")
    assert states.states() == {"archive": None}


def test_an_opening_that_is_over_holds_up_no_closing(store: Store, clock: VirtualClock) -> None:
    """Also that of another process, which this one has never seen: nothing is open any more."""
    StoredBreakers(store).publish("archive", 60.0, "other")
    clock.advance(61)
    StoredBreakers(store).publish("archive", None, "one")
    assert StoredBreakers(store).states() == {"archive": None}


def closing_late(one: Process, other: Process, clock: VirtualClock) -> dict[str, float | None]:
    """One closes by what it knows of an earlier era, after the other has opened again."""
    one.call(error=True)
    one.link.sync()
    other.link.sync()
    clock.advance(61)
    assert one.call() == "value"  # its probe: closed, and not published yet
    assert other.call(error=True) == "error"  # the other's probe: open again
    other.link.sync()
    one.link.sync()
    return StoredBreakers(one.link._store._store).states()  # type: ignore[attr-defined]


def test_a_closing_of_an_earlier_era_changes_nothing(
    two: tuple[Process, Process], clock: VirtualClock
) -> None:
    """It has not seen the newest opening: that one stays, and is taken over."""
    assert closing_late(*two, clock) == {"archive": 60.0}
    assert two[0].call() == "rejected"


def test_without_the_fence_the_late_closing_wins(
    two: tuple[Process, Process], clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted twin: the last writer wins, and every process calls what was just found to be down."""
    monkeypatch.setattr(StoredBreakers, "_overtaken", lambda *_: False)
    assert closing_late(*two, clock) == {"archive": None}


def test_a_store_that_fails_leaves_each_to_itself(two: tuple[Process, Process], store: Store) -> None:
    """The breaker opens and rejects as if there were no store."""
    store.close()
    one, other = two
    assert one.call(error=True) == "error"
    one.link.sync()
    other.link.sync()
    assert one.call() == "rejected"
    assert other.call() == "value"


# --- retries -----------------------------------------------------------------------------------------------


def fail(retries: StoredRetries, run: str = "r") -> int:
    with pytest.raises(ValueError, match="bad"), retries.attempt(run, wait=300.0) as number:
        raise ValueError("bad")
    return number


def test_attempts_of_several_processes_count_together(store: Store, clock: VirtualClock) -> None:
    """Each object stands for a process: the third attempt is the last, whichever makes it."""
    assert [fail(StoredRetries(store)) for _ in range(3)] == [1, 2, 3]
    with pytest.raises(AttemptsUsedUp, match="all of its 3 attempts"), StoredRetries(store).attempt("r"):
        pass
    context = StoredRetries(store).context("r")
    assert context is not None
    assert (context.attempts, context.exhausted) == (3, True)
    assert [(one.attempt, one.error_type, one.message, one.wait) for one in context.failures] == [
        (1, "ValueError", "bad", 300.0),
        (2, "ValueError", "bad", 300.0),
        (3, "ValueError", "bad", None),
    ]
    assert context.failures[0].at == clock.time()
    assert StoredRetries(store, pipeline="other").context("r") is None
    assert StoredRetries(store).forget("r")
    assert fail(StoredRetries(store)) == 1


def test_a_killed_attempt_was_made(store: Store) -> None:
    """It is counted before it starts, so a run that brings its worker down ends; its history says so."""
    for _ in range(3):
        # As a process that is killed leaves it: started, and nothing more.
        store.write(lambda tx: StoredRetries(store)._start(tx, "r"))
    with pytest.raises(AttemptsUsedUp), StoredRetries(store).attempt("r"):
        pass
    context = StoredRetries(store).context("r")
    assert context is not None
    assert [one.error_type for one in context.failures] == ["WorkerLost"] * 3


def test_a_success_begins_anew_the_next_time(store: Store) -> None:
    """A run that has succeeded has all of its attempts again; its failures stay on record till then."""
    retries = StoredRetries(store)
    fail(retries)
    with retries.attempt("r") as number:
        assert number == 2
    context = retries.context("r")
    assert context is not None
    assert (len(context.failures), context.exhausted) == (1, False)
    assert fail(retries) == 1


def test_a_late_end_of_a_forgotten_attempt_changes_nothing(store: Store) -> None:
    """The run was forgotten and started again meanwhile: the newer attempt stands."""
    retries = StoredRetries(store)

    def late() -> None:
        with retries.attempt("r"):
            retries.forget("r")
            fail(retries)
            fail(retries)
            raise ValueError("late")

    with pytest.raises(ValueError, match="late"):
        late()
    context = retries.context("r")
    assert context is not None
    assert [one.message for one in context.failures] == ["bad", "bad"]


def test_old_contexts_are_forgotten(store: Store, clock: VirtualClock) -> None:
    """After ``keep`` seconds without a change."""
    retries = StoredRetries(store, keep=100.0)
    fail(retries, "old")
    clock.advance(101)
    fail(retries, "new")
    assert retries.purge() == 1
    assert retries.context("old") is None
    assert retries.context("new") is not None


def test_there_is_at_least_one_attempt(tmp_path: Path) -> None:
    """Zero attempts would be a run that never runs."""
    with (
        Store.open(tmp_path / "s.db", reserve=0, durability="memory") as store,
        pytest.raises(UsageError, match="attempts is 0"),
    ):
        StoredRetries(store, attempts=0)
