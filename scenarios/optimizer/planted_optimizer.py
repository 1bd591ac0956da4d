"""The optimizer with one guarantee removed: each of these scenarios must be violated.

Run by ``test_optimizer.py``, which says what each of them shows; run alone, all of them fail.
"""

from __future__ import annotations

import json
import smtplib
from pathlib import Path
from typing import Any

import pytest

from chaoskit import Chaos, faults, scenario
from chaoskit.runtime import Claim, Snapshots, Ticket
from scenarios.optimizer import fitting, program, world
from scenarios.optimizer.fitting import Job
from scenarios.optimizer.test_optimizer import TIMEOUT, ends_well, fits

Patch = pytest.MonkeyPatch


@scenario(faults.power_loss(), model="strict", budget=16, timeout=TIMEOUT, oracle="off")
def test_snapshots_are_not_synced(chaos: Chaos, monkeypatch: Patch) -> None:
    made = Snapshots

    def weaker(folder: Path, **options: Any) -> Snapshots:
        return made(folder, **options, durability="process-crash")

    monkeypatch.setattr(program, "Snapshots", weaker)
    ends_well(chaos)


class InPlace:
    """Snapshots as one file that is written over, without anything that would tell a torn one."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self._file = folder.with_suffix(".state")

    def load(self, which: str, default: Any) -> Any:
        return json.loads(self._file.read_text()) if self._file.exists() else default

    def save(self, state: Any, **options: Any) -> Any:
        self._file.write_text(json.dumps(state))
        return type("Kept", (), {"number": 0})

    def emergency(self, state: Any, **options: Any) -> None:
        self.save(state)


@scenario(faults.kill().on(path="**/*.state"), budget=12, timeout=TIMEOUT, oracle="off")
def test_a_snapshot_is_written_in_place(chaos: Chaos, monkeypatch: Patch) -> None:
    monkeypatch.setattr(program, "Snapshots", InPlace)
    world.started(chaos)
    chaos.run(world.work, chaos.path, lambda told: None)
    if not chaos.run(world.work, chaos.path, lambda told: None).ok:
        chaos.run(world.work, chaos.path, lambda told: None)
    world.check(chaos.path, [], settled=True)


@scenario(faults.kill().on(path="**/*fit.json*"), budget=12, timeout=TIMEOUT, oracle="off")
def test_completed_before_the_result(chaos: Chaos, monkeypatch: Patch) -> None:
    write = program.write_file
    late: list[tuple[Path, str]] = []
    complete = Claim.complete

    def recorded(self: Claim, value: Any = None, **options: Any) -> None:
        complete(self, value)
        for path, text in late:
            write(path, text)

    monkeypatch.setattr(program, "write_file", lambda path, text: late.append((path, text)))
    monkeypatch.setattr(Claim, "complete", recorded)
    monkeypatch.setattr(program.Optimizer, "_report", lambda self, claim, error: None)
    world.started(chaos)
    chaos.run(world.work, chaos.path, chaos.promise)
    world.check(chaos.path, chaos.promised)


@scenario(faults.memory(), budget=40, timeout=TIMEOUT, oracle="off")
def test_the_result_depends_on_the_batches(chaos: Chaos, monkeypatch: Patch) -> None:
    def in_one(centre: float, points: list[float]) -> list[float]:
        return [sum(centre - point for point in points)]

    monkeypatch.setattr(fitting, "_slopes", in_one)
    fits(chaos)


@scenario(faults.network().on(host=world.MAIL), budget=6, timeout=TIMEOUT, oracle="off")
def test_news_are_told_within_the_job(chaos: Chaos, monkeypatch: Patch) -> None:
    bring = program.Optimizer._bring_to_an_end

    def told(self: program.Optimizer, claim: Claim, job: Job, ticket: Ticket) -> None:
        with smtplib.SMTP(world.MAIL, 25, timeout=1) as server:
            server.sendmail("ops@example.com", ["night@example.com"], f"{job.name} has begun")
        bring(self, claim, job, ticket)

    monkeypatch.setattr(program.Optimizer, "_bring_to_an_end", told)
    monkeypatch.setattr(
        program,
        "classify",
        lambda error: type("Decision", (), {"retryable": False, "rule": "", "category": ""}),
    )
    ends_well(chaos)
