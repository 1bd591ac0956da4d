"""Transactions with one thing left out or done otherwise: each of these scenarios must be violated.

Run by ``test_planted.py``, which says what each of them shows; run alone, all of them fail.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import test_transactions as right
from test_transactions import NAMES, commit, content, interrupted, prepared, recover, seen, settle

from chaoskit import Chaos, faults, scenario
from chaoskit.runtime import Checkpoints, Transaction
from chaoskit.runtime.durable.transactions.local import final, pointer, stage, workspace
from chaoskit.runtime.durable.transactions.local.final import FinalDirectory
from chaoskit.runtime.durable.transactions.local.pointer import PointerDirectory
from chaoskit.runtime.durable.transactions.records import TransactionReceipt

Patch = pytest.MonkeyPatch
SYNCED, KILLED = faults.power_loss(), faults.kill()


def nothing(*_: object, **__: object) -> None:
    """Instead of a sync."""


def with_pointer(chaos: Chaos) -> None:
    target = chaos.path / "out"
    prepared(target, "pointer")
    outcome = chaos.run(commit, target, "new", "pointer", chaos.promise)
    shown = seen(target)
    assert shown != "mix"
    right.check_answer(outcome, shown, bool(chaos.promised))
    settle(chaos, target, "pointer")


def under_final_names(chaos: Chaos) -> None:
    target = chaos.path / "out"
    prepared(target, "final")
    outcome = chaos.run(commit, target, "new", "final", chaos.promise)
    chaos.recover(right.recover_transactions, target)
    right.check_answer(outcome, seen(target), bool(chaos.promised))
    settle(chaos, target, "final")


# --- pointer -----------------------------------------------------------------------------------------------


@scenario(SYNCED, model="strict", timeout=30, budget=20)
def test_members_are_not_synced(chaos: Chaos, monkeypatch: Patch) -> None:
    monkeypatch.setattr(stage, "sync_tree", nothing)
    with_pointer(chaos)


@scenario(SYNCED, model="strict", timeout=30, budget=20)
def test_the_link_is_not_synced(chaos: Chaos, monkeypatch: Patch) -> None:
    monkeypatch.setattr(pointer, "sync_published", nothing)
    with_pointer(chaos)


@scenario(KILLED, timeout=30)
def test_the_link_is_removed_and_made(chaos: Chaos, monkeypatch: Patch) -> None:
    """Instead of one rename: between the two there is no target."""

    def swap(link: Path, target: Path) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(target)
        os.rename(link, target)

    monkeypatch.setattr(pointer, "rename", swap)
    with_pointer(chaos)


@scenario(KILLED, timeout=30)
def test_the_record_is_written_after_the_link(chaos: Chaos, monkeypatch: Patch) -> None:
    """A crash between the two forgets which transactions there were."""
    write, point = workspace.Workspace.write, PointerDirectory._point
    late: list[tuple[workspace.Workspace, Path, TransactionReceipt]] = []
    monkeypatch.setattr(workspace.Workspace, "write", lambda *all: late.append(all))

    def early(self: PointerDirectory, generation: str) -> None:
        point(self, generation)
        while late:
            write(*late.pop())

    monkeypatch.setattr(PointerDirectory, "_point", early)
    with_pointer(chaos)


@scenario(SYNCED, model="strict", timeout=30, budget=20)
def test_what_is_not_durably_replaced_is_removed(chaos: Chaos, monkeypatch: Patch) -> None:
    """By the recovery of a process that was killed between its decision and its sync."""
    monkeypatch.setattr(PointerDirectory, "_settle", nothing)
    target = chaos.path / "out"
    prepared(target, "pointer")
    chaos.run(interrupted, target, "pointer")
    chaos.run(recover, target, chaos.promise)
    assert seen(target) != "mix"


@scenario(KILLED, timeout=30)
def test_an_id_is_not_remembered(chaos: Chaos, monkeypatch: Patch) -> None:
    """What is run again after a crash is committed twice."""
    monkeypatch.setattr(PointerDirectory, "_committed", nothing)
    target = chaos.path / "out"
    prepared(target, "pointer")
    chaos.run(commit, target, "new", "pointer", chaos.promise)
    if not chaos.promised:
        commit(target, "new", "pointer", lambda _: None)
    assert right.TransactionReader(target).receipt.number == 2


def completes_first(directory: Path, promise: Callable[[str], None]) -> None:
    with Checkpoints(directory / "store.db", attempts=9) as steps:
        claim = steps.claim("new")
        if claim is None:
            return
        with claim, Transaction.local(directory / "out", id=claim.key, grace=0.0) as tx:
            for name in NAMES:
                tx.add(name, content("new", name))
            claim.complete()
            tx.commit()
        promise("new")


@scenario(KILLED, timeout=60, budget=40)
def test_the_claim_is_completed_before_the_commit(chaos: Chaos) -> None:
    """Then a completed step has no output."""
    target = chaos.path / "out"
    prepared(target, "pointer")
    chaos.run(completes_first, chaos.path, chaos.promise)
    with Checkpoints(chaos.path / "store.db") as steps:
        assert not steps.is_completed("new") or seen(target) == "new"


# --- final -------------------------------------------------------------------------------------------------


def copy_to_final(target: Path) -> None:
    for name in NAMES:
        (target / name).with_suffix(".new").write_bytes(content("new", name))
    for name in NAMES:
        os.rename((target / name).with_suffix(".new"), target / name)


@scenario(KILLED, timeout=30)
def test_copied_to_final_names_without_a_journal(chaos: Chaos) -> None:
    """Each file is whole, and the transaction is not."""
    target = chaos.path / "out"
    prepared(target, "final")
    chaos.run(copy_to_final, target)
    chaos.recover(right.recover_transactions, target)
    assert seen(target) in ("old", "new")


@scenario(SYNCED, model="strict", timeout=30, budget=20)
def test_members_are_renamed_out_of_the_stage(chaos: Chaos, monkeypatch: Patch) -> None:
    """A rename between two directories: the one that loses the name may be durable before the other."""
    monkeypatch.setattr(os, "link", os.rename)
    under_final_names(chaos)


@scenario(SYNCED, model="strict", timeout=30, budget=20)
def test_the_journal_is_not_synced(chaos: Chaos, monkeypatch: Patch) -> None:
    def weak(path: Path, data: bytes, **_: Any) -> None:
        right_write(path, data, durability="process-crash")

    right_write = final.write_file
    monkeypatch.setattr(final, "write_file", weak)
    under_final_names(chaos)


@scenario(KILLED, timeout=30)
def test_the_journal_is_removed_first(chaos: Chaos, monkeypatch: Patch) -> None:
    """Before the members are in place: nothing remembers what was decided."""
    place, close = FinalDirectory._place, FinalDirectory._close

    def closed_first(self: FinalDirectory, receipt: TransactionReceipt) -> None:
        close(self, receipt)
        place(self, receipt)

    monkeypatch.setattr(FinalDirectory, "_place", closed_first)
    monkeypatch.setattr(FinalDirectory, "_close", nothing)
    under_final_names(chaos)


@scenario(SYNCED, model="strict", timeout=30, budget=20)
def test_places_are_not_synced(chaos: Chaos, monkeypatch: Patch) -> None:
    monkeypatch.setattr(final, "sync_directory", nothing)
    under_final_names(chaos)


@scenario(faults.disk(), timeout=30, budget=25)
def test_a_failure_after_the_decision_is_called_a_failure(chaos: Chaos, monkeypatch: Patch) -> None:
    """The caller believes that nothing was changed."""
    monkeypatch.setattr(final, "OutcomeUnknown", lambda text, **_: OSError(text))
    target = chaos.path / "out"
    prepared(target, "final")
    outcome = chaos.run(commit, target, "new", "final", chaos.promise)
    chaos.recover(right.recover_transactions, target)
    right.check_answer(outcome, seen(target), bool(chaos.promised))


@scenario(KILLED, timeout=30)
def test_the_target_is_emptied_and_filled(chaos: Chaos) -> None:
    """The oldest of all mistakes."""
    target = chaos.path / "out"
    prepared(target, "final")

    def refill() -> None:
        shutil.rmtree(target / "tables")
        for name in NAMES:
            (target / name).parent.mkdir(exist_ok=True)
            (target / name).write_bytes(content("new", name))

    chaos.run(refill)
    assert seen(target) in ("old", "new")
