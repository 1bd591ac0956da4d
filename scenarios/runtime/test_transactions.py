"""Transactions on local directories: every kill, disk error, lost answer and loss of power, at every call."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from budgets import bounded

from chaoskit import Chaos, Outcome, faults, scenario
from chaoskit.runtime import (
    Checkpoints,
    OutcomeUnknown,
    ResilienceError,
    Transaction,
    TransactionReader,
    recover_transactions,
)
from chaoskit.runtime.durable.transactions.local.pointer import workspace_of
from chaoskit.runtime.durable.transactions.records import Layout

EVERYTHING = faults.disk() | faults.share() | faults.kill() | faults.power_loss() | faults.fsync_lies()
NAMES = ("a.csv", "tables/b.csv")


def content(generation: str, name: str) -> bytes:
    """What a member holds: enough for several pages of a disk."""
    return f"{generation} {name}\n".encode() * 400


def commit(target: Path, generation: str, layout: Layout, promise: Callable[[str], None]) -> None:
    """One transaction; its id is its generation."""
    with Transaction.local(target, layout=layout, id=generation, grace=0.0) as tx:
        for name in NAMES:
            tx.add(name, content(generation, name))
        tx.commit()
    promise(generation)


def prepared(target: Path, layout: Layout) -> None:
    """One transaction that has been committed."""
    commit(target, "old", layout, lambda _: None)


def seen(target: Path) -> str:
    """Which generation a reader sees that knows nothing of transactions; "mix" for several."""
    place = Path(os.path.realpath(target))
    found = {(place / name).read_bytes().split()[0].decode() for name in NAMES}
    for name in NAMES:
        assert (place / name).read_bytes() in (content("old", name), content("new", name)), "damaged"
    return found.pop() if len(found) == 1 else "mix"


def check_answer(outcome: Outcome, shown: str, promised: bool) -> None:
    """An error other than OutcomeUnknown means the old one, a promise the new one."""
    error = outcome.error
    assert error is None or isinstance(error, OSError | ResilienceError), "an error without a class"
    assert not promised or shown == "new", "an acknowledged transaction is gone"
    if error is not None and not isinstance(error, OutcomeUnknown):
        assert shown == "old", f"committed, though it raised {error!r}"


def settle(chaos: Chaos, target: Path, layout: Layout) -> None:
    """Recover, twice; then the same transaction again is all that is missing, and nothing is left over."""
    chaos.recover(recover_transactions, target, grace=0.0)
    before = seen(target)
    assert before in ("old", "new")
    assert TransactionReader(target).verify() == []
    commit(target, "new", layout, lambda _: None)
    assert seen(target) == "new"
    reader = TransactionReader(target)
    assert reader.receipt.number == 2, "committed more than once"
    assert reader.verify() == []
    work = workspace_of(target) if layout == "pointer" else target / ".transactions"
    stages = [one.name for one in work.iterdir() if one.is_dir()]
    assert stages == ([reader.receipt.generation] if layout == "pointer" else []), "something was left"
    assert [one for one in os.listdir(target.parent) if ".ck-" in one] == []


@scenario(EVERYTHING, model="strict", timeout=30, budget=bounded(60))
def test_with_a_pointer_every_reader_sees_all_or_nothing(chaos: Chaos) -> None:
    """Before any recovery, whatever is struck where."""
    target = chaos.path / "out"
    prepared(target, "pointer")
    outcome = chaos.run(commit, target, "new", "pointer", chaos.promise)
    shown = seen(target)
    assert shown != "mix"
    assert TransactionReader(target).verify() == []
    check_answer(outcome, shown, bool(chaos.promised))
    settle(chaos, target, "pointer")


@scenario(EVERYTHING, model="strict", timeout=30, budget=bounded(60))
def test_under_final_names_it_is_all_or_nothing_after_a_recovery(chaos: Chaos) -> None:
    """And without one an error that is not OutcomeUnknown still means that nothing was changed."""
    target = chaos.path / "out"
    prepared(target, "final")
    outcome = chaos.run(commit, target, "new", "final", chaos.promise)
    if outcome.error is not None and not isinstance(outcome.error, OutcomeUnknown):
        assert seen(target) == "old"
    chaos.recover(recover_transactions, target)
    check_answer(outcome, seen(target), bool(chaos.promised))
    settle(chaos, target, "final")


def interrupted(target: Path, layout: Layout) -> None:
    """A transaction whose process dies right after the decision, or whose first sync after it fails."""

    class Stop(BaseException):
        pass

    def at(_: object, state: str) -> None:
        if state == "decided":
            raise Stop

    tx = Transaction.local(target, layout=layout, id="new", grace=0.0)
    tx._reached = at.__get__(tx)  # type: ignore[method-assign]
    with contextlib.suppress(Stop), tx:
        for name in NAMES:
            tx.add(name, content("new", name))
        tx.commit()


def recover(target: Path, promise: Callable[[str], None]) -> None:
    recover_transactions(target, grace=0.0)
    promise("new")


@scenario(EVERYTHING, model="strict", timeout=30, budget=bounded(30))
def test_a_recovery_that_is_struck_is_made_good_by_the_next_under_final_names(chaos: Chaos) -> None:
    """What was decided stays decided, however often it takes to finish it."""
    target = chaos.path / "out"
    prepared(target, "final")
    interrupted(target, "final")
    chaos.run(recover, target, chaos.promise)
    if chaos.promised:
        assert seen(target) == "new"
    settle(chaos, target, "final")
    assert seen(target) == "new"


@scenario(EVERYTHING, model="strict", timeout=30, budget=bounded(30))
def test_a_recovery_that_is_struck_is_made_good_by_the_next_with_a_pointer(chaos: Chaos) -> None:
    """What another process has published and not synced is never removed from under its link."""
    target = chaos.path / "out"
    prepared(target, "pointer")
    chaos.run(interrupted, target, "pointer")
    chaos.run(recover, target, chaos.promise)
    assert seen(target) != "mix"
    settle(chaos, target, "pointer")


def two_recover(target: Path) -> None:
    """Two processes, one of them a child, at once."""
    child = os.fork()
    if child == 0:
        try:
            recover_transactions(target, grace=0.0)
        finally:
            os._exit(0)
    recover_transactions(target, grace=0.0)
    os.waitpid(child, 0)


# The two race for one lock. Which of them makes a call is up to the scheduler: not every kill is met again.
@scenario(faults.kill(), timeout=30, budget=bounded(20), allow_inconclusive=0.2)
def test_two_recoveries_at_once(chaos: Chaos) -> None:
    """Two that run at once, with either of them killed at any call, end as one does."""
    target = chaos.path / "out"
    prepared(target, "final")
    interrupted(target, "final")
    chaos.run(two_recover, target)
    settle(chaos, target, "final")


def claimed(directory: Path, promise: Callable[[str], None]) -> None:
    """One step of a pipeline whose result is a transaction."""
    with Checkpoints(directory / "store.db", attempts=9) as steps:
        claim = steps.claim("new")
        if claim is None:
            return
        with claim, Transaction.local(directory / "out", id=claim.key, grace=0.0) as tx:
            for name in NAMES:
                tx.add(name, content("new", name))
            tx.commit(complete=claim)
        promise("new")


@scenario(EVERYTHING, model="strict", timeout=60, budget=bounded(30))
def test_a_completed_claim_implies_its_transaction(chaos: Chaos) -> None:
    """And the worker that gets the claim after a crash commits nothing twice."""
    target = chaos.path / "out"
    prepared(target, "pointer")
    chaos.run(claimed, chaos.path, chaos.promise)
    with Checkpoints(chaos.path / "store.db") as steps:
        if steps.is_completed("new"):
            assert seen(target) == "new"
    claimed(chaos.path, lambda _: None)
    with Checkpoints(chaos.path / "store.db") as steps:
        assert steps.is_completed("new")
    assert seen(target) == "new"
    assert TransactionReader(target).receipt.number == 2
