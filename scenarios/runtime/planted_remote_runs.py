"""Runs elsewhere as they come to mind first: each of these scenarios must be violated.

Run by ``test_planted.py``, which says what each of them shows; run alone, all of them fail.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from test_remote_runs import (
    RELAUNCHES,
    TIMEOUT,
    Remote,
    judge,
    judge_tries,
    prepared,
    try_on,
    work,
)

from chaoskit import Chaos, faults, scenario
from chaoskit.runtime import RemoteRun, RemoteRuns, Store
from chaoskit.runtime.durable.store.protocol import Record
from chaoskit.runtime.recovering import remote_runs

Patch = pytest.MonkeyPatch


@scenario(faults.kill(), model="strict", timeout=TIMEOUT)
def test_a_launch_without_an_answer_is_launched_again(chaos: Chaos, monkeypatch: Patch) -> None:
    monkeypatch.setattr(remote_runs, "_named", lambda key, known: None)
    prepared(chaos.path)
    chaos.run(work, chaos.path, chaos.promise)
    judge(chaos)


class Unmarked(RemoteRuns):
    """What was found only at its end is recorded as ended, but not by its id."""

    def _end(self, record: Record, status: str, reason: object, id: str | None = None) -> None:
        super()._end(record, status, reason)


def unmarked(store: Store, remote: Remote) -> RemoteRuns:
    return Unmarked(store, remote, name="lab", relaunches=RELAUNCHES)


@scenario(faults.kill(), model="strict", timeout=TIMEOUT)
def test_results_of_a_run_that_was_found_late_are_removed(chaos: Chaos) -> None:
    prepared(chaos.path)
    chaos.run(work, chaos.path, chaos.promise, unmarked)
    judge(chaos, unmarked)


@scenario(faults.power_loss(), model="strict", timeout=TIMEOUT)
def test_an_end_is_acknowledged_before_it_is_durable(chaos: Chaos) -> None:
    prepared(chaos.path)
    chaos.run(work, chaos.path, chaos.promise, durability="process-crash")
    judge(chaos)


class CountsAfterwards(RemoteRuns):
    """Launches, and then writes down that it did."""

    def _launch(self, record: Record, did: dict[str, list[str]]) -> str:
        id = self._service.launch(record.key, record.value["payload"])
        launches = record.value["launches"] + 1
        self._write(record, "launched", {**record.value, "id": id, "launches": launches})
        return id


def afterwards(store: Store, remote: Remote) -> RemoteRuns:
    return CountsAfterwards(store, remote, name="lab", relaunches=RELAUNCHES)


@scenario(faults.kill(), model="strict", timeout=TIMEOUT)
def test_a_launch_is_counted_when_it_is_answered(chaos: Chaos) -> None:
    prepared(chaos.path)
    chaos.run(try_on, chaos.path, chaos.promise, make=afterwards)
    judge_tries(chaos, afterwards)


class CleansInDoubt(RemoteRuns):
    """What it could not bring into step does not belong to it."""

    def _clean(
        self, known: Mapping[str, RemoteRun], ours: set[str], damaged: Any, did: dict[str, list[str]]
    ) -> None:
        launched = {one.value["id"] for one in self._all()[0]}
        super()._clean(self._service.runs(), launched, damaged, did)


def in_doubt(store: Store, remote: Remote) -> RemoteRuns:
    return CleansInDoubt(store, remote, name="lab", relaunches=RELAUNCHES)


@scenario(faults.disk(), model="strict", timeout=TIMEOUT)
def test_a_launch_that_could_not_be_recorded_is_an_orphan(chaos: Chaos) -> None:
    prepared(chaos.path)
    chaos.run(work, chaos.path, chaos.promise, in_doubt)
    judge(chaos)
