"""Quarantine and watch in the orders that come to mind first: each of these scenarios must be violated.

Run by ``test_planted.py``, which says what each of them shows; run alone, all of them fail.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from test_quarantine import TIMEOUT, Sent, judge, judge_watch, prepared, put, with_letter

from chaoskit import Chaos, faults, scenario
from chaoskit.runtime import DeadLetters, LetterWatch, Notifier, Quarantine, Store
from chaoskit.runtime.durable.files.flag import Flag
from chaoskit.runtime.durable.files.syncing import sync_directory
from chaoskit.runtime.guarding.gates import quarantine
from chaoskit.runtime.guarding.notify.letters import TOLD

Patch = pytest.MonkeyPatch


def move_first(directory: Path) -> None:
    (directory / "quarantine").mkdir()
    os.rename(directory / "item", directory / "quarantine" / "item")
    Flag(directory / "quarantine" / ".item.why").set("too noisy")


@scenario(faults.kill(), timeout=TIMEOUT)
def test_the_reason_is_written_after_the_move(chaos: Chaos) -> None:
    prepared(chaos.path)
    chaos.run(move_first, chaos.path)
    judge(chaos)


def copy(directory: Path) -> None:
    (directory / "quarantine").mkdir()
    Flag(directory / "quarantine" / ".item.why").set("too noisy")
    shutil.copytree(directory / "item", directory / "quarantine" / "item")
    shutil.rmtree(directory / "item")


@scenario(faults.kill(), timeout=TIMEOUT)
def test_the_item_is_copied(chaos: Chaos) -> None:
    prepared(chaos.path)
    chaos.run(copy, chaos.path)
    judge(chaos)


def nothing(*_: object) -> None:
    """Instead of a sync."""


@scenario(faults.power_loss(), model="xfs", timeout=TIMEOUT)
def test_the_move_is_not_synced(chaos: Chaos, monkeypatch: Patch) -> None:
    monkeypatch.setattr(quarantine, "sync_published", nothing)
    prepared(chaos.path)
    chaos.run(put, chaos.path, chaos.promise)
    judge(chaos)


def clear_when_in_doubt(directory: Path) -> None:
    try:
        Quarantine(directory / "quarantine").put(directory / "item", "too noisy")
    except OSError:
        (directory / "quarantine" / ".item.why").unlink(missing_ok=True)
        raise


@scenario(faults.disk(), timeout=TIMEOUT)
def test_the_reason_is_cleared_after_a_failed_sync(chaos: Chaos, monkeypatch: Patch) -> None:
    monkeypatch.setattr(quarantine, "sync_published", lambda path: sync_directory(path.parent))
    prepared(chaos.path)
    chaos.run(clear_when_in_doubt, chaos.path)
    judge(chaos)


def mark_first(directory: Path) -> None:
    with Store.open(directory / "store.db", reserve=0, lock_timeout=0.3) as store:
        [letter] = DeadLetters(store).find()
        store.put(TOLD, f"{letter.id}#0", None, status="told")
        LetterWatch(store, Notifier([Sent(directory / "sent")]))
        Path(directory / "sent").write_text('"told"\n')


@scenario(faults.kill(), timeout=TIMEOUT)
def test_a_letter_is_marked_before_it_is_told(chaos: Chaos) -> None:
    with_letter(chaos.path)
    chaos.run(mark_first, chaos.path)
    judge_watch(chaos.path)
