"""The runner with one guarantee removed: each of these scenarios must be violated.

Run by ``test_neuro.py``, which says what each of them shows; run alone, all of them fail.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from celery.app.task import Task

from chaoskit import Chaos, faults, scenario
from chaoskit.runtime import Checkpoints, Claim, DeadLetters, Store
from chaoskit.runtime.celery import DurableTask
from chaoskit.runtime.durable.dead_letters import letters as letters_module
from chaoskit.runtime.durable.dead_letters.origins import Origin
from chaoskit.runtime.retrying.course import Course
from scenarios.neuro import program, world
from scenarios.neuro.test_neuro import TIMEOUT, ends_well

Patch = pytest.MonkeyPatch


@pytest.fixture(autouse=True)
def few(monkeypatch: Patch) -> None:
    """One run that can be done, one that cannot."""
    monkeypatch.setattr(world, "RUNS", [("conversion", "good", "1"), ("conversion", "always137", "1")])


@scenario(faults.kill().on(call="promise"), budget=4, timeout=TIMEOUT, oracle="off")
def test_sent_and_not_recorded(chaos: Chaos, monkeypatch: Patch) -> None:
    def sent(self: DurableTask, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        return Task.apply_async(self, args, kwargs, **options)

    monkeypatch.setattr(DurableTask, "apply_async", sent)
    ends_well(chaos)


@scenario(faults.kill().on(call="promise"), budget=12, timeout=TIMEOUT, oracle="off")
def test_starts_are_counted_in_the_message(chaos: Chaos, monkeypatch: Patch) -> None:
    made = Checkpoints.__init__

    def unlimited(self: Checkpoints, *args: Any, **options: Any) -> None:
        made(self, *args, **{**options, "attempts": None})

    def failed(self: DurableTask, claim: Claim, error: Exception) -> None:
        course = Course(self._policy(), None, self.run)
        course.attempts = self.request.retries
        if not course.failed(error):
            claim.fail(error, final=True)
            return
        claim.fail(error, retry_in=course.wait)
        raise self.retry(exc=error, countdown=course.wait)

    monkeypatch.setattr(Checkpoints, "__init__", unlimited)
    monkeypatch.setattr(DurableTask, "_failed", failed)
    ends_well(chaos)


@scenario(faults.kill().on(call="promise"), budget=16, timeout=TIMEOUT, oracle="off")
def test_letter_and_end_are_two_writes(chaos: Chaos, monkeypatch: Patch) -> None:
    fail = Claim.fail

    def failed(self: Claim, error: BaseException, *, retry_in: float | None = None, **options: Any) -> None:
        if retry_in is None:
            kind, record = self._terms.kind, self.held.record
            DeadLetters(self._terms.store).add(
                pipeline=self._terms.pipeline,
                run_id=self.key,
                error=error,
                attempts=record.attempts,
                origin=Origin(kind.name, self.scope, self.key, kind.format),
                session="1",
                subject=self.metadata["subject"],
            )
            chaos.promise("wrote letter")
        fail(self, error, retry_in=retry_in, **options)

    monkeypatch.setattr(Claim, "fail", failed)
    world.prepare(chaos.path)
    chaos.run(world.night, chaos.path, chaos.promise)
    world.check(chaos.path, chaos.promised)


@scenario(faults.kill().on(call="promise"), budget=16, timeout=TIMEOUT, oracle="off")
def test_put_back_in_two_writes(chaos: Chaos, monkeypatch: Patch) -> None:
    revive, redrive = letters_module.revive, DeadLetters.redrive
    later: list[Any] = []

    def two(self: DeadLetters, id: str, **options: Any) -> Any:
        message = redrive(self, id, **options)
        chaos.promise("called redriven")
        for origin in later:
            self._store.write(lambda tx, origin=origin: revive(tx, origin))
        later.clear()
        return message

    monkeypatch.setattr(letters_module, "revive", lambda tx, origin: later.append(origin) or True)
    monkeypatch.setattr(DeadLetters, "redrive", two)
    ends_well(chaos)


@scenario(
    faults.power_loss().on(path="state/derivatives/**"),
    model="strict",
    budget=12,
    timeout=TIMEOUT,
    oracle="off",
)
def test_results_are_written_in_place(chaos: Chaos, monkeypatch: Patch) -> None:
    @contextmanager
    def in_place(target: Path, **options: Any) -> Iterator[Path]:
        target.mkdir(exist_ok=True)
        yield target

    monkeypatch.setattr(program, "publish_directory", in_place)
    world.prepare(chaos.path)
    chaos.run(world.night, chaos.path, chaos.promise)
    world.check(chaos.path, chaos.promised)


@scenario(faults.power_loss().on(call="promise"), model="strict", budget=12, timeout=TIMEOUT, oracle="off")
def test_the_store_is_not_durable(chaos: Chaos, monkeypatch: Patch) -> None:
    opened = Store.open

    def weaker(place: str, **options: Any) -> Store:
        return opened(place, **{**options, "durability": "process-crash"})

    monkeypatch.setattr(Store, "open", weaker)
    world.prepare(chaos.path)
    chaos.run(world.night, chaos.path, chaos.promise)
    monkeypatch.undo()
    world.check(chaos.path, chaos.promised)
